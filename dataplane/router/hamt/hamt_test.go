package hamt

import (
	"fmt"
	"maps"
	"math/rand"
	"testing"
)

func content[V any](m Map[V]) map[string]V {
	out := map[string]V{}
	for k, v := range m.All() {
		out[k] = v
	}
	return out
}

// crowded makes keys collide in most bits, and some in all.
func crowded(key string) uint64 { return uint64(len(key)%3) << 60 }

func TestMapEqualsBuiltinMap(t *testing.T) {
	t.Parallel()
	for name, hash := range map[string]func(string) uint64{"default": nil, "crowded": crowded} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewSource(1))
			m, want := New[int](hash), map[string]int{}
			type frozen struct {
				m    Map[int]
				want map[string]int
			}
			var kept []frozen
			for round := range 400 {
				e := m.Edit()
				for range rng.Intn(8) {
					k := fmt.Sprint("k", rng.Intn(200))
					if rng.Intn(3) == 0 {
						_, had := want[k]
						if got := e.Delete(k); got != had {
							t.Fatalf("Delete(%q) = %v, want %v", k, got, had)
						}
						delete(want, k)
					} else {
						v := rng.Int()
						e.Set(k, v)
						want[k] = v
					}
				}
				m = e.Map()
				e.Set("after", 1) // must not be seen in m
				if round%20 == 0 {
					kept = append(kept, frozen{m, maps.Clone(want)})
				}
			}
			kept = append(kept, frozen{m, want})
			for i, k := range kept {
				if !maps.Equal(content(k.m), k.want) || k.m.Len() != len(k.want) {
					t.Fatalf("map %d = %v, want %v", i, content(k.m), k.want)
				}
				for key, v := range k.want {
					if got, ok := k.m.Get(key); !ok || got != v {
						t.Fatalf("map %d: Get(%q) = %v, %v, want %v", i, key, got, ok, v)
					}
				}
				if _, ok := k.m.Get("after"); ok {
					t.Fatalf("map %d sees an edit made after it", i)
				}
			}
			for i := 1; i < len(kept); i++ {
				checkDiff(t, kept[i-1].m, kept[i].m)
			}
		})
	}
}

func checkDiff(t *testing.T, a, b Map[int]) {
	t.Helper()
	got := content(a)
	Diff(a, b, func(key string, was, is int, gone, come bool) {
		if v, ok := got[key]; ok != gone || (gone && v != was) {
			t.Errorf("Diff says %q was %v (%v), it was %v (%v)", key, was, gone, v, ok)
		}
		if gone && come && was == is {
			t.Errorf("Diff names %q, which did not change", key)
		}
		delete(got, key)
		if come {
			got[key] = is
		}
	})
	if !maps.Equal(got, content(b)) {
		t.Errorf("old map with its Diff = %v, want %v", got, content(b))
	}
}

func TestDiffVisitsWhatChanged(t *testing.T) {
	e := Map[int]{}.Edit()
	for i := range 100_000 {
		e.Set(fmt.Sprint(i), i)
	}
	a := e.Map()
	b := a.Set("7", -7).Delete("9").Set("new", 1)
	n := 0
	Diff(a, b, func(string, int, int, bool, bool) { n++ })
	if n != 3 {
		t.Errorf("Diff called back %d times, want 3", n)
	}
	if allocs := testing.AllocsPerRun(10, func() { Diff(a, b, func(string, int, int, bool, bool) {}) }); allocs > 100 {
		t.Errorf("Diff of 3 changes allocates %v times: it walks what is shared", allocs)
	}
}

func TestGetDoesNotAllocate(t *testing.T) {
	e := Map[int]{}.Edit()
	for i := range 1000 {
		e.Set(fmt.Sprint(i), i)
	}
	m := e.Map()
	if n := testing.AllocsPerRun(100, func() { m.Get("77"); m.Get("none") }); n != 0 {
		t.Errorf("Get allocates %v times", n)
	}
}

func BenchmarkSetAt1M(b *testing.B) {
	e := Map[int]{}.Edit()
	for i := range 1_000_000 {
		e.Set(fmt.Sprint(i), i)
	}
	m := e.Map()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		m.Set(fmt.Sprint("new", i&0xffff), i)
	}
}
