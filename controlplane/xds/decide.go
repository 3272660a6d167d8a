package xds

import (
	"github.com/sekifuda/sekifuda/controlplane/snapshot"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// verb is what to do about a waiting node.
type verb int

const (
	wait   verb = iota // it is where it must be, or nothing else can be offered to it
	park               // it is ahead of what this replica knows: wait a little, then send it away
	send               // move it
	encode             // move it, once a view is encoded whole
)

type decision struct {
	verb verb
	move *move         // to send
	view snapshot.View // to build
}

// decide tells what leads w's node to its target. It runs under the lock.
func (c *Cache) decide(w *watch) decision {
	head := c.history.head()
	if head == nil || c.plan == nil {
		return decision{verb: wait}
	}
	target := c.plan(w.req.GetNode().GetCluster(), w.req.GetNode().GetId())
	here := w.from.Epoch == head.Epoch()
	if here && ahead(w.from, head.Rev(), target) {
		return decision{verb: park}
	}
	view, ok := c.history.view(target.Staged, target.Live)
	if !ok {
		// Above head: this replica's tail will get there. Below the history: the plan did
		// not ask to keep it. Either way the node goes on with what it has.
		return decision{verb: wait}
	}
	to := view.Pos(target.Generation)
	if to == w.from && !w.whole || c.refusals.has(w.req.GetNode(), to) {
		return decision{verb: wait}
	}
	if here && !w.whole {
		from, ok := c.history.view(w.from.Staged, w.from.Live)
		// The same revision with another hash is another history's: its commit was lost.
		if ok && from.Hash() == w.from.Hash {
			return decision{verb: send, move: c.moves.diff(from, view, target.Generation)}
		}
	}
	if mv, ok := c.moves.whole(view, target.Generation); ok {
		return decision{verb: send, move: mv}
	}
	return decision{verb: encode, view: view}
}

// ahead reports whether a node of this history stands beyond what this replica may give it:
// only a higher generation moves a node to a lower revision, so that a replica whose tail or
// plan lags cannot roll nodes back.
func ahead(from feedv1.Pos, head uint64, to Target) bool {
	if from.Staged > head || from.Live > head || from.Generation > to.Generation {
		return true
	}
	return from.Generation == to.Generation && (from.Staged > to.Staged || from.Live > to.Live)
}
