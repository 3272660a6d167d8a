package config

import (
	"context"
	"fmt"
	"iter"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/model/fault"
	"github.com/sekifuda/sekifuda/model/schema"
)

// Op is one operation of a batch: Put when it is set, else Delete.
type Op struct {
	// Put is an entity, typed. Without an id it is found by its endpoint key, or is new.
	Put proto.Message
	// Delete names an entity by table and id or endpoint key.
	Delete      *schema.Table
	DeleteIDKey string
	// Stored says that Put came from a store: a password is in the form that is kept.
	Stored bool
	// IfMatch is the revision the entity must have; 0: it must not exist.
	IfMatch *uint64
}

// Batch is what a commit of several operations may ask.
type Batch struct {
	Ops    []Op
	DryRun bool    // check everything, write nothing
	IfHead *uint64 // the revision head must be
}

// Commit writes all operations as one revision, or none. It returns the entities as they
// are afterwards, in the order of the operations.
func (c *Config) Commit(ctx context.Context, b Batch, by Origin) (store.Revision, []*Entity, error) {
	for try := 1; ; try++ {
		p := &plan{removed: map[store.Key]bool{}}
		entities, err := c.build(ctx, p, b.Ops)
		if err == nil {
			err = c.checkAuthorities(ctx, p)
		}
		if err != nil {
			return store.Revision{}, nil, err
		}
		rev, err := c.store.Commit(ctx, store.Commit{
			Ops: p.ops, Actor: by.Actor, Client: by.Client, Message: by.Message,
			RequestID: by.RequestID, IfHead: b.IfHead, DryRun: b.DryRun,
		})
		if err == nil {
			for _, e := range entities {
				e.Rev = rev.Rev
			}
			return rev, entities, nil
		}
		if try < maxTries && ctx.Err() == nil && retryable(err, try, p, nil) && !asked(b.Ops) {
			pause(ctx, try)
			continue
		}
		return store.Revision{}, nil, c.fault(nil, nil, err)
	}
}

// asked reports whether the caller named revisions: then a conflict is the caller's answer.
func asked(ops []Op) bool {
	for _, op := range ops {
		if op.IfMatch != nil {
			return true
		}
	}
	return false
}

func (c *Config) build(ctx context.Context, p *plan, ops []Op) ([]*Entity, error) {
	entities := make([]*Entity, 0, len(ops))
	for i, op := range ops {
		e, err := c.buildOne(ctx, p, op)
		if err != nil {
			return nil, inOp(i, err)
		}
		entities = append(entities, e)
	}
	return entities, nil
}

// inOp tells which operation of a batch a fault is about.
func inOp(i int, err error) error {
	f, ok := err.(*fault.Error)
	if !ok {
		return fmt.Errorf("operation %d: %w", i+1, err)
	}
	named := *f
	named.Message = fmt.Sprintf("operation %d: %s", i+1, f.Message)
	return &named
}

func (c *Config) buildOne(ctx context.Context, p *plan, op Op) (*Entity, error) {
	if op.Put == nil {
		e, err := c.Get(ctx, op.Delete, op.DeleteIDKey, nil)
		if err != nil {
			return nil, err
		}
		return e, c.removeMatching(ctx, p, e, op.IfMatch)
	}
	t := c.schema.TableOf(op.Put)
	if t == nil {
		return nil, &fault.Error{Kind: fault.SchemaViolation, Message: fmt.Sprintf("%s is not an entity", op.Put.ProtoReflect().Descriptor().FullName())}
	}
	m := proto.Clone(op.Put)
	if t.ID(m) == "" {
		if err := c.adoptID(ctx, t, m); err != nil {
			return nil, err
		}
	}
	complete := t.Complete
	if op.Stored {
		complete = t.CompleteStored
	}
	m, err := complete(m, c.now())
	if err != nil {
		return nil, err
	}
	return c.write(ctx, p, t, t.ID(m), m, op.IfMatch, nil)
}

func (c *Config) removeMatching(ctx context.Context, p *plan, e *Entity, ifMatch *uint64) error {
	if err := c.remove(ctx, p, e); err != nil {
		return err
	}
	p.ops[len(p.ops)-1].IfMatch = ifMatch
	return nil
}

// adoptID gives an entity without an id that of the one with the same endpoint key.
func (c *Config) adoptID(ctx context.Context, t *schema.Table, m proto.Message) error {
	name := t.EndpointValue(m)
	if name == "" {
		return nil
	}
	old, err := c.find(ctx, t, name, nil)
	if err != nil || old == nil {
		return err
	}
	t.SetID(m, old.ID)
	return nil
}

// Revisions returns one page of history.
func (c *Config) Revisions(ctx context.Context, q store.RevisionQuery) ([]store.Revision, error) {
	list, err := c.store.Revisions(ctx, q)
	if err != nil {
		return nil, c.fault(nil, nil, err)
	}
	return list, nil
}

// Revision returns one revision's origin.
func (c *Config) Revision(ctx context.Context, rev uint64) (store.Revision, error) {
	r, err := c.store.Revision(ctx, rev)
	if err != nil {
		return r, c.fault(nil, nil, err)
	}
	return r, nil
}

// Changes yields the changes of revisions in (after, to]; to 0 means head.
func (c *Config) Changes(ctx context.Context, after, to uint64) iter.Seq2[store.Change, error] {
	return c.store.Changes(ctx, after, to)
}

// Wait returns head as soon as it is above after, or when ctx ends.
func (c *Config) Wait(ctx context.Context, after uint64) (uint64, error) {
	return c.store.Wait(ctx, after)
}

// Decode reads a stored body.
func (c *Config) Decode(kind, id string, rev uint64, body []byte) (*Entity, error) {
	t := c.schema.Table(kind)
	if t == nil {
		return nil, fmt.Errorf("decode %s %s: no such kind", kind, id)
	}
	return c.entity(t, &store.Object{Kind: kind, ID: id, Rev: rev, Body: body})
}
