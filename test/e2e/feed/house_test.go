// Package feed_test joins both ends of the feed, as the two planes never do in code: the real
// publisher, cache and fleet on one side, real nodes with disks on the other, over real gRPC.
package feed_test

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"net"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/sekifuda/sekifuda/controlplane/fleet"
	"github.com/sekifuda/sekifuda/controlplane/publish"
	"github.com/sekifuda/sekifuda/controlplane/rollout"
	"github.com/sekifuda/sekifuda/controlplane/snapshot"
	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/xds"
	"github.com/sekifuda/sekifuda/dataplane/feed"
)

// TestMain fails when a test leaves a goroutine behind.
func TestMain(m *testing.M) {
	code := m.Run()
	deadline := time.Now().Add(5 * time.Second)
	for runtime.NumGoroutine() > 2 && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	if n := runtime.NumGoroutine(); code == 0 && n > 2 {
		fmt.Fprintf(os.Stderr, "%d goroutines are left:\n", n)
		_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		code = 1
	}
	os.Exit(code)
}

// memory is a store in memory: what publish needs of one, and commit.
type memory struct {
	mu      sync.Mutex
	head    store.Head
	objects map[string]store.Object
	changes []store.Change
	woken   chan struct{}
}

func newMemory(epoch string) *memory {
	return &memory{head: store.Head{Epoch: epoch}, objects: map[string]store.Object{}, woken: make(chan struct{})}
}

// commit puts bodies by "kind/id"; an empty one deletes.
func (m *memory) commit(puts map[string]string) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.head.Rev++
	for name, body := range puts {
		kind, id, _ := strings.Cut(name, "/")
		old, had := m.objects[name]
		c := store.Change{Rev: m.head.Rev, Kind: kind, ID: id}
		if had {
			c.Before = old.Body
		}
		if body == "" {
			delete(m.objects, name)
		} else {
			c.After = []byte(body)
			m.objects[name] = store.Object{Kind: kind, ID: id, Rev: m.head.Rev, Body: c.After}
		}
		if c.Before != nil || c.After != nil {
			m.changes = append(m.changes, c)
		}
	}
	close(m.woken)
	m.woken = make(chan struct{})
	return m.head.Rev
}

func (m *memory) Head(context.Context) (store.Head, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.head, nil
}

// asOf is the content at a revision.
func (m *memory) asOf(rev uint64) map[string]store.Object {
	m.mu.Lock()
	defer m.mu.Unlock()
	objects := maps.Clone(m.objects)
	for _, c := range slices.Backward(m.changes) {
		switch name := c.Kind + "/" + c.ID; {
		case c.Rev <= rev:
		case c.Before == nil:
			delete(objects, name)
		default:
			objects[name] = store.Object{Kind: c.Kind, ID: c.ID, Body: c.Before}
		}
	}
	return objects
}

func (m *memory) Load(_ context.Context, at uint64) (uint64, iter.Seq2[store.Object, error], error) {
	if at == 0 {
		m.mu.Lock()
		at = m.head.Rev
		m.mu.Unlock()
	}
	objects := m.asOf(at)
	return at, func(yield func(store.Object, error) bool) {
		for _, o := range objects {
			if !yield(o, nil) {
				return
			}
		}
	}, nil
}

func (m *memory) Changes(_ context.Context, after, to uint64) iter.Seq2[store.Change, error] {
	m.mu.Lock()
	all := slices.Clone(m.changes)
	m.mu.Unlock()
	return func(yield func(store.Change, error) bool) {
		for _, c := range all {
			if c.Rev > after && c.Rev <= to && !yield(c, nil) {
				return
			}
		}
	}
}

func (m *memory) Wait(ctx context.Context, after uint64) (uint64, error) {
	for {
		m.mu.Lock()
		rev, woken := m.head.Rev, m.woken
		m.mu.Unlock()
		if rev > after {
			return rev, nil
		}
		select {
		case <-woken:
		case <-ctx.Done():
			return rev, ctx.Err()
		}
	}
}

// office is a control plane: one replica on a store.
type office struct {
	fleet     *fleet.Fleet
	publisher *publish.Publisher
	stop      func()
}

