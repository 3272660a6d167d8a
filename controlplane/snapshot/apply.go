package snapshot

import (
	"slices"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// sharing is about what one changed entry costs besides its body: the path to it.
const sharing = 1024

// writer makes one snapshot. What it has copied once it changes in place until it is done.
type writer struct {
	snap   *Snapshot
	edit   *edit
	copied bool // whether snap.sets is the writer's own
}

func (w *writer) change(c *Change) {
	kind, body, shown := w.project(c.Kind, c.After)
	if !shown {
		// What nodes no longer see may be something they saw.
		if kind, _, shown = w.project(c.Kind, c.Before); !shown {
			return
		}
		w.remove(kind, c.ID)
		return
	}
	w.put(&Entry{Kind: kind, ID: c.ID, Rev: c.Rev, Body: body})
}

func (w *writer) project(kind string, body []byte) (string, []byte, bool) {
	if body == nil {
		return "", nil, false
	}
	if w.snap.rules.Project == nil {
		return kind, body, true
	}
	return w.snap.rules.Project(kind, body)
}

func (w *writer) put(e *Entry) {
	st := w.own(e.Kind)
	root, old := insert(st.root, e, hash(e.ID), 0, w.edit)
	st.root = root
	w.account(st, old, e)
}

func (w *writer) remove(kind, id string) {
	if w.snap.Find(kind, id) == nil {
		return
	}
	st := w.own(kind)
	root, old := remove(st.root, id, hash(id), 0, w.edit)
	st.root = root
	w.account(st, old, nil)
}

// account keeps hashes and counters in step with one entry's replacement.
func (w *writer) account(st *set, old, new *Entry) {
	var delta feedv1.SetHash
	if old != nil {
		delta = delta.Minus(old.leaf())
		w.snap.len--
	}
	if new != nil {
		delta = delta.Plus(new.leaf())
		w.snap.len++
		w.snap.added += len(new.Body)
	}
	w.snap.added += sharing
	st.hash = st.hash.Plus(delta)
	if st.live {
		w.snap.live = w.snap.live.Plus(delta)
	} else {
		w.snap.staged = w.snap.staged.Plus(delta)
	}
}

// own returns the kind's set, copied from the snapshot before unless that is done.
func (w *writer) own(kind string) *set {
	if !w.copied {
		w.snap.sets, w.copied = slices.Clone(w.snap.sets), true
	}
	i, ok := w.snap.place(kind)
	if !ok {
		live := w.snap.rules.Live != nil && w.snap.rules.Live(kind)
		w.snap.sets = slices.Insert(w.snap.sets, i, &set{kind: kind, live: live, edit: w.edit})
		return w.snap.sets[i]
	}
	if st := w.snap.sets[i]; st.edit != w.edit {
		own := *st
		own.edit = w.edit
		w.snap.sets[i] = &own
	}
	return w.snap.sets[i]
}
