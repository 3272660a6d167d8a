package fleet

import (
	"context"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// Blocking has every stream of reports begin with what current returns, and say it again after
// each Tell; nil is not said. current must not wait. It is called before anything is served.
func (f *Fleet) Blocking(current func() *feedv1.Blocks) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.blocks = current
}

// Tell has every node told what is blocked now.
func (f *Fleet) Tell() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for r := range f.reporters {
		r.tell()
	}
}

func (r *reporter) tell() {
	select {
	case r.blocks <- struct{}{}:
	default: // it is about to
	}
}

func (f *Fleet) current() *feedv1.Blocks {
	f.mu.Lock()
	current := f.blocks
	f.mu.Unlock()
	if current == nil {
		return nil
	}
	return current()
}

// blocked notes what a node enforces. It may be known by its stream of reports before it is by
// that of its configuration.
func (f *Fleet) blocked(id string, digest uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.blocking[id]; !known && len(f.blocking) >= maxNodes {
		return
	}
	before := f.stands(f.nodes[id])
	f.blocking[id] = digest
	f.stood(before, f.stands(f.nodes[id]))
	for w := range f.watches {
		w.note(id)
	}
}

// CountBlocking tells how many connected nodes of all replicas enforce exactly the blocks of a
// digest, and how many are connected.
func (f *Fleet) CountBlocking(digest uint64) (enforcing, connected int) {
	for s, n := range f.Standings() {
		connected += n
		if s.Blocking && s.Blocks == digest {
			enforcing += n
		}
	}
	return enforcing, connected
}

// WaitBlocking waits until all connected nodes of all replicas enforce the blocks of a digest, or
// ctx ends, and counts then.
func (f *Fleet) WaitBlocking(ctx context.Context, digest uint64) (enforcing, connected int) {
	return f.wait(ctx, 1, func(s Standing, _ string) count {
		if s.Blocking && s.Blocks == digest {
			return count{1, 1, 0}
		}
		return count{1, 0, 0}
	})
}
