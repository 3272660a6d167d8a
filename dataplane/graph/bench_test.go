package graph

import (
	"fmt"
	"runtime"
	"testing"
)

func bigConfiguration(routes int) []Change {
	changes := make([]Change, 0, routes+routes/10+10)
	for i := range routes / 10 {
		changes = append(changes, service(fmt.Sprint("s", i), fmt.Sprintf("h%d.test", i)))
	}
	for i := range routes {
		changes = append(changes, route(id(i), fmt.Sprint("s", i/10), fmt.Sprintf("/api/%d/v1", i)))
	}
	for i, name := range []string{"auth", "shape", "log"} {
		changes = append(changes, configured(fmt.Sprint("g", i), name, "", "", "", "x"))
	}
	return changes
}

func millionKeys() []Change {
	changes := make([]Change, 0, 1_001_000)
	for i := range 1000 {
		changes = append(changes, consumer(id(i), fmt.Sprint("user", i)))
	}
	for i := range 1_000_000 {
		changes = append(changes, key(id(1_000_000+i), id(i%1000), fmt.Sprintf("key-%028d", i)))
	}
	return changes
}

// heap returns the bytes in use, after all that is not.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func BenchmarkBuild100kRoutes(b *testing.B) {
	changes := bigConfiguration(100_000)
	c := compiler(b)
	for b.Loop() {
		before := heap()
		g := mustApply(b, c, nil, changes...)
		b.ReportMetric(float64(heap()-before)/1e5, "B/route")
		runtime.KeepAlive(g)
	}
}

func BenchmarkApplyAt100kRoutes(b *testing.B) {
	c := compiler(b)
	g := mustApply(b, c, nil, bigConfiguration(100_000)...)
	for name, change := range map[string]Change{
		"route":             route("new", "s7", "/new"),
		"changed route":     route(id(77), "s7", "/changed"),
		"service of ten":    service("s7", "other.test"),
		"plugin of a route": configured("p", "shape", id(77), "", "", "y"),
		"key":               key("k", "c", "some key"),
		"global plugin":     configured("g0", "auth", "", "", "", "y"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				mustApply(b, c, g, change)
			}
		})
	}
}

func BenchmarkMillionKeys(b *testing.B) {
	c := compiler(b)
	changes := millionKeys()
	before := heap()
	g := mustApply(b, c, nil, changes...)
	after := heap()
	clear(changes) // a node does not keep them either
	b.Run("add", func(b *testing.B) {
		b.ReportAllocs()
		change := key("new", id(7), "a new key")
		for b.Loop() {
			mustApply(b, c, g, change)
		}
		b.ReportMetric(float64(after-before)/1e6, "B/key")
	})
	b.Run("revoke", func(b *testing.B) {
		change := gone("keyauth_credentials", id(1_000_077))
		for b.Loop() {
			mustApply(b, c, g, change)
		}
	})
	b.Run("consumer of a thousand", func(b *testing.B) {
		change := consumer(id(7), "renamed")
		for b.Loop() {
			mustApply(b, c, g, change)
		}
	})
	d := g.Directory()
	keys := make([]string, 1<<16)
	for i := range keys {
		keys[i] = fmt.Sprintf("key-%028d", i*7919%1_000_000)
	}
	b.Run("find any", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if d.Credential("keyauth_credentials", keys[i&(1<<16-1)]) == nil {
				b.Fatal("not found")
			}
			i++
		}
	})
	b.Run("find one", func(b *testing.B) {
		for b.Loop() {
			d.Credential("keyauth_credentials", keys[7])
		}
	})
	b.Run("collect garbage", func(b *testing.B) {
		for b.Loop() {
			runtime.GC()
		}
	})
	runtime.KeepAlive(g)
}

func BenchmarkBuildMillionKeys(b *testing.B) {
	c := compiler(b)
	changes := millionKeys()
	for b.Loop() {
		mustApply(b, c, nil, changes...)
	}
}
