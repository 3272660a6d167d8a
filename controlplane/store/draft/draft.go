// Package draft is a store in which writes wait: whoever reads through a draft sees the store
// below as it is, with the writes of the draft made, and nobody else sees them. In the end
// they are one commit, or nothing.
//
// It keeps only what was written, so that it costs its writes and not the configuration. It
// holds every write to the rules of stores when it is made, and tells the store below which
// revision of each object it began from: what changed there meanwhile is a conflict when the
// draft is published, never lost. Enter at New.
package draft

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/plan"
)

// maxObjects bounds what one draft touches: a commit of more would hold up a fleet.
const maxObjects = 100_000

// firstRev is above all revisions of a store below: a draft counts its own writes from there.
const firstRev = 1 << 62

// Draft is a store whose commits wait. What it does not say itself, such as history, is the
// store's below. It is safe for concurrent use.
type Draft struct {
	store.Store // below

	mu        sync.Mutex
	objects   map[object]*entry
	holders   map[holding]map[string]bool  // ids of objects of the draft that hold a key
	referrers map[object]map[referral]bool // of objects of the draft
	rev       uint64
	bytes     int
}

type object struct{ kind, id string }

type holding struct {
	kind string
	key  store.Key
}

type referral struct {
	from  object
	field string
}

// entry is what the draft makes of an object.
type entry struct {
	op   store.Op // without a body: it goes
	base uint64   // revision below when the draft first touched it; 0: it was not there
	rev  uint64
	size int
}

// New returns a draft over base that changes nothing yet.
func New(base store.Store) *Draft {
	return &Draft{
		Store: base, objects: map[object]*entry{}, holders: map[holding]map[string]bool{},
		referrers: map[object]map[referral]bool{}, rev: firstRev,
	}
}

// Ops are the draft as one commit; each op tells the revision that the draft knew.
func (d *Draft) Ops() []store.Op {
	d.mu.Lock()
	defer d.mu.Unlock()
	ops := make([]store.Op, 0, len(d.objects))
	for _, e := range sortedEntries(d.objects) {
		if e.op.Delete() && e.base == 0 {
			continue
		}
		op := e.op
		base := e.base
		op.IfMatch = &base
		ops = append(ops, op)
	}
	return ops
}

// Len is how many objects the draft has touched.
func (d *Draft) Len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.objects)
}

