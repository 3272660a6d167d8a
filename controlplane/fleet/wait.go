package fleet

import (
	"context"
	"math"
)

// waiter counts the nodes that matter to somebody who waits. The counts follow each node's
// changes, so that an ACK costs the waiters and not the fleet.
type waiter struct {
	judge     func(s Standing, epoch string) count // of one node
	epoch     string
	fraction  float64
	near, far count // of this replica's nodes, and of the others'
	done      chan struct{}
	closed    bool
}

type count struct{ connected, enforcing, refused int }

func (c *count) add(more count, n int) {
	c.connected += n * more.connected
	c.enforcing += n * more.enforcing
	c.refused += n * more.refused
}

// WaitEnforced waits until the fraction (0 to 1) of the connected nodes of all replicas enforces
// revision rev, or as many as ever will because the others refused it, or ctx ends; and tells how
// many enforce it then, and how many are connected. A node of a group that does not follow head
// enforces it when its live track does. Without nodes it does not wait, nor for those of
// replicas that do not answer (see Unheard).
func (f *Fleet) WaitEnforced(ctx context.Context, rev uint64, fraction float64) (enforcing, connected int) {
	return f.wait(ctx, fraction, func(s Standing, epoch string) count {
		switch {
		case ours(epoch, s.Epoch) && s.Enforced >= rev:
			return count{1, 1, 0}
		case ours(epoch, s.RefusedEpoch) && s.Refused >= rev: // it, or something after it
			return count{1, 0, 1}
		}
		return count{1, 0, 0}
	})
}

// WaitAssigned waits until every connected node of the groups, each given with a generation,
// runs what that assignment or a later one gives it, or ctx ends; and tells how many do then,
// and how many are connected, at all replicas.
func (f *Fleet) WaitAssigned(ctx context.Context, groups map[string]uint64) (current, connected int) {
	return f.wait(ctx, 1, func(s Standing, epoch string) count {
		generation, ok := groups[s.Group]
		switch {
		case !ok:
			return count{}
		case ours(epoch, s.Epoch) && s.Generation >= generation:
			return count{1, 1, 0}
		}
		return count{1, 0, 0}
	})
}

func (f *Fleet) wait(ctx context.Context, fraction float64, judge func(Standing, string) count) (enforcing, connected int) {
	w := &waiter{judge: judge, fraction: min(max(fraction, 0), 1), done: make(chan struct{})}
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
	all := w.all()
	return all.enforcing, all.connected
}

// recount counts everything anew.
func (w *waiter) recount(f *Fleet) {
	w.epoch, w.near = f.epoch, count{}
	for s, n := range f.near {
		w.near.add(w.judge(s, w.epoch), n)
	}
	w.recountFar(f)
	w.settle()
}

// recountFar counts anew what other replicas told.
func (w *waiter) recountFar(f *Fleet) {
	w.far = count{}
	for _, r := range f.far {
		for s, n := range r.nodes {
			w.far.add(w.judge(s, w.epoch), n)
		}
	}
}

// of judges one node; nil is none.
func (w *waiter) of(s *Standing) count {
	if s == nil {
		return count{}
	}
	return w.judge(*s, w.epoch)
}

func (w *waiter) all() count {
	all := w.near
	all.add(w.far, 1)
	return all
}

func ours(epoch, of string) bool { return epoch == "" || of == epoch }

func (w *waiter) settle() {
	all := w.all()
	need := int(math.Ceil(w.fraction * float64(all.connected)))
	if !w.closed && (all.enforcing >= need || all.enforcing+all.refused == all.connected) {
		w.closed = true
		close(w.done)
	}
}
