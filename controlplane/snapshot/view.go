package snapshot

import (
	"iter"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// View is what one node sees: the staged kinds at one revision and the live kinds at
// another of the same history. Both must be set.
type View struct {
	Staged *Snapshot
	Live   *Snapshot
}

// Hash is the set hash of the view.
func (v View) Hash() feedv1.SetHash { return v.Staged.staged.Plus(v.Live.live) }

// Pos is the view's position under an assignment generation.
func (v View) Pos(generation uint64) feedv1.Pos {
	return feedv1.Pos{
		Epoch: v.Staged.epoch, Generation: generation,
		Staged: v.Staged.rev, Live: v.Live.rev, Hash: v.Hash(),
	}
}

// All yields every entry of the view: staged kinds, then live ones, ids in no order.
func (v View) All() iter.Seq[*Entry] {
	return func(yield func(*Entry) bool) {
		for _, st := range v.sets() {
			if !walk(st.root, yield) {
				return
			}
		}
	}
}

func (v View) sets() []*set {
	all := make([]*set, 0, len(v.Staged.sets)+len(v.Live.sets))
	for _, st := range v.Staged.sets {
		if !st.live {
			all = append(all, st)
		}
	}
	for _, st := range v.Live.sets {
		if st.live {
			all = append(all, st)
		}
	}
	return all
}

// Diff yields what turns one view into another, each entry once, before and after; nil where
// it does not exist. It costs the difference, in either direction, when both come of the
// same chain of Apply; of two chains it is right, and costs both views.
func Diff(from, to View) iter.Seq2[*Entry, *Entry] {
	return func(yield func(before, after *Entry) bool) {
		roots := make(map[string][2]*node)
		for _, st := range from.sets() {
			roots[st.kind] = [2]*node{st.root, nil}
		}
		for _, st := range to.sets() {
			roots[st.kind] = [2]*node{roots[st.kind][0], st.root}
		}
		for _, pair := range roots {
			if !diff(pair[0], pair[1], 0, yield) {
				return
			}
		}
	}
}
