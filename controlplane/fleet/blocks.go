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
	f.blocking[id] = digest
	for w := range f.watches {
		w.note(id)
	}
}

// CountBlocking tells how many connected nodes enforce exactly the blocks of a digest, and how
// many are connected.
func (f *Fleet) CountBlocking(digest uint64) (enforcing, connected int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, m := range f.nodes {
		if !m.Connected {
			continue
		}
		connected++
		if have, known := f.blocking[id]; known && have == digest {
			enforcing++
		}
	}
	return enforcing, connected
}

// WaitBlocking waits until all connected nodes enforce the blocks of a digest, or ctx ends, and
// counts then.
func (f *Fleet) WaitBlocking(ctx context.Context, digest uint64) (enforcing, connected int) {
	w := f.Watch()
	defer w.Close()
	for {
		enforcing, connected = f.CountBlocking(digest)
		if enforcing == connected {
			return enforcing, connected
		}
		if _, err := w.Next(ctx); err != nil {
			return enforcing, connected
		}
	}
}
