package config

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/model/fault"
	"github.com/sekifuda/sekifuda/model/schema"
)

// maxTries bounds how often a change is made anew when another one came between its read
// and its write. Each try loses only to a change that succeeded; after the first few it waits
// a little, at random, so that many writers of one entity do not go on in step.
const (
	maxTries  = 64
	patience  = 4 // tries without a pause
	pauseStep = 2 * time.Millisecond
)

// pause waits before a try, unless ctx ends.
func pause(ctx context.Context, try int) {
	if try <= patience {
		return
	}
	t := time.NewTimer(rand.N(min(time.Duration(try)*pauseStep, 50*time.Millisecond)))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Create makes a new entity of body.
func (c *Config) Create(ctx context.Context, t *schema.Table, body schema.Body, under *Under, by Origin) (*Result, error) {
	return c.change(ctx, by, func(p *plan) (*Entity, error) {
		return c.insert(ctx, p, t, body, under, false)
	})
}

// Put creates the entity of that id or endpoint key, or replaces it whole. An entity that
// exists keeps its id.
func (c *Config) Put(ctx context.Context, t *schema.Table, idOrKey string, body schema.Body, under *Under, by Origin) (*Result, error) {
	return c.change(ctx, by, func(p *plan) (*Entity, error) {
		p.named = !schema.IsID(idOrKey)
		return c.put(ctx, p, t, idOrKey, body, under)
	})
}

// Patch changes the members of body and leaves the others as they are.
func (c *Config) Patch(ctx context.Context, t *schema.Table, idOrKey string, body schema.Body, under *Under, by Origin) (*Result, error) {
	return c.change(ctx, by, func(p *plan) (*Entity, error) {
		return c.patch(ctx, p, t, idOrKey, body, under)
	})
}

// CreateOwner makes a new entity of body and has an entity that exists refer to it by field,
// in one revision.
func (c *Config) CreateOwner(ctx context.Context, t *schema.Table, body schema.Body, of *schema.Table, id, field string, by Origin) (*Result, error) {
	return c.change(ctx, by, func(p *plan) (*Entity, error) {
		owner, err := c.insert(ctx, p, t, body, nil, false)
		if err != nil {
			return nil, err
		}
		_, err = c.patch(ctx, p, of, id, schema.Body{field: schema.Body{"id": owner.ID}}, nil)
		return owner, err
	})
}

func (c *Config) patch(ctx context.Context, p *plan, t *schema.Table, idOrKey string, body schema.Body, under *Under) (*Entity, error) {
	old, err := c.Get(ctx, t, idOrKey, under)
	if err != nil {
		return nil, err
	}
	if err := c.resolve(ctx, t, body); err != nil {
		return nil, err
	}
	if err := c.prepareCertificate(ctx, t, old.ID, body); err != nil {
		return nil, err
	}
	m, err := t.Update(old.Message, body, c.now())
	if err != nil {
		return nil, err
	}
	return c.write(ctx, p, t, old.ID, m, &old.Rev, body)
}

// Delete removes an entity and all that goes with it. What does not exist is a fault of
// kind NotFound.
func (c *Config) Delete(ctx context.Context, t *schema.Table, idOrKey string, under *Under, by Origin) (store.Revision, error) {
	r, err := c.change(ctx, by, func(p *plan) (*Entity, error) {
		e, err := c.Get(ctx, t, idOrKey, under)
		if err != nil {
			return nil, err
		}
		return e, c.remove(ctx, p, e)
	})
	if err != nil {
		return store.Revision{}, err
	}
	return r.Revision, nil
}

// plan collects what one change writes.
type plan struct {
	ops     []store.Op
	removed map[store.Key]bool // (kind, id) that the plan deletes
	// authorities are ids of CA certificates that must be there afterwards.
	authorities []string
	named       bool // it puts what is addressed by name: who holds the name is found anew
}

// change runs one use case until its write meets what it read, and commits it.
func (c *Config) change(ctx context.Context, by Origin, build func(*plan) (*Entity, error)) (*Result, error) {
	for try := 1; ; try++ {
		p := &plan{removed: map[store.Key]bool{}}
		e, err := build(p)
		if err != nil {
			return nil, err
		}
		if err := c.checkAuthorities(ctx, p); err != nil {
			return nil, err
		}
		rev, err := c.store.Commit(ctx, store.Commit{
			Ops: p.ops, Actor: by.Actor, Client: by.Client, Message: by.Message, RequestID: by.RequestID,
		})
		if err == nil {
			e.Rev = rev.Rev
			return &Result{Entity: *e, Revision: rev}, nil
		}
		if try < maxTries && ctx.Err() == nil && retryable(err, try, p, e.Table) {
			pause(ctx, try)
			continue
		}
		return nil, c.fault(e.Table, e.Message, err)
	}
}

// retryable reports whether a commit failed only because another came before it: the
// entity moved on, a cascade met a new child, or another put made what this one makes. An id
// that is taken stays taken, unless that other put took it: one more look tells.
func retryable(err error, try int, p *plan, t *schema.Table) bool {
	var conflict *store.ConflictError
	if errors.As(err, &conflict) {
		return conflict.Kind != "" && (conflict.Want != 0 || p.named && try == 1)
	}
	var unique *store.UniqueError
	if errors.As(err, &unique) {
		return p.named && t != nil && unique.Kind == t.Kind && slices.Contains(strings.Split(unique.Key.Index, ","), t.Key)
	}
	var referenced *store.ReferencedError
	return errors.As(err, &referenced) && len(p.removed) > 0
}

func (c *Config) insert(ctx context.Context, p *plan, t *schema.Table, body schema.Body, under *Under, replace bool) (*Entity, error) {
	if under != nil {
		body[under.Field] = schema.Body{"id": under.ID}
	}
	if err := c.resolve(ctx, t, body); err != nil {
		return nil, err
	}
	id, _ := body["id"].(string)
	if err := c.prepareCertificate(ctx, t, id, body); err != nil {
		return nil, err
	}
	m, err := t.Insert(body, c.now())
	if err != nil {
		return nil, err
	}
	var ifMatch *uint64
	if !replace {
		ifMatch = new(uint64)
	}
	return c.write(ctx, p, t, t.ID(m), m, ifMatch, body)
}

func (c *Config) put(ctx context.Context, p *plan, t *schema.Table, idOrKey string, body schema.Body, under *Under) (*Entity, error) {
	old, err := c.find(ctx, t, idOrKey, nestedOnly(t, under))
	if err != nil {
		return nil, err
	}
	switch {
	case schema.IsID(idOrKey):
		body["id"] = schema.CanonicalID(idOrKey)
	case old != nil && mayYield(body["id"]):
		body["id"] = old.ID
	}
	if field := c.keyField(t, under); !schema.IsID(idOrKey) && field != "" {
		body[field] = idOrKey
	}
	// By name, an id that the body brings is for a new entity and must be nobody's.
	return c.insert(ctx, p, t, body, under, old != nil || schema.IsID(idOrKey))
}

// mayYield reports whether an id in a body gives way to that of the entity which is replaced.
// What is no id stays, to be refused.
func mayYield(id any) bool {
	s, ok := id.(string)
	return id == nil || ok && schema.IsID(s)
}

// nestedOnly is the owner within which an entity's name is looked up when the name means
// something only there. An entity found under another owner moves to this one.
func nestedOnly(t *schema.Table, under *Under) *Under {
	if f := t.Field(t.Key); f != nil && f.Unique {
		return nil
	}
	return under
}

// keyField is the field that an address by name gives a value to.
func (c *Config) keyField(t *schema.Table, under *Under) string {
	if under == nil {
		return t.Key
	}
	_, field, _ := t.NestedKey(under.Field, under.ID, "")
	return field
}

// write adds the put of an entity to the plan, with what belongs to it.
func (c *Config) write(ctx context.Context, p *plan, t *schema.Table, id string, m proto.Message, ifMatch *uint64, body schema.Body) (*Entity, error) {
	if err := c.checker.Check(t.Kind, m); err != nil {
		return nil, err
	}
	if err := c.checkProtocols(ctx, m); err != nil {
		return nil, err
	}
	_, mentioned := body["snis"]
	if err := c.planSNIs(ctx, p, id, m, mentioned); err != nil {
		return nil, err
	}
	op, err := putOp(t, id, m)
	if err != nil {
		return nil, err
	}
	op.IfMatch = ifMatch
	p.ops = append(p.ops, op)
	p.needs(m)
	return &Entity{Table: t, ID: id, Message: m}, nil
}

func putOp(t *schema.Table, id string, m proto.Message) (store.Op, error) {
	b, err := schema.Marshal(m)
	if err != nil {
		return store.Op{}, fmt.Errorf("encode %s %s: %w", t.Kind, id, err)
	}
	if b == nil {
		b = []byte{}
	}
	op := store.Op{Object: store.Object{Kind: t.Kind, ID: id, Tags: t.Tags(m), Body: b}}
	for _, k := range t.Keys(m) {
		op.Keys = append(op.Keys, store.Key(k))
	}
	for _, r := range t.Refs(m) {
		op.Refs = append(op.Refs, store.Ref(r))
	}
	return op, nil
}

// referrersPage bounds how many dependents are read at a time while a cascade is computed.
const referrersPage = 1000

// remove adds the deletion of an entity to the plan, after those of all that refers to it
// by cascade. Anything else that refers to it refuses the deletion.
func (c *Config) remove(ctx context.Context, p *plan, e *Entity) error {
	key := store.Key{Index: e.Table.Kind, Value: e.ID}
	if p.removed[key] {
		return nil
	}
	p.removed[key] = true
	if err := c.guardRemoval(ctx, e); err != nil {
		return err
	}
	refs, err := c.store.Referrers(ctx, e.Table.Kind, e.ID, referrersPage)
	if err != nil {
		return c.fault(e.Table, nil, err)
	}
	for i := range refs {
		if err := c.removeReferrer(ctx, p, e, &refs[i]); err != nil {
			return err
		}
	}
	op := store.Op{Object: store.Object{Kind: e.Table.Kind, ID: e.ID}}
	p.ops = append(p.ops, op)
	return nil
}

func (c *Config) removeReferrer(ctx context.Context, p *plan, e *Entity, r *store.Referrer) error {
	rt := c.schema.Table(r.Kind)
	if rt == nil {
		return fmt.Errorf("remove %s %s: no table for its referrer's kind %q", e.Table.Kind, e.ID, r.Kind)
	}
	if !rt.Field(r.Field).Cascade {
		return schema.ReferencedBy(rt.Kind, e.Table.Kind)
	}
	child, err := c.entity(rt, &r.Object)
	if err != nil {
		return err
	}
	return c.remove(ctx, p, child)
}

// resolve replaces references given by name in body ({"service": {"name": "api"}}) by ids.
func (c *Config) resolve(ctx context.Context, t *schema.Table, body schema.Body) error {
	for _, f := range t.Foreign(body) {
		parent := c.schema.Table(f.Kind)
		o, err := c.store.Find(ctx, f.Kind, store.Key(f.Lookup()))
		if errors.Is(err, store.ErrNotFound) {
			return schema.UnresolvedForeign(f.Field, f.Key, f.Value, f.Kind)
		}
		if err != nil {
			return c.fault(parent, nil, err)
		}
		body[f.Field] = schema.Body{"id": o.ID}
	}
	return nil
}

// fault translates the store's errors into what a user can mend.
func (c *Config) fault(t *schema.Table, m proto.Message, err error) error {
	var (
		unique     *store.UniqueError
		reference  *store.ReferenceError
		referenced *store.ReferencedError
		conflict   *store.ConflictError
		large      *store.TooLargeError
	)
	switch {
	case errors.As(err, &unique):
		return c.schema.Table(unique.Kind).UniqueViolation(schema.Key(unique.Key))
	case errors.As(err, &reference):
		return schema.ForeignMissing(schema.Ref(reference.Ref))
	case errors.As(err, &referenced):
		return schema.ReferencedBy(referenced.ByKind, referenced.Kind)
	case errors.As(err, &conflict) && conflict.Want == 0 && conflict.Kind != "":
		return schema.PrimaryKeyViolation(conflict.ID)
	case errors.As(err, &conflict):
		return &fault.Error{Kind: fault.Conflict, Message: conflict.Error(), Err: err}
	case errors.As(err, &large):
		return &fault.Error{Kind: fault.TooLarge, Message: large.Error(), Err: err}
	case errors.Is(err, store.ErrUnavailable):
		return &fault.Error{Kind: fault.Unavailable, Message: "the database is not available", Err: err}
	}
	return err
}
