package config

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/model/document"
	"github.com/sekifuda/sekifuda/model/fault"
	"github.com/sekifuda/sekifuda/model/schema"
)

// Replaced is what a document left: all there is.
type Replaced struct {
	Revision store.Revision // head, when nothing changed
	Changed  bool
	Entities []*Entity // by kind and id
}

// everything is all entities at one revision. It lends them to a document's plan.
type everything struct {
	rev    uint64
	byKind map[string][]*Entity
}

// Entities implements document.Existing.
func (a *everything) Entities(kind string) ([]proto.Message, error) {
	list := make([]proto.Message, len(a.byKind[kind]))
	for i, e := range a.byKind[kind] {
		list[i] = e.Message
	}
	return list, nil
}

// Everything returns all entities of the head revision, by kind and id.
func (c *Config) Everything(ctx context.Context) ([]*Entity, error) {
	a, err := c.everything(ctx)
	if err != nil {
		return nil, err
	}
	var all []*Entity
	for _, t := range c.schema.Tables() {
		all = append(all, a.byKind[t.Kind]...)
	}
	return all, nil
}

func (c *Config) everything(ctx context.Context) (*everything, error) {
	rev, objects, err := c.store.Load(ctx, 0)
	if err != nil {
		return nil, c.fault(nil, nil, err)
	}
	a := &everything{rev: rev, byKind: map[string][]*Entity{}}
	for o, err := range objects {
		if err != nil {
			return nil, c.fault(nil, nil, err)
		}
		t := c.schema.Table(o.Kind)
		if t == nil {
			return nil, fmt.Errorf("load %s %s: no such kind", o.Kind, o.ID)
		}
		e, err := c.entity(t, &o)
		if err != nil {
			return nil, err
		}
		if !t.Expired(e.Message, c.now()) {
			a.byKind[o.Kind] = append(a.byKind[o.Kind], e)
		}
	}
	return a, nil
}

// Replace makes a document all there is: one revision, or none when it is so already. Entities
// that do not change are not written. With dryRun everything is checked and nothing written.
// What is wrong with the document is a *document.Refused.
func (c *Config) Replace(ctx context.Context, d *document.Document, dryRun bool, by Origin) (*Replaced, error) {
	for try := 1; ; try++ {
		have, err := c.everything(ctx)
		if err != nil {
			return nil, err
		}
		changes, err := d.PlanWhole(have, c.now())
		if err != nil {
			return nil, err
		}
		res, ops, err := c.replacement(have, changes)
		if err != nil {
			return nil, err
		}
		commit := store.Commit{
			Ops: ops, Actor: by.Actor, Client: by.Client, Message: by.Message, RequestID: by.RequestID,
			IfHead: &have.rev, DryRun: dryRun,
		}
		res.Changed = len(ops) > 0
		res.Revision, err = c.store.Commit(ctx, commit)
		if err == nil {
			return res, nil
		}
		var conflict *store.ConflictError
		if try < maxTries && errors.As(err, &conflict) {
			continue
		}
		return nil, c.fault(nil, nil, err)
	}
}

// replacement finds what is written and what goes. References are judged by the store, on the
// state after all of it.
func (c *Config) replacement(have *everything, changes []document.Change) (*Replaced, []store.Op, error) {
	res, kept := &Replaced{}, map[store.Key]bool{}
	var ops []store.Op
	for i := range changes {
		ch := &changes[i]
		kept[store.Key{Index: ch.Table.Kind, Value: ch.ID}] = true
		e := &Entity{Table: ch.Table, ID: ch.ID, Message: ch.After}
		res.Entities = append(res.Entities, e)
		if ch.Same(c.now()) {
			e.Message = ch.Before
			continue
		}
		if err := c.checker.Check(ch.Table.Kind, ch.After); err != nil {
			return nil, nil, inDocument(ch, err)
		}
		op, err := putOp(ch.Table, ch.ID, ch.After)
		if err != nil {
			return nil, nil, err
		}
		ops = append(ops, op)
	}
	for _, t := range c.schema.Tables() {
		for _, e := range have.byKind[t.Kind] {
			if !kept[store.Key{Index: t.Kind, Value: e.ID}] {
				ops = append(ops, store.Op{Object: store.Object{Kind: t.Kind, ID: e.ID}})
			}
		}
	}
	for i := range changes {
		p := &plan{}
		p.needs(changes[i].After)
		for _, id := range p.authorities {
			if !kept[store.Key{Index: "ca_certificates", Value: id}] {
				return nil, nil, changes[i].Refuse(schema.Violation(fault.Tree{
					"ca_certificates": fmt.Sprintf("invalid reference 'ca_certificates: %s' (no such entry in 'ca_certificates')", id),
				}))
			}
		}
	}
	slices.SortFunc(res.Entities, func(a, b *Entity) int {
		return cmp.Or(cmp.Compare(a.Table.Kind, b.Table.Kind), cmp.Compare(a.ID, b.ID))
	})
	return res, ops, nil
}

// inDocument tells where in a document a gate would stumble.
func inDocument(ch *document.Change, err error) error {
	var f *fault.Error
	if !errors.As(err, &f) {
		return err
	}
	return ch.Refuse(f)
}
