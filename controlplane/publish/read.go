package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sekifuda/sekifuda/controlplane/rollout"
	"github.com/sekifuda/sekifuda/controlplane/snapshot"
	"github.com/sekifuda/sekifuda/controlplane/store"
)

// load reads the configuration as it was a while ago, and follows it to head. Nothing is
// handed over before head is reached: a node must not be moved through the past.
func (p *Publisher) load(ctx context.Context) error {
	groups, err := p.read(ctx)
	if err != nil {
		return err
	}
	head, err := p.Store.Head(ctx)
	if err != nil {
		return fmt.Errorf("read head: %w", err)
	}
	origin, err := p.origin(ctx, head.Rev)
	if err != nil {
		return err
	}
	base, err := p.base(ctx, head, start(head, groups))
	if err != nil {
		return err
	}
	snaps := []*snapshot.Snapshot{base}
	tail, err := p.changes(ctx, base, max(head.Rev, base.Rev()), func(s *snapshot.Snapshot) error {
		snaps = append(snaps, s)
		return nil
	})
	if err != nil {
		return err
	}
	again, err := p.Store.Head(ctx)
	if err != nil {
		return fmt.Errorf("read head: %w", err)
	}
	now, err := p.origin(ctx, head.Rev)
	if err != nil {
		return err
	}
	if again.Epoch != head.Epoch || !sameOrigin(now, origin) {
		return fmt.Errorf("load revision %d: history changed meanwhile", head.Rev)
	}
	if p.tailOrigin = origin; tail.Rev() != head.Rev {
		p.tailOrigin = store.Revision{} // of a later one, until it is followed
	}
	p.Log.InfoContext(ctx, "configuration loaded", "revision", tail.Rev(), "entities", tail.Len(), "epoch", tail.Epoch())
	return p.hand(snaps, tail, groups)
}

// start is the revision to load: far enough back for nodes to come from and for pins.
func start(head store.Head, groups []rollout.Group) uint64 {
	at := head.Rev - min(head.Rev, backlog)
	for _, g := range groups {
		for _, rev := range []uint64{g.Pin(), g.Move.Rev} {
			if rev != 0 {
				at = min(at, rev)
			}
		}
	}
	return max(at, head.Floor)
}

// base loads the snapshot at a revision, or head where history does not reach back that far.
func (p *Publisher) base(ctx context.Context, head store.Head, at uint64) (*snapshot.Snapshot, error) {
	empty := snapshot.New(head.Epoch, p.Rules)
	if at == 0 && head.Floor == 0 {
		return empty, nil // before the first revision there was nothing
	}
	rev, objects, err := p.Store.Load(ctx, at)
	if errors.Is(err, store.ErrCompacted) {
		rev, objects, err = p.Store.Load(ctx, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("load revision %d: %w", at, err)
	}
	var all []snapshot.Change
	for o, err := range objects {
		if err != nil {
			return nil, fmt.Errorf("load revision %d: %w", rev, err)
		}
		all = append(all, snapshot.Change{Rev: o.Rev, Kind: o.Kind, ID: o.ID, After: o.Body})
	}
	return empty.Apply(rev, all), nil
}

// follow publishes the revisions after tail up to rev, or as many as are handed over at once.
func (p *Publisher) follow(ctx context.Context, tail *snapshot.Snapshot, rev uint64) error {
	rev = min(rev, tail.Rev()+batch)
	origin, err := p.origin(ctx, rev)
	if err != nil {
		return err
	}
	var snaps []*snapshot.Snapshot
	last, err := p.changes(ctx, tail, rev, func(s *snapshot.Snapshot) error {
		snaps = append(snaps, s)
		return nil
	})
	if errors.Is(err, store.ErrCompacted) {
		p.tail.Store(nil) // too far behind: the next step loads
		return nil
	}
	if err != nil {
		return err
	}
	// A restore may have put other changes under the numbers that were just read.
	if same, err := p.same(ctx, tail); err != nil {
		return err
	} else if !same {
		return nil // the next step loads
	}
	groups, err := p.read(ctx) // here too: under steady writes look has no turn
	if err != nil {
		return err
	}
	if !slices.Equal(groups, p.groups) && p.missing(groups, tail.Rev()) {
		p.tail.Store(nil)
		return nil
	}
	p.tailOrigin = origin
	return p.hand(snaps, last, groups)
}

// changes makes the snapshot of every revision after base up to rev, and returns the last.
// A revision is made once all its changes were read.
func (p *Publisher) changes(ctx context.Context, base *snapshot.Snapshot, rev uint64, made func(*snapshot.Snapshot) error) (*snapshot.Snapshot, error) {
	tail, at := base, base.Rev()
	var open []snapshot.Change
	finish := func(to uint64) error {
		if to == tail.Rev() {
			return nil
		}
		tail = tail.Apply(to, open)
		open = nil
		return made(tail)
	}
	if base.Rev() >= rev {
		return base, nil
	}
	for c, err := range p.Store.Changes(ctx, base.Rev(), rev) {
		if err != nil {
			return nil, fmt.Errorf("read changes after revision %d: %w", at, err)
		}
		if c.Rev < at || c.Rev <= base.Rev() || c.Rev > rev {
			return nil, fmt.Errorf("read changes after revision %d: revision %d is out of order", at, c.Rev)
		}
		if c.Rev > at {
			if err := finish(at); err != nil {
				return nil, err
			}
			at = c.Rev
		}
		open = append(open, snapshot.Change{Rev: c.Rev, Kind: c.Kind, ID: c.ID, Before: c.Before, After: c.After})
	}
	if err := finish(at); err != nil {
		return nil, err
	}
	return tail, finish(rev) // the last revisions may have changed nothing
}
