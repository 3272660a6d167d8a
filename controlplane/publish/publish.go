// Package publish is the one loop between the store and the nodes: it follows the store's
// revisions, makes the snapshot of each, asks the plan where every group must stand, and
// hands both to the stream.
//
// It knows in which order these things happen, and what to do when the store is away. It
// does not know SQL, entities or the protocol. There is no debounce: a node that is busy
// takes several revisions at once by itself. Enter at New and Run.
package publish

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/fleet"
	"github.com/sekifuda/sekifuda/controlplane/rollout"
	"github.com/sekifuda/sekifuda/controlplane/snapshot"
	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/xds"
)

// Store is what the loop needs of store.Store.
type Store interface {
	Head(ctx context.Context) (store.Head, error)
	Load(ctx context.Context, at uint64) (rev uint64, objects iter.Seq2[store.Object, error], err error)
	Changes(ctx context.Context, after, to uint64) iter.Seq2[store.Change, error]
	Wait(ctx context.Context, after uint64) (uint64, error)
}

const (
	// backlog is how many revisions before head are read at start, so that nodes that were
	// connected to another process are moved by differences.
	backlog = 1000
	// batch bounds the revisions handed over at once; it is a matter of memory alone.
	batch = 256
	// idle is how often the store's history and groups are looked at when nothing happens: a
	// group that another replica moved is seen after that. timeout is how long one call to the
	// store may take before it counts as away.
	idle    = 250 * time.Millisecond
	timeout = 30 * time.Second
)

// Options are what a Publisher is built with.
type Options struct {
	Store Store
	Cache *xds.Cache
	Fleet *fleet.Fleet
	Rules *snapshot.Rules

	// Groups reads how groups are assigned; nil: every group follows head. It is read with
	// every batch of revisions, four times a second without any, and after Wake.
	Groups func(ctx context.Context) ([]rollout.Group, error)

	// Origin tells who made a revision and when; nil: a history that lost revisions and has as
	// many again is taken for the one before.
	Origin func(ctx context.Context, rev uint64) (store.Revision, error)

	// Lost hears that head is below what was published, or what a node runs, in the same
	// history, or that a revision that was published is another one now: an asynchronous
	// failover lost commits, or an older dump was loaded. It may give
	// the history another epoch, so that nodes that run what was lost are resynced; else they
	// follow as revisions pass theirs. It is told once of one loss.
	Lost func(ctx context.Context, had, have uint64) error

	Log *slog.Logger
	// Pause waits before the store is tried again; nil: by the clock.
	Pause func(ctx context.Context, d time.Duration)
}

// Publisher follows a store. Run is its one loop; the other methods may be called
// concurrently with it.
type Publisher struct {
	Options
	wakes chan struct{}
	tail  atomic.Pointer[snapshot.Snapshot]

	// Owned by Run.
	groups []rollout.Group
	epoch  string     // last told to the fleet
	told   store.Head // the history and its highest revision last reported as lost
	// tailOrigin is the origin of the tail.
	tailOrigin store.Revision
}

// New returns a publisher.
func New(o Options) *Publisher {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Pause == nil {
		o.Pause = pause
	}
	if o.Groups == nil {
		o.Groups = func(context.Context) ([]rollout.Group, error) { return nil, nil }
	}
	return &Publisher{Options: o, wakes: make(chan struct{}, 1)}
}

// Snapshot is the newest snapshot published, or nil.
func (p *Publisher) Snapshot() *snapshot.Snapshot { return p.tail.Load() }

// Wake makes the loop read the groups anew.
func (p *Publisher) Wake() {
	select {
	case p.wakes <- struct{}{}:
	default: // it is about to
	}
}

// Run publishes until ctx ends, and then returns nil. An outage of the store delays it; what
// was published stays with the stream.
func (p *Publisher) Run(ctx context.Context) error {
	for failed := 0; ctx.Err() == nil; {
		err := p.step(ctx)
		if err == nil || ctx.Err() != nil {
			failed = 0
			continue
		}
		failed++
		d := backoff(failed)
		p.Log.WarnContext(ctx, "store does not answer; nodes keep what they have", "error", err, "again_in", d)
		p.Pause(ctx, d)
	}
	return nil
}

// step loads, or follows the store by one wait.
func (p *Publisher) step(ctx context.Context) error {
	tail := p.tail.Load()
	if tail == nil {
		return p.load(ctx)
	}
	rev, err := p.wait(ctx, tail.Rev())
	if err != nil {
		return fmt.Errorf("wait for a revision after %d: %w", tail.Rev(), err)
	}
	if rev > tail.Rev() {
		return p.follow(ctx, tail, rev)
	}
	return p.look(ctx, tail)
}

