package fleet

import (
	"cmp"
	"context"
	"slices"
)

// Watch follows the fleet. It holds at most one mark per node, however slowly it is read: a
// node that changed twice is seen once, as it is.
type Watch struct {
	fleet *Fleet
	dirty map[string]struct{}
	ready chan struct{} // holds one token while dirty is not empty
}

// Watch returns a watch that begins with every node. Close it.
func (f *Fleet) Watch() *Watch {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := &Watch{fleet: f, dirty: make(map[string]struct{}), ready: make(chan struct{}, 1)}
	for id := range f.nodes {
		w.note(id)
	}
	f.watches[w] = struct{}{}
	return w
}

// Close ends the watch.
func (w *Watch) Close() {
	w.fleet.mu.Lock()
	defer w.fleet.mu.Unlock()
	delete(w.fleet.watches, w)
}

// Next waits for nodes that changed since it last returned, and returns them ascending by
// id. Forgotten nodes are not mentioned.
func (w *Watch) Next(ctx context.Context) ([]Node, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-w.ready:
		}
		if all := w.take(); len(all) > 0 {
			return all, nil
		}
	}
}

func (w *Watch) take() []Node {
	w.fleet.mu.Lock()
	defer w.fleet.mu.Unlock()
	all := make([]Node, 0, len(w.dirty))
	for id := range w.dirty {
		if m := w.fleet.nodes[id]; m != nil {
			all = append(all, m.Node)
		}
	}
	clear(w.dirty)
	slices.SortFunc(all, func(a, b Node) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// note is called with the fleet's lock held.
func (w *Watch) note(id string) {
	w.dirty[id] = struct{}{}
	select {
	case w.ready <- struct{}{}:
	default:
	}
}
