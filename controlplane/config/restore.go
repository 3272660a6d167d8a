package config

import (
	"bytes"
	"context"
	"iter"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

// Load yields all entities as of a revision (0: head) and tells which it is.
func (c *Config) Load(ctx context.Context, at uint64) (uint64, iter.Seq2[*Entity, error], error) {
	rev, objects, err := c.store.Load(ctx, at)
	if err != nil {
		return 0, nil, c.fault(nil, nil, err)
	}
	return rev, func(yield func(*Entity, error) bool) {
		for o, err := range objects {
			if err != nil {
				yield(nil, c.fault(nil, nil, err))
				return
			}
			if !yield(c.Decode(o.Kind, o.ID, o.Rev, o.Body)) {
				return
			}
		}
	}, nil
}

// Restored is what a restore came to.
type Restored struct {
	Revision               store.Revision // the last one written; head when nothing had to be
	Written, Deleted, Same int
}

// restoreBytes bounds one revision of a restore, below what a commit may hold.
const restoreBytes = store.MaxCommitBytes * 3 / 4

// Restore makes configuration be the entities given: those that differ are written as they are,
// those that are not among them go. It is one revision as long as the store takes it in one;
// otherwise what is written comes in the order of references, and then what goes.
func (c *Config) Restore(ctx context.Context, entities []*Entity, dryRun bool, by Origin) (Restored, error) {
	var r Restored
	head, err := c.store.Head(ctx)
	if err != nil {
		return r, c.fault(nil, nil, err)
	}
	r.Revision.Rev = head.Rev
	puts, deletes, err := c.restoration(ctx, head.Rev, entities, &r)
	if err != nil {
		return r, err
	}
	batches := split(puts, deletes)
	if dryRun && len(batches) > 1 {
		return r, nil // each would be judged without those before it
	}
	at := head.Rev
	for _, ops := range batches {
		rev, err := c.store.Commit(ctx, store.Commit{
			Ops: ops, IfHead: &at, DryRun: dryRun, Actor: by.Actor, Client: by.Client, Message: by.Message,
		})
		if err != nil {
			return r, c.fault(nil, nil, err)
		}
		r.Revision, at = rev, rev.Rev
	}
	return r, nil
}

// restoration finds what is to be written, by kinds in the order of references, and what goes.
func (c *Config) restoration(ctx context.Context, at uint64, entities []*Entity, r *Restored) (puts, deletes []store.Op, err error) {
	have := map[store.Key][]byte{} // body by kind and id
	if at > 0 {
		_, objects, err := c.store.Load(ctx, at)
		if err != nil {
			return nil, nil, c.fault(nil, nil, err)
		}
		for o, err := range objects {
			if err != nil {
				return nil, nil, c.fault(nil, nil, err)
			}
			have[store.Key{Index: o.Kind, Value: o.ID}] = o.Body
		}
	}
	byKind := map[string][]store.Op{}
	for i, e := range entities {
		if err := c.checker.Check(e.Table.Kind, e.Message); err != nil {
			return nil, nil, inOp(i, err)
		}
		op, err := putOp(e.Table, e.ID, e.Message)
		if err != nil {
			return nil, nil, err
		}
		key := store.Key{Index: e.Table.Kind, Value: e.ID}
		body, there := have[key]
		delete(have, key)
		if there && bytes.Equal(body, op.Body) {
			r.Same++
			continue
		}
		r.Written++
		byKind[e.Table.Kind] = append(byKind[e.Table.Kind], op)
	}
	tables := c.schema.Tables()
	for _, t := range tables {
		puts = append(puts, byKind[t.Kind]...)
	}
	for i := len(tables) - 1; i >= 0; i-- {
		for key := range have {
			if key.Index == tables[i].Kind {
				deletes = append(deletes, store.Op{Object: store.Object{Kind: key.Index, ID: key.Value}})
			}
		}
	}
	r.Deleted = len(deletes)
	return puts, deletes, nil
}

// split makes one batch of everything, or several when that is too much for one.
func split(puts, deletes []store.Op) (batches [][]store.Op) {
	var batch []store.Op
	size := 0
	for _, op := range append(puts, deletes...) {
		n := len(op.Body) + 256
		for _, k := range op.Keys {
			n += len(k.Value) + 64
		}
		if size+n > restoreBytes && len(batch) > 0 {
			batches, batch, size = append(batches, batch), nil, 0
		}
		batch, size = append(batch, op), size+n
	}
	if len(batch) > 0 {
		batches = append(batches, batch)
	}
	return batches
}
