package fleet

import (
	"context"
	"math"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// waiter counts the nodes that matter to one WaitEnforced. The counts follow each node's
// changes, so that an ACK costs the waiters and not the fleet.
type waiter struct {
	epoch    string
	rev      uint64
	fraction float64
	count    count
	done     chan struct{} // closed when there is no more to wait for
	closed   bool
}

type count struct{ connected, enforcing, refused int }

// WaitEnforced waits until the fraction (0 to 1) of the connected nodes enforces revision
// rev, or as many as ever will because the others refused it, or ctx ends; and tells how
// many enforce it then, and how many are connected. A node of a group that does not follow
// head enforces it when its live track does. Without nodes it does not wait.
func (f *Fleet) WaitEnforced(ctx context.Context, rev uint64, fraction float64) (enforcing, connected int) {
	w := &waiter{rev: rev, fraction: min(max(fraction, 0), 1), done: make(chan struct{})}
	f.mu.Lock()
	w.recount(f)
	f.waiters[w] = struct{}{}
	f.mu.Unlock()

	select {
	case <-w.done:
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.waiters, w)
	return w.count.enforcing, w.count.connected
}

// recount counts the whole fleet anew.
func (w *waiter) recount(f *Fleet) {
	w.epoch, w.count = f.epoch, count{}
	for _, m := range f.nodes {
		w.add(m, 1)
	}
	w.settle()
}

func (w *waiter) change(before, after *member) {
	w.add(before, -1)
	w.add(after, 1)
	w.settle()
}

func (w *waiter) add(m *member, n int) {
	if !m.Connected {
		return
	}
	w.count.connected += n
	switch {
	case m.enforces(w.epoch, w.rev):
		w.count.enforcing += n
	case m.refuses(w.epoch, w.rev):
		w.count.refused += n
	}
}

func (m *member) enforces(epoch string, rev uint64) bool {
	return ours(epoch, m.Running) && m.Running.Live >= rev && (m.Running.Staged >= rev || m.held)
}

// refuses reports whether the node turned rev, or something after it, down.
func (m *member) refuses(epoch string, rev uint64) bool {
	at, err := feedv1.PosOf(m.Refusal.GetRefused())
	return err == nil && ours(epoch, at) && max(at.Staged, at.Live) >= rev
}

func ours(epoch string, p feedv1.Pos) bool { return epoch == "" || p.Epoch == epoch }

func (w *waiter) settle() {
	need := int(math.Ceil(w.fraction * float64(w.count.connected)))
	enough := w.count.enforcing >= need
	if !w.closed && (enough || w.count.enforcing+w.count.refused == w.count.connected) {
		w.closed = true
		close(w.done)
	}
}
