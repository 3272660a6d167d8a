package feed_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/sekifuda/sekifuda/controlplane/rollout"
	"github.com/sekifuda/sekifuda/dataplane/feed"
)

func TestWriteIsEnforcedByEveryNode(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"tcp", "memory"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newMemory("e1")
			s.commit(map[string]string{"services/a": "1", "consumers/c": "1"})
			p := place{group: "default"}
			var o *office
			if kind == "tcp" {
				l := listen(t, "127.0.0.1:0")
				o, p.target = replica(t, s, l, nil), l.Addr().String()
			} else {
				l, dial := memoryListener()
				o, p.target, p.dial = replica(t, s, l, nil), "passthrough:///memory", dial
			}
			var gates []*gate
			for i := range 3 {
				p.id = fmt.Sprint("n", i)
				gates = append(gates, open(t, p, ""))
			}
			o.connected(t, 3)
			for i := range 20 {
				rev := s.commit(map[string]string{"services/a": fmt.Sprint(i), fmt.Sprint("routes/", i): "r"})
				o.enforced(t, rev, 3, 3)
				for _, g := range gates {
					if err := g.holds(s, rev, rev); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

// The whole life of a node: a large first sync, a restart of each side, and of both.
func TestNodesOutliveTheControlPlaneAndTheirOwnDeath(t *testing.T) {
	t.Parallel()
	s := newMemory("e1")
	puts := map[string]string{}
	for i := range 5000 {
		puts[fmt.Sprint("routes/", i)] = strings.Repeat("x", 100)
	}
	s.commit(puts)
	l := listen(t, "127.0.0.1:0")
	o := replica(t, s, l, nil)
	p := place{id: "n", group: "default", target: l.Addr().String(), dir: t.TempDir()}
	g := open(t, p, "")
	o.connected(t, 1)
	rev := s.commit(map[string]string{"routes/1": "2"})
	o.enforced(t, rev, 1, 1)

	o.stop() // another process takes over, which reads the store anew
	o = replica(t, s, listen(t, l.Addr().String()), nil)
	o.connected(t, 1)
	rev = s.commit(map[string]string{"routes/1": "3"})
	o.enforced(t, rev, 1, 1)
	if got := g.full(); got != 1 {
		t.Errorf("node was sent everything %d times, want once", got)
	}

	eventually(t, "the disk", func() error {
		if st := g.client.Status(); !st.OnDisk {
			return errors.Join(errors.New("not on disk"), st.DiskError)
		}
		return nil
	})
	g.stop()
	o.stop() // nobody is left: the node starts all the same
	g = open(t, p, "")
	if err := g.holds(s, rev, rev); err != nil {
		t.Fatal(err)
	}
	o = replica(t, s, listen(t, l.Addr().String()), nil)
	o.connected(t, 1)
	rev = s.commit(map[string]string{"routes/1": ""})
	o.enforced(t, rev, 1, 1)
	if got := g.full(); got != 1 { // that of its own disk
		t.Errorf("node was sent everything %d times, want never", got-1)
	}
}

func TestRefusalEndsTheWaitAndIsRepaired(t *testing.T) {
	t.Parallel()
	s := newMemory("e1")
	s.commit(map[string]string{"services/a": "1"})
	l := listen(t, "127.0.0.1:0")
	o := replica(t, s, l, nil)
	p := place{group: "default", target: l.Addr().String()}
	p.id = "strict"
	strict := open(t, p, "poison")
	p.id = "easy"
	open(t, p, "")
	o.connected(t, 2)
	rev := s.commit(map[string]string{"services/a": "poison", "services/b": "1"})
	o.enforced(t, rev, 1, 2)
	n, _ := o.fleet.Node("strict")
	if v := n.Refusal.GetViolations(); len(v) != 1 || v[0].GetObject() != "services/a" || v[0].GetField() != "host" {
		t.Errorf("fleet knows the refusal as %v", n.Refusal)
	}
	if err := strict.holds(s, rev-1, rev-1); err != nil {
		t.Error(err)
	}
	rev = s.commit(map[string]string{"services/a": "2"})
	o.enforced(t, rev, 2, 2)
	if err := strict.holds(s, rev, rev); err != nil {
		t.Error(err)
	}
	if n, _ := o.fleet.Node("strict"); n.Refusal != nil {
		t.Errorf("fleet still shows %v", n.Refusal)
	}
}

func TestRestoreResyncsEveryNode(t *testing.T) {
	t.Parallel()
	s := newMemory("e1")
	for i := range 9 {
		s.commit(map[string]string{"services/a": fmt.Sprint(i)})
	}
	l := listen(t, "127.0.0.1:0")
	o := replica(t, s, l, nil)
	g := open(t, place{id: "n", group: "default", target: l.Addr().String(), dir: t.TempDir()}, "")
	o.connected(t, 1)
	old := newMemory("e2")
	old.commit(map[string]string{"services/a": "restored"})
	s.mu.Lock()
	s.head, s.objects, s.changes = old.head, old.objects, old.changes
	s.mu.Unlock()
	eventually(t, "the restored history", func() error { return g.holds(s, 1, 1) })
	o.enforced(t, 1, 1, 1)
}

// soak is writes, a group that is pinned back and forth, and nodes that come and go, all at
// once. In the end every node holds exactly what it must.
func TestEverythingAtOnce(t *testing.T) {
	t.Parallel()
	const revisions, nodes = 300, 6
	s := newMemory("e1")
	puts := map[string]string{}
	for i := range 2000 {
		puts[fmt.Sprint("routes/", i)] = strings.Repeat("x", 100)
	}
	s.commit(puts)
	var mu sync.Mutex
	blue := rollout.Group{Name: "blue", Mode: rollout.Pinned, Rev: 1, Generation: 1}
	l := listen(t, "127.0.0.1:0")
	o := replica(t, s, l, func() []rollout.Group {
		mu.Lock()
		defer mu.Unlock()
		return []rollout.Group{blue}
	})
	places := make([]place, nodes)
	gates := make([]*gate, nodes)
	for i := range places {
		places[i] = place{id: fmt.Sprint("n", i), group: []string{"default", "blue"}[i%2], target: l.Addr().String(), dir: t.TempDir()}
		gates[i] = open(t, places[i], "")
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range revisions {
		puts := map[string]string{}
		for range 1 + r.IntN(20) {
			name := fmt.Sprint([]string{"routes/", "services/", "consumers/"}[r.IntN(3)], r.IntN(2100))
			puts[name] = []string{"", "a", fmt.Sprint(i)}[r.IntN(3)]
		}
		rev := s.commit(puts)
		switch {
		case i%23 == 0:
			mu.Lock()
			blue.Rev, blue.Generation = 1+r.Uint64N(rev), blue.Generation+1
			mu.Unlock()
			o.publisher.Wake()
		case i%17 == 0:
			k := r.IntN(nodes)
			gates[k].stop()
			gates[k] = open(t, places[k], "")
		case i%5 == 0:
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			o.fleet.WaitEnforced(ctx, rev, 1)
		}
	}
	head, _ := s.Head(context.Background())
	for i, g := range gates {
		staged := head.Rev
		if places[i].group == "blue" {
			staged = blue.Rev
		}
		eventually(t, places[i].id, func() error { return g.holds(s, staged, head.Rev) })
	}
	o.enforced(t, head.Rev, nodes, nodes)
}

var _ feed.Applier = (*gate)(nil)