// Commit implements store.Store: the ops become part of the draft, all or none. The revision
// that it returns has no number yet.
func (d *Draft) Commit(ctx context.Context, c store.Commit) (store.Revision, error) {
	if _, err := plan.Check(&c); err != nil {
		return store.Revision{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.IfHead != nil && *c.IfHead != d.rev {
		return store.Revision{}, &store.ConflictError{Want: *c.IfHead, Have: d.rev}
	}
	undo, err := d.apply(ctx, c.Ops)
	if err == nil {
		err = d.check(ctx, c.Ops)
	}
	if err != nil || c.DryRun {
		for i := len(undo) - 1; i >= 0; i-- {
			d.set(undo[i].of, undo[i].was)
		}
		return store.Revision{}, err
	}
	d.rev++
	return store.Revision{Actor: c.Actor, Client: c.Client, Message: c.Message, Changes: len(c.Ops)}, nil
}

// step is how to take back what was done to an object.
type step struct {
	of  object
	was *entry
}

func (d *Draft) apply(ctx context.Context, ops []store.Op) (undo []step, err error) {
	for i := range ops {
		op := ops[i]
		o := object{op.Kind, op.ID}
		was := d.objects[o]
		e := &entry{op: op, rev: d.rev + 1, size: len(op.Body)}
		have := uint64(0)
		if was != nil {
			if e.base = was.base; !was.op.Delete() {
				have = was.rev
			}
		} else if e.base, err = d.below(ctx, o); err != nil {
			return undo, err
		} else {
			have = e.base
		}
		if op.IfMatch != nil && *op.IfMatch != have {
			return undo, &store.ConflictError{Kind: op.Kind, ID: op.ID, Want: *op.IfMatch, Have: have}
		}
		if have == 0 && op.Delete() {
			continue
		}
		e.op.IfMatch = nil
		undo = append(undo, step{o, was})
		d.set(o, e)
	}
	if len(d.objects) > maxObjects {
		return undo, fmt.Errorf("a draft of more than %d objects: %w", maxObjects, &store.TooLargeError{Size: len(d.objects), Limit: maxObjects})
	}
	if d.bytes > store.MaxCommitBytes {
		return undo, &store.TooLargeError{Size: d.bytes, Limit: store.MaxCommitBytes}
	}
	return undo, nil
}

// below is an object's revision in the store below; 0: it is not there.
func (d *Draft) below(ctx context.Context, o object) (uint64, error) {
	have, err := d.Store.Get(ctx, o.kind, o.id)
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return have.Rev, nil
}

// set makes e what the draft says of an object; nil: nothing.
func (d *Draft) set(o object, e *entry) {
	if was := d.objects[o]; was != nil {
		d.index(o, was, false)
	}
	if e == nil {
		delete(d.objects, o)
		return
	}
	d.objects[o] = e
	d.index(o, e, true)
}

func (d *Draft) index(o object, e *entry, add bool) {
	if e.op.Delete() {
		return
	}
	if add {
		d.bytes += e.size
	} else {
		d.bytes -= e.size
	}
	for _, k := range e.op.Keys {
		mark(d.holders, holding{o.kind, k}, o.id, add)
	}
	for _, r := range e.op.Refs {
		mark(d.referrers, object{r.Kind, r.ID}, referral{o, r.Field}, add)
	}
}

// mark adds a member to a set of sets, or takes it out.
func mark[K, V comparable](sets map[K]map[V]bool, of K, v V, add bool) {
	switch set := sets[of]; {
	case !add:
		if delete(set, v); len(set) == 0 {
			delete(sets, of)
		}
	case set == nil:
		sets[of] = map[V]bool{v: true}
	default:
		set[v] = true
	}
}

// check holds what the ops left to the rules that concern other objects.
func (d *Draft) check(ctx context.Context, ops []store.Op) error {
	for i := range ops {
		o := object{ops[i].Kind, ops[i].ID}
		e := d.objects[o]
		if e == nil { // it deletes what is not there
			continue
		}
		if e.op.Delete() {
			if err := d.checkUnreferred(ctx, o); err != nil {
				return err
			}
			continue
		}
		if err := d.checkKeys(ctx, o, e); err != nil {
			return err
		}
		if err := d.checkRefs(ctx, o, e); err != nil {
			return err
		}
	}
	return nil
}

func (d *Draft) checkKeys(ctx context.Context, o object, e *entry) error {
	for _, k := range e.op.Keys {
		for id := range d.holders[holding{o.kind, k}] {
			if id != o.id {
				return &store.UniqueError{Kind: o.kind, ID: o.id, Key: k, Holder: id}
			}
		}
		have, err := d.Store.Find(ctx, o.kind, k)
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return err
		case d.objects[object{o.kind, have.ID}] == nil:
			return &store.UniqueError{Kind: o.kind, ID: o.id, Key: k, Holder: have.ID}
		}
	}
	return nil
}

func (d *Draft) checkRefs(ctx context.Context, o object, e *entry) error {
	for _, r := range e.op.Refs {
		_, err := d.get(ctx, object{r.Kind, r.ID})
		if errors.Is(err, store.ErrNotFound) {
			return &store.ReferenceError{Kind: o.kind, ID: o.id, Ref: r}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *Draft) checkUnreferred(ctx context.Context, o object) error {
	list, err := d.referring(ctx, o, 1)
	if err != nil || len(list) == 0 {
		return err
	}
	by := list[0]
	return &store.ReferencedError{Kind: o.kind, ID: o.id, ByKind: by.Kind, ByID: by.ID, Field: by.Field}
}
