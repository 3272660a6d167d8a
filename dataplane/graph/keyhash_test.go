package graph

import (
	"strings"
	"sync"
	"testing"

	"github.com/sekifuda/sekifuda/plugin"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

var pepper = []byte("pepper of the cluster")

// hashed is a graph as nodes get it: with the pepper, in any place among the changes.
func hashed(t testing.TB, keys ...string) *Graph {
	t.Helper()
	changes := []Change{consumer(id(1), "anna")}
	for i, k := range keys {
		changes = append(changes, key(id(10+i), id(1), feedv1.HashKey(pepper, k)))
	}
	changes = append(changes, put(feedv1.KeyHashKind, feedv1.KeyHashID, &feedv1.KeyHash{Pepper: pepper}))
	return mustApply(t, compiler(t), nil, changes...)
}

// TestHashedKeys looks keys up that the graph holds only hashes of.
func TestHashedKeys(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("k", 4096)
	g := hashed(t, "secret", "other", "", long)
	g = mustApply(t, compiler(t), g, service(id(5), "h.test")) // the pepper stays
	for text, want := range map[string]string{"secret": id(10), "other": id(11), "": id(12), long: id(13)} {
		if c := g.Directory().Credential(plugin.KeyCredentials, text); c == nil || c.ID != want {
			t.Errorf("Credential(%.20q) = %v, want %s", text, c, want)
		}
	}
	for _, wrong := range []string{"Secret", "secre", feedv1.HashKey(pepper, "secret"), strings.Repeat("k", 4095)} {
		if c := g.Directory().Credential(plugin.KeyCredentials, wrong); c != nil {
			t.Errorf("Credential(%.20q) = %s", wrong, c.ID)
		}
	}
}

// TestHashedKeysAtOnce looks keys up from many goroutines, which share the pool.
func TestHashedKeysAtOnce(t *testing.T) {
	t.Parallel()
	g := hashed(t, "a", "b", "c", "d")
	var wg sync.WaitGroup
	for i, text := range []string{"a", "b", "c", "d"} {
		wg.Go(func() {
			for range 2000 {
				if c := g.Directory().Credential(plugin.KeyCredentials, text); c == nil || c.ID != id(10+i) {
					t.Errorf("Credential(%q) = %v", text, c)
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkHashedKey(b *testing.B) {
	d := hashed(b, "a-key-of-the-usual-length-32-byte").Directory()
	b.ReportAllocs()
	for b.Loop() {
		if d.Credential(plugin.KeyCredentials, "a-key-of-the-usual-length-32-byte") == nil {
			b.Fatal("not found")
		}
	}
}

// TestBadKeyHash refuses a pepper that cannot be read, by name.
func TestBadKeyHash(t *testing.T) {
	t.Parallel()
	_, err := compiler(t).Apply(nil, []Change{{Kind: feedv1.KeyHashKind, ID: feedv1.KeyHashID, Body: []byte{0xff}}}, 1)
	if err == nil || !strings.Contains(err.Error(), feedv1.KeyHashKind) {
		t.Errorf("Apply = %v", err)
	}
}