// wait returns tail's revision when nothing happened for a while, or Wake was called.
func (p *Publisher) wait(ctx context.Context, after uint64) (uint64, error) {
	wctx, cancel := context.WithTimeout(ctx, idle)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-p.wakes:
			cancel()
		case <-stop:
		}
	}()
	rev, err := p.Store.Wait(wctx, after)
	if wctx.Err() != nil && (err == nil || errors.Is(err, wctx.Err()) || errors.Is(err, context.DeadlineExceeded)) {
		return max(rev, after), nil
	}
	return rev, err
}

// look checks that the history is still the one followed, and whether groups moved.
func (p *Publisher) look(ctx context.Context, tail *snapshot.Snapshot) error {
	same, err := p.same(ctx, tail)
	if err != nil || !same {
		return err
	}
	groups, err := p.read(ctx)
	if err != nil || slices.Equal(groups, p.groups) {
		return err
	}
	if p.missing(groups, tail.Rev()) {
		p.tail.Store(nil) // the next step loads from further back
		return nil
	}
	return p.hand(nil, tail, groups)
}

// missing reports whether a group was assigned a revision up to head that is no longer, or was
// never, in memory.
func (p *Publisher) missing(groups []rollout.Group, head uint64) bool {
	for _, g := range groups {
		for _, rev := range []uint64{g.Pin(), g.Move.Rev} {
			if rev != 0 && rev <= head && !p.Cache.Has(rev) {
				return true
			}
		}
	}
	return false
}

// same reports whether tail is still of the store's history; if not, the next step loads.
func (p *Publisher) same(ctx context.Context, tail *snapshot.Snapshot) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// Read before head: whatever a node runs by now was committed before head is read.
	seen := max(tail.Rev(), p.Fleet.Highest(tail.Epoch()))
	head, err := p.Store.Head(ctx)
	if err != nil {
		return false, fmt.Errorf("read head: %w", err)
	}
	if head.Epoch != tail.Epoch() {
		p.Log.WarnContext(ctx, "history changed; every node is resynced", "was", tail.Epoch(), "is", head.Epoch)
		p.tail.Store(nil)
		return false, nil
	}
	replaced := false
	if head.Rev >= tail.Rev() {
		if replaced, err = p.replaced(ctx, tail); err != nil {
			return false, err
		}
	}
	if head.Rev < seen || replaced {
		if err := p.lost(ctx, store.Head{Epoch: tail.Epoch(), Rev: seen}, head.Rev); err != nil {
			return false, err
		}
	}
	if head.Rev < tail.Rev() || replaced {
		p.tail.Store(nil)
		return false, nil
	}
	return true, nil
}

// lost reports a loss, once.
func (p *Publisher) lost(ctx context.Context, had store.Head, have uint64) error {
	if had == p.told {
		return nil
	}
	p.Log.ErrorContext(ctx, "commits were lost: nodes were given what the store has not", "had", had.Rev, "have", have)
	if p.Lost != nil {
		if err := p.Lost(ctx, had.Rev, have); err != nil {
			return fmt.Errorf("report lost revisions: %w", err)
		}
	}
	p.told = had
	return nil
}

func (p *Publisher) read(ctx context.Context) ([]rollout.Group, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	groups, err := p.Groups(ctx)
	if err != nil {
		return nil, fmt.Errorf("read groups: %w", err)
	}
	return groups, nil
}

// hand gives new snapshots, the last of which is tail, and the plan at tail to the stream.
func (p *Publisher) hand(snaps []*snapshot.Snapshot, tail *snapshot.Snapshot, groups []rollout.Group) error {
	plan, err := rollout.New(groups, tail.Rev())
	if err != nil {
		return fmt.Errorf("plan revision %d: %w", tail.Rev(), err)
	}
	if tail.Epoch() != p.epoch || !slices.Equal(groups, p.groups) {
		p.Fleet.Follow(tail.Epoch(), plan.Held)
		p.epoch, p.groups = tail.Epoch(), groups
	}
	p.Cache.Apply(xds.Update{
		Snapshots: snaps,
		Plan:      func(group, node string) xds.Target { return xds.Target(plan.Target(group, node)) },
		Keep:      plan.Keep(),
	})
	p.tail.Store(tail)
	return nil
}
