package publish

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/fleet"
	"github.com/sekifuda/sekifuda/controlplane/rollout"
	"github.com/sekifuda/sekifuda/controlplane/snapshot"
	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/xds"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// memory is a store in memory, with outages on demand.
type memory struct {
	mu      sync.Mutex
	head    store.Head
	objects map[string]store.Object
	changes []store.Change
	away    error
	broken  int // so many more reads of Changes end in the middle
	woken   chan struct{}
	calls   int
	author  string // of all revisions
}

func (m *memory) Revision(_ context.Context, rev uint64) (store.Revision, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if rev > m.head.Rev {
		return store.Revision{}, store.ErrNotFound
	}
	return store.Revision{Rev: rev, Actor: m.author}, m.away
}

func newMemory(epoch string) *memory {
	return &memory{head: store.Head{Epoch: epoch}, objects: map[string]store.Object{}, woken: make(chan struct{})}
}

// commit writes "kind/id=body" or "-kind/id" as one revision.
func (m *memory) commit(ops ...string) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.head.Rev++
	for i, op := range ops {
		var kind, id, body string
		var c store.Change
		if op[0] == '-' {
			fmt.Sscanf(op, "-%1s/%s", &kind, &id)
			c = store.Change{Before: m.objects[kind+"/"+id].Body}
			delete(m.objects, kind+"/"+id)
		} else {
			fmt.Sscanf(op, "%1s/%1s=%s", &kind, &id, &body)
			c = store.Change{Before: m.objects[kind+"/"+id].Body, After: []byte(body)}
			m.objects[kind+"/"+id] = store.Object{Kind: kind, ID: id, Rev: m.head.Rev, Body: []byte(body)}
		}
		c.Rev, c.Seq, c.Kind, c.ID = m.head.Rev, i, kind, id
		m.changes = append(m.changes, c)
	}
	m.hint()
	return m.head.Rev
}

func (m *memory) hint() {
	close(m.woken)
	m.woken = make(chan struct{})
}

func (m *memory) set(do func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	do()
	m.hint()
}

func (m *memory) Head(context.Context) (store.Head, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	return m.head, m.away
}

func (m *memory) Load(_ context.Context, at uint64) (uint64, iter.Seq2[store.Object, error], error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.away != nil {
		return 0, nil, m.away
	}
	if at == 0 {
		at = m.head.Rev
	}
	if at < m.head.Floor {
		return 0, nil, store.ErrCompacted
	}
	objects := maps.Clone(m.objects)
	for _, c := range slices.Backward(m.changes) {
		if c.Rev > at {
			if c.Before == nil {
				delete(objects, c.Kind+"/"+c.ID)
			} else {
				objects[c.Kind+"/"+c.ID] = store.Object{Kind: c.Kind, ID: c.ID, Body: c.Before}
			}
		}
	}
	return at, func(yield func(store.Object, error) bool) {
		for _, name := range slices.Sorted(maps.Keys(objects)) {
			if !yield(objects[name], nil) {
				return
			}
		}
	}, nil
}

func (m *memory) Changes(_ context.Context, after, to uint64) iter.Seq2[store.Change, error] {
	m.mu.Lock()
	defer m.mu.Unlock()
	all, err := slices.Clone(m.changes), m.away
	if after < m.head.Floor {
		err = store.ErrCompacted
	}
	cut := m.broken > 0
	m.broken--
	return func(yield func(store.Change, error) bool) {
		if err != nil {
			yield(store.Change{}, err)
			return
		}
		sent := 0
		for _, c := range all {
			if c.Rev <= after || c.Rev > to {
				continue
			}
			if sent++; cut && sent == 2 {
				yield(store.Change{}, errors.New("connection reset"))
				return
			}
			if !yield(c, nil) {
				return
			}
		}
	}
}

func (m *memory) Wait(ctx context.Context, after uint64) (uint64, error) {
	for {
		m.mu.Lock()
		rev, err, woken := m.head.Rev, m.away, m.woken
		m.mu.Unlock()
		if err != nil || rev > after {
			return rev, err
		}
		select {
		case <-woken:
			m.mu.Lock()
			rev, err := m.head.Rev, m.away
			m.mu.Unlock()
			if rev < after || err != nil { // as a poll that fails, or its deadline, would
				return rev, err
			}
		case <-ctx.Done():
			return rev, ctx.Err()
		}
	}
}

type fixture struct {
	*Publisher
	t     *testing.T
	store *memory
	mu    sync.Mutex
	lost  []uint64
	slept []time.Duration
	group []rollout.Group
	bump  string // epoch that a loss begins
}