// replica opens a control plane on l.
func replica(t *testing.T, s *memory, l net.Listener, groups func() []rollout.Group) *office {
	t.Helper()
	f := fleet.New(nil)
	c := xds.New(xds.Options{Observer: publish.Observe(f), Limits: xds.Limits{Chunk: 64 << 10}})
	p := publish.New(publish.Options{
		Store: s, Cache: c, Fleet: f,
		Rules: &snapshot.Rules{Live: func(kind string) bool { return kind == "consumers" }},
		Groups: func(context.Context) ([]rollout.Group, error) {
			if groups == nil {
				return nil, nil
			}
			return groups(), nil
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	server := xds.NewServer(ctx, c, xds.ServerOptions{Nodes: fleet.NewReports(ctx, f, nil)})
	var wg sync.WaitGroup
	wg.Go(func() { _ = p.Run(ctx) })
	wg.Go(func() { _ = c.Run(ctx) })
	wg.Go(func() { _ = server.Serve(l) })
	o := &office{fleet: f, publisher: p, stop: sync.OnceFunc(func() { cancel(); server.Stop(); wg.Wait() })}
	t.Cleanup(o.stop)
	return o
}

func listen(t *testing.T, addr string) net.Listener {
	t.Helper()
	var l net.Listener
	eventually(t, "the address to be free", func() (err error) {
		l, err = net.Listen("tcp", addr)
		return err
	})
	return l
}

// gate is a node: it keeps what it was told to apply, as a graph would.
type gate struct {
	client *feed.Client
	stop   func()

	mu    sync.Mutex
	runs  map[string]string
	fulls int
	at    feed.Pos
	bad   string // an entity with this body is refused
}

func (g *gate) Apply(_ context.Context, m feed.Move) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	next := maps.Clone(g.runs)
	if m.Full {
		g.fulls++
		next = map[string]string{}
	}
	for _, c := range m.Changes {
		name := c.Kind + "/" + c.ID
		if c.Body == nil {
			delete(next, name)
		} else if next[name] = string(c.Body); g.bad != "" && next[name] == g.bad {
			return &feed.Refused{Violations: []feed.Violation{{Object: name, Field: "host", Reason: "cannot be compiled"}}}
		}
	}
	g.runs, g.at = next, m.To
	return nil
}

func (g *gate) full() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fulls
}

type place struct {
	id, group, dir, target string
	dial                   []grpc.DialOption
}

// open starts a node.
func open(t *testing.T, p place, bad string) *gate {
	t.Helper()
	g := &gate{runs: map[string]string{}, bad: bad}
	start(t, p, g, g)
	return g
}

// start runs a node's client, which applies by a.
func start(t *testing.T, p place, g *gate, a feed.Applier) {
	t.Helper()
	conn, err := feed.Dial(p.target, insecure.NewCredentials(), p.dial...)
	if err != nil {
		t.Fatal(err)
	}
	g.client, err = feed.New(feed.Options{Conn: conn, Applier: a, NodeID: p.id, Group: p.group, Version: "1", Dir: p.dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.client.Boot(context.Background()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = g.client.Run(ctx) }()
	g.stop = sync.OnceFunc(func() { cancel(); <-done; conn.Close() })
	t.Cleanup(g.stop)
}

// holds compares a node with the store: staged kinds as of one revision, live ones as of another.
func (g *gate) holds(s *memory, staged, live uint64) error {
	want := map[string]string{}
	for name, o := range s.asOf(staged) {
		if o.Kind != "consumers" {
			want[name] = string(o.Body)
		}
	}
	for name, o := range s.asOf(live) {
		if o.Kind == "consumers" {
			want[name] = string(o.Body)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.at.Staged != staged || g.at.Live != live {
		return fmt.Errorf("node stands at %d/%d, want %d/%d", g.at.Staged, g.at.Live, staged, live)
	}
	if !maps.Equal(g.runs, want) {
		return fmt.Errorf("at %d/%d node holds %d entities, want %d, or others", staged, live, len(g.runs), len(want))
	}
	return nil
}

func eventually(t *testing.T, what string, ok func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for err := ok(); err != nil; err = ok() {
		if time.Now().After(deadline) {
			t.Fatalf("no end to waiting for %s: %v", what, err)
		}
		time.Sleep(time.Millisecond)
	}
}

// enforced waits as a write does.
func (o *office) enforced(t *testing.T, rev uint64, enforcing, connected int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if e, c := o.fleet.WaitEnforced(ctx, rev, 1); e != enforcing || c != connected || ctx.Err() != nil {
		t.Fatalf("revision %d is enforced by %d of %d nodes, want %d of %d (%v)", rev, e, c, enforcing, connected, ctx.Err())
	}
}

// connected waits until so many nodes run something.
func (o *office) connected(t *testing.T, n int) {
	t.Helper()
	eventually(t, "nodes", func() error {
		got := 0
		for _, node := range o.fleet.Nodes() {
			if node.Connected && node.Running != (feed.Pos{}) {
				got++
			}
		}
		if got != n {
			return fmt.Errorf("%d of %d nodes", got, n)
		}
		return nil
	})
}

func memoryListener() (net.Listener, []grpc.DialOption) {
	l := bufconn.Listen(1 << 20)
	return l, []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) })}
}

// picky is a node that refuses whatever says poison, and counts how often it did.
type picky struct {
	gate
	refused int
}

func (p *picky) Apply(ctx context.Context, m feed.Move) error {
	for _, c := range m.Changes {
		if strings.Contains(string(c.Body), "poison") {
			p.mu.Lock()
			p.refused++
			p.mu.Unlock()
			return &feed.Refused{Violations: []feed.Violation{{Object: c.Kind + "/" + c.ID, Field: "host", Reason: "cannot be compiled"}}}
		}
	}
	return p.gate.Apply(ctx, m)
}

func (p *picky) refusals() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused
}

func (p *picky) stands(rev uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at.Staged != rev {
		return fmt.Errorf("it stands at %d, want %d", p.at.Staged, rev)
	}
	return nil
}

// pick starts a picky node.
func pick(t *testing.T, target, id string) *picky {
	t.Helper()
	p := &picky{gate: gate{runs: map[string]string{}}}
	start(t, place{id: id, group: "default", target: target, dir: t.TempDir()}, &p.gate, p)
	return p
}
