package router

import (
	"fmt"
	"math/rand"
	"runtime"
	"testing"

	"github.com/sekifuda/sekifuda/plugin"
)

// hostRoutes are n routes over n/10 hosts with 10 paths each.
func hostRoutes(n int) []Change[int] {
	out := make([]Change[int], n)
	for i := range out {
		r := &Route{ID: id(i), Hosts: []string{fmt.Sprintf("h%d.example.com", i/10)}, Paths: []string{fmt.Sprintf("/api/v%d", i%10)}}
		out[i] = Change[int]{r.ID, r, i}
	}
	return out
}

// mixedRoutes are hostRoutes, of which one in five has something else.
func mixedRoutes(n int) []Change[int] {
	out := hostRoutes(n)
	for i := range out {
		r := out[i].Route
		switch i % 20 {
		case 0:
			r.Hosts = []string{fmt.Sprintf("*.w%d.example.com", i/10)}
		case 1:
			r.Paths = []string{fmt.Sprintf(`~/api/v%d/(?<id>\d+)`, i%10)}
		case 2:
			r.Methods = []string{"GET", "POST"}
		case 3:
			r.Headers = map[string][]string{"X-Ver": {"1"}}
		case 4:
			r.Hosts, r.Paths = nil, []string{fmt.Sprintf("/free/%d", i)}
		}
	}
	return out
}

func prefixRoutes(n int) []Change[int] {
	out := make([]Change[int], n)
	for i := range out {
		r := &Route{ID: id(i), Paths: []string{fmt.Sprintf("/svc%d/api", i)}}
		out[i] = Change[int]{r.ID, r, i}
	}
	return out
}

func mustApply[T any](tb testing.TB, r *Router[T], changes ...Change[T]) *Router[T] {
	tb.Helper()
	next, err := r.Apply(changes)
	if err != nil {
		tb.Fatal(err)
	}
	return next
}

func requestFor(c Change[int], i int) *Request {
	q := &Request{Method: "GET", Host: "gate.example.com", Port: 80, Path: "/none", Header: &plugin.Header{}}
	q.Header.Append("User-Agent", "bench/1")
	q.Header.Append("X-Ver", "1")
	r := c.Route
	if len(r.Hosts) > 0 {
		q.Host = r.Hosts[0]
		if q.Host[0] == '*' {
			q.Host = "a" + q.Host[1:]
		}
	}
	if len(r.Paths) > 0 {
		q.Path = r.Paths[0] + "/x/y"
		if q.Path[0] == '~' {
			q.Path = fmt.Sprintf("/api/v%d/%d", i%10, i)
		}
	}
	return q
}

func BenchmarkMatch(b *testing.B) {
	for _, w := range []struct {
		name string
		make func(int) []Change[int]
		n    int
	}{
		{"hosts", hostRoutes, 1_000}, {"hosts", hostRoutes, 100_000},
		{"prefixes", prefixRoutes, 100_000}, {"mixed", mixedRoutes, 100_000},
	} {
		changes := w.make(w.n)
		r := mustApply(b, nil, changes...)
		for _, spread := range []int{16, w.n} {
			qs := make([]*Request, min(spread, 1<<16))
			rng := rand.New(rand.NewSource(1))
			for i := range qs {
				n := rng.Intn(w.n)
				qs[i] = requestFor(changes[n], n)
			}
			b.Run(fmt.Sprintf("%s/%d/of%d", w.name, w.n, len(qs)), func(b *testing.B) {
				b.ReportAllocs()
				var m Match[int]
				b.ResetTimer()
				for i := range b.N {
					if !r.Match(qs[i%len(qs)], &m) {
						b.Fatal("no route")
					}
				}
			})
		}
	}
}

func BenchmarkMatchMiss(b *testing.B) {
	r := mustApply(b, nil, mixedRoutes(100_000)...)
	q := &Request{Method: "GET", Host: "none.example.org", Path: "/no/such/path", Header: &plugin.Header{}}
	b.ReportAllocs()
	var m Match[int]
	for b.Loop() {
		if r.Match(q, &m) {
			b.Fatal("matched")
		}
	}
}

func BenchmarkMatchThousandRegexes(b *testing.B) {
	var changes []Change[int]
	for i := range 1000 {
		r := &Route{ID: id(i), Paths: []string{fmt.Sprintf(`~/(\w+)/item%d/(\d+)$`, i)}}
		changes = append(changes, Change[int]{r.ID, r, i})
	}
	r := mustApply(b, nil, changes...)
	q := &Request{Method: "GET", Host: "a.com", Path: "/tenant/item777/12", Header: &plugin.Header{}}
	b.ReportAllocs()
	var m Match[int]
	for b.Loop() {
		if !r.Match(q, &m) || m.Value != 777 {
			b.Fatal("no match")
		}
	}
}

func BenchmarkBuild100k(b *testing.B) {
	changes := mixedRoutes(100_000)
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		r := mustApply(b, nil, changes...)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e5, "B/route")
		runtime.KeepAlive(r)
	}
}

func BenchmarkInsertAt100k(b *testing.B) {
	for name, changes := range map[string][]Change[int]{"mixed": mixedRoutes(100_000), "prefixes": prefixRoutes(100_000)} {
		r := mustApply(b, nil, changes...)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				c := changes[i%len(changes)]
				c.ID = "new"
				if _, err := r.Apply([]Change[int]{c}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	changes := mixedRoutes(1000)
	r := mustApply(t, nil, changes...)
	var m Match[int]
	for i, c := range changes[:40] {
		if i%20 == 1 {
			continue // a regex
		}
		q := requestFor(c, i)
		q.Host = "A" + q.Host[1:]
		if n := testing.AllocsPerRun(10, func() { r.Match(q, &m) }); n != 0 {
			t.Errorf("Match of %+v allocates %v times", c.Route, n)
		}
	}
}