func run(t *testing.T, m *memory) *fixture {
	t.Helper()
	x := &fixture{t: t, store: m}
	f := fleet.New(nil)
	x.Publisher = New(Options{
		Store: m, Origin: m.Revision, Fleet: f, Cache: xds.New(xds.Options{Observer: Observe(f)}),
		Rules: &snapshot.Rules{Live: func(kind string) bool { return kind == "c" }},
		Groups: func(context.Context) ([]rollout.Group, error) {
			x.mu.Lock()
			defer x.mu.Unlock()
			return x.group, nil
		},
		Lost: func(_ context.Context, had, have uint64) error {
			x.mu.Lock()
			defer x.mu.Unlock()
			x.lost = append(x.lost, had, have)
			if x.bump != "" {
				m.set(func() { m.head.Epoch = x.bump })
			}
			return nil
		},
		Pause: func(ctx context.Context, d time.Duration) {
			x.mu.Lock()
			x.slept = append(x.slept, d)
			x.mu.Unlock()
			pause(ctx, time.Millisecond)
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil when its context ends", err)
		}
	})
	return x
}

// reaches waits until what is published is the store's content at its head.
func (x *fixture) reaches(what string) {
	x.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		if x.isCurrent() {
			return
		}
		if time.Now().After(deadline) {
			x.t.Fatalf("%s: published %+v, store is at %+v", what, x.Snapshot(), x.store.head)
		}
		time.Sleep(time.Millisecond)
	}
}

func (x *fixture) isCurrent() bool {
	s := x.Snapshot()
	x.store.mu.Lock()
	defer x.store.mu.Unlock()
	epoch, rev := x.Cache.Head()
	if s == nil || s.Rev() != x.store.head.Rev || s.Epoch() != x.store.head.Epoch || epoch != s.Epoch() || rev != s.Rev() {
		return false
	}
	got := map[string]string{}
	for e := range s.All() {
		got[e.Name()] = string(e.Body)
	}
	want := map[string]string{}
	for name, o := range x.store.objects {
		want[name] = string(o.Body)
	}
	if !maps.Equal(got, want) {
		x.t.Fatalf("revision %d is %v, want %v", rev, got, want)
	}
	return true
}

func TestFollowsTheStore(t *testing.T) {
	t.Parallel()
	m := newMemory("e1")
	x := run(t, m)
	x.reaches("an empty store")
	m.commit("s/a=1", "c/c=1")
	x.reaches("the first revision")
	m.commit("s/a=2")
	m.commit() // a revision without changes
	m.commit("-s/a", "s/b=1")
	m.commit()
	x.reaches("several at once")
}

func TestStartsWithABacklogForNodesToComeFrom(t *testing.T) {
	t.Parallel()
	m := newMemory("e1")
	for i := range 2500 {
		m.commit(fmt.Sprintf("s/%c=%d", 'a'+i%5, i))
	}
	m.head.Floor = 3
	x := run(t, m)
	x.reaches("head")
	if got := start(m.head, nil); got != 1500 {
		t.Errorf("start = %d, want %d", got, 1500)
	}
	pinned := []rollout.Group{{Name: "a", Mode: rollout.Pinned, Rev: 77, Generation: 1}}
	if got := start(m.head, pinned); got != 77 {
		t.Errorf("start with a pin = %d, want the pin", got)
	}
	pinned[0].Rev = 1
	if got := start(m.head, pinned); got != 3 {
		t.Errorf("start with a pin below the floor = %d, want the floor", got)
	}
}

func TestOutageDelaysAndLosesNothing(t *testing.T) {
	t.Parallel()
	m := newMemory("e1")
	m.away = errors.New("no route to database")
	x := run(t, m)
	m.commit("s/a=1")
	wait(t, func() bool { x.mu.Lock(); defer x.mu.Unlock(); return len(x.slept) > 3 })
	m.set(func() { m.away = nil })
	x.reaches("the end of the first outage")
	m.set(func() { m.away = errors.New("restart"); m.broken = 2 })
	m.commit("s/a=2", "s/b=2")
	m.commit("s/c=3", "s/d=3")
	m.set(func() { m.away = nil })
	x.reaches("the end of the second one")
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, d := range x.slept {
		if d < 100*time.Millisecond || d > 5*time.Second {
			t.Errorf("pause of %v is out of bounds", d)
		}
	}
}

func wait(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no end to waiting")
		}
	}
}

func TestRestoreIsAnotherHistory(t *testing.T) {
	t.Parallel()
	m := newMemory("e1")
	x := run(t, m)
	for range 5 {
		m.commit("s/a=1", "s/b=1")
	}
	x.reaches("the first history")
	// The restored database continues above what was seen: its numbers mean other things.
	other := newMemory("e2")
	for range 9 {
		other.commit("s/z=9")
	}
	m.set(func() { m.head, m.objects, m.changes = other.head, other.objects, other.changes })
	x.reaches("the restored history, above")
	lower := newMemory("e3")
	lower.commit("s/y=1")
	m.set(func() { m.head, m.objects, m.changes = lower.head, lower.objects, lower.changes })
	x.reaches("the restored history, below")
	if len(x.lost) != 0 {
		t.Errorf("a restore is reported as a loss: %v", x.lost)
	}
}

