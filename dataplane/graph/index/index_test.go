package index

import (
	"fmt"
	"maps"
	"math/rand"
	"testing"
)

type item struct {
	name string
	n    int
}

func nameOf(i *item) string { return i.name }

func content(x Index[item]) map[string]int {
	out := map[string]int{}
	for v := range x.All() {
		out[v.name] = v.n
	}
	return out
}

func TestIndexEqualsMap(t *testing.T) {
	t.Parallel()
	for _, names := range []int{5, 300, 20_000} {
		t.Run(fmt.Sprint(names), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewSource(1))
			x, want := New(nameOf), map[string]int{}
			type frozen struct {
				x    Index[item]
				want map[string]int
			}
			var kept []frozen
			for round := range 60 {
				e := x.Edit()
				for range rng.Intn(names) {
					k := fmt.Sprint("k", rng.Intn(names))
					if rng.Intn(5) < 2 {
						e.Delete(k)
						delete(want, k)
						continue
					}
					v := &item{k, rng.Int()}
					e.Set(v)
					want[k] = v.n
				}
				x = e.Index()
				e.Set(&item{"after", 1}) // must not be seen in x
				if round%10 == 0 {
					kept = append(kept, frozen{x, maps.Clone(want)})
				}
			}
			for i, k := range append(kept, frozen{x, want}) {
				if k.x.Len() != len(k.want) || !maps.Equal(content(k.x), k.want) {
					t.Fatalf("index %d has %d values, want %d", i, k.x.Len(), len(k.want))
				}
				for n := range names {
					name := fmt.Sprint("k", n)
					v, ok := k.want[name]
					if got := k.x.Get(name); (got != nil) != ok || (ok && got.n != v) {
						t.Fatalf("index %d: Get(%q) = %v, want %v %v", i, name, got, v, ok)
					}
				}
				if k.x.Get("after") != nil {
					t.Fatalf("index %d sees an edit made after it", i)
				}
			}
			e := x.Edit()
			for name := range want {
				e.Delete(name)
			}
			if y := e.Index(); y.root != nil || y.Len() != 0 {
				t.Errorf("an index of which all is removed has %d values and root %v", y.Len(), y.root)
			}
		})
	}
}

// TestEqualTags has values that share a tag, as two in some thousand millions do.
func TestEqualTags(t *testing.T) {
	t.Parallel()
	n := &node[item]{}
	for i := range 6 {
		n.reserve(i + 1)
		n.add(7, &item{fmt.Sprint(i), i})
	}
	n.add(1, &item{"other", 9})
	for i := range n.tags {
		if n.tags[i] == 7 && n.vals[i].n == 2 {
			n.free(i)
			break
		}
	}
	seen := map[int]bool{}
	for i := home(7, len(n.tags)); n.tags[i] != 0; i = (i + 1) & (len(n.tags) - 1) {
		seen[n.vals[i].n] = true
	}
	for _, want := range []int{0, 1, 3, 4, 5} {
		if !seen[want] {
			t.Errorf("%d cannot be reached after another one of its tag is removed", want)
		}
	}
	if n.used != 6 {
		t.Errorf("used = %d, want 6", n.used)
	}
}

func TestGetDoesNotAllocate(t *testing.T) {
	e := New(nameOf).Edit()
	for i := range 5000 {
		e.Set(&item{fmt.Sprint(i), i})
	}
	x := e.Index()
	if n := testing.AllocsPerRun(100, func() { x.Get("77"); x.Get("none") }); n != 0 {
		t.Errorf("Get allocates %v times", n)
	}
}

func BenchmarkAt1M(b *testing.B) {
	e := New(nameOf).Edit()
	for i := range 1_000_000 {
		e.Set(&item{fmt.Sprint(i), i})
	}
	x := e.Index()
	b.Run("set", func(b *testing.B) {
		b.ReportAllocs()
		v := &item{"new", 1}
		for b.Loop() {
			e := x.Edit()
			e.Set(v)
			e.Index()
		}
	})
	b.Run("get", func(b *testing.B) {
		names := make([]string, 1<<16)
		for i := range names {
			names[i] = fmt.Sprint(i * 7919 % 1_000_000)
		}
		i := 0
		for b.Loop() {
			x.Get(names[i&(1<<16-1)])
			i++
		}
	})
}