// Not even for a moment are another history's changes handed over as this one's.
func TestNothingOfAnotherHistoryIsMixedIn(t *testing.T) {
	t.Parallel()
	m, ctx := newMemory("e1"), context.Background()
	m.commit("s/a=1")
	c := xds.New(xds.Options{})
	p := New(Options{Store: m, Cache: c, Fleet: fleet.New(nil)})
	if err := p.step(ctx); err != nil {
		t.Fatal(err)
	}
	m.head.Epoch = "e2"
	rev := m.commit("s/a=2")
	if err := p.follow(ctx, p.Snapshot(), rev); err != nil {
		t.Fatal(err)
	}
	if epoch, rev := c.Head(); epoch != "e1" || rev != 1 {
		t.Errorf("stream is at %s %d, want e1 1", epoch, rev)
	}
	if err := p.step(ctx); err != nil {
		t.Fatal(err)
	}
	if epoch, rev := c.Head(); epoch != "e2" || rev != 2 {
		t.Errorf("stream is at %s %d, want e2 2", epoch, rev)
	}
}

func TestLostCommitsAreReported(t *testing.T) {
	t.Parallel()
	m := newMemory("e1")
	x := run(t, m)
	m.commit("s/a=1")
	m.commit("s/a=2")
	m.commit("s/a=3")
	x.reaches("head")
	before := newMemory("e1")
	before.commit("s/a=1")
	m.set(func() { m.head, m.objects, m.changes = before.head, before.objects, before.changes })
	x.reaches("the lower head")
	x.mu.Lock()
	defer x.mu.Unlock()
	if !slices.Equal(x.lost, []uint64{3, 1}) {
		t.Errorf("reported as lost: %v, want from 3 to 1", x.lost)
	}
}

// A database that lost revisions and made as many again has a head that looks all right.
func TestLostCommitsThatWereOvertakenAreReported(t *testing.T) {
	t.Parallel()
	m := newMemory("e1")
	x := run(t, m)
	m.commit("s/a=1")
	m.commit("s/l=2")
	x.reaches("head")
	x.mu.Lock()
	x.bump = "e2"
	x.mu.Unlock()
	other := newMemory("e1")
	for _, op := range []string{"s/a=1", "s/b=2", "s/c=3"} {
		other.commit(op)
	}
	m.set(func() { m.head, m.objects, m.changes, m.author = other.head, other.objects, other.changes, "another" })
	wait(t, func() bool { epoch, _ := x.Cache.Head(); return epoch == "e2" })
	x.reaches("what the other one has")
	x.mu.Lock()
	defer x.mu.Unlock()
	if !slices.Equal(x.lost, []uint64{2, 3}) {
		t.Errorf("reported as lost: %v, want that 2 is another one with head at 3", x.lost)
	}
}

// A store that was put back from an older dump shows by its nodes alone.
func TestNodesAheadOfTheStoreAreALoss(t *testing.T) {
	t.Parallel()
	m := newMemory("e1")
	m.commit("s/a=1")
	x := run(t, m)
	x.reaches("head")
	x.mu.Lock()
	x.bump = "e2"
	x.mu.Unlock()
	x.Fleet.Connected(1, fleet.Node{ID: "n"})
	x.Fleet.Enforced(1, feedv1.Pos{Epoch: "e1", Generation: 1, Staged: 40, Live: 41})
	x.Wake()
	wait(t, func() bool { epoch, _ := x.Cache.Head(); return epoch == "e2" })
	x.reaches("the new epoch")
	x.mu.Lock()
	defer x.mu.Unlock()
	if !slices.Equal(x.lost, []uint64{41, 1}) {
		t.Errorf("reported as lost: %v, want from 41 to 1, once", x.lost)
	}
}

func TestCompactedBehindTheTailLoadsAnew(t *testing.T) {
	t.Parallel()
	m := newMemory("e1")
	x := run(t, m)
	m.commit("s/a=1")
	x.reaches("head")
	m.mu.Lock()
	m.head.Rev, m.head.Floor = 50, 50
	m.objects["s/a"] = store.Object{Kind: "s", ID: "a", Rev: 50, Body: []byte("50")}
	m.changes = nil
	m.hint()
	m.mu.Unlock()
	x.reaches("head above the floor")
}

func TestGroupsMoveWithoutARevision(t *testing.T) {
	t.Parallel()
	m := newMemory("e1")
	x := run(t, m)
	m.commit("s/a=1")
	m.commit("s/a=2")
	x.reaches("head")
	x.Fleet.Connected(1, fleet.Node{ID: "n", Group: "blue"})
	x.mu.Lock()
	x.group = []rollout.Group{{Name: "blue", Mode: rollout.Pinned, Rev: 1, Generation: 2}}
	x.mu.Unlock()
	x.Wake()
	// A held node enforces by its live track: that the fleet was told shows in the count.
	x.Fleet.Enforced(1, feedv1.Pos{Epoch: "e1", Generation: 2, Staged: 1, Live: 2})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if e, c := x.Fleet.WaitEnforced(ctx, 2, 1); e != 1 || c != 1 {
		t.Errorf("WaitEnforced = %d of %d, want 1 of 1", e, c)
	}
}
