package scope

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/model/fault"
)

// Kinds about which there is more to say.
const (
	plugins = "plugins"       // one that refers to nothing is everybody's
	snis    = "snis"          // made with their certificate, without tags
	tokens  = "oauth2_tokens" // have no tags
)

// Store is a store that refuses what the writer may not write.
type Store struct{ store.Store }

// New returns a store that writes to s what may be written.
func New(s store.Store) *Store { return &Store{s} }

// Commit implements store.Store. What may not be written is a fault of kind Forbidden, and
// nothing is written then: also when it is what goes along with a deletion.
func (s *Store) Commit(ctx context.Context, c store.Commit) (store.Revision, error) {
	scopes := of(ctx)
	if len(scopes) == 0 {
		return s.Store.Commit(ctx, c)
	}
	var first error
	for _, sc := range scopes {
		j := judge{store: s.Store, scope: sc, ops: map[store.Ref]*store.Op{}}
		ops, err := j.all(ctx, c.Ops)
		if err == nil {
			c.Ops = ops
			return s.Store.Commit(ctx, c)
		}
		if first == nil || !fault.Is(err, fault.Forbidden) {
			first = err
		}
	}
	return store.Revision{}, first
}

// Write implements store.Records. Records are no entities: who is limited to some of those does
// not block traffic.
func (s *Store) Write(ctx context.Context, records []store.Record, notes ...store.AuditEntry) error {
	if scopes := of(ctx); len(scopes) > 0 {
		return refuse("a role that is limited to %s writes entities alone", scopes[0])
	}
	return s.Store.Write(ctx, records, notes...)
}

func refuse(format string, args ...any) error {
	return &fault.Error{Kind: fault.Forbidden, Message: "you may not do this: " + fmt.Sprintf(format, args...)}
}

// judge holds one commit to one scope.
type judge struct {
	store store.Store
	scope Scope
	ops   map[store.Ref]*store.Op // by kind and id
}

// all judges a commit and returns its ops, bound to the objects as they were judged: one that
// another writer takes meanwhile is a conflict.
func (j *judge) all(ctx context.Context, ops []store.Op) ([]store.Op, error) {
	ops = slices.Clone(ops)
	for i := range ops {
		j.ops[store.Ref{Kind: ops[i].Kind, ID: ops[i].ID}] = &ops[i]
	}
	for i := range ops {
		op := &ops[i]
		old, err := j.get(ctx, op.Kind, op.ID)
		if err != nil {
			return nil, err
		}
		if old == nil && op.Delete() || old != nil && !op.Delete() && bytes.Equal(old.Body, op.Body) {
			continue // it changes nothing
		}
		if err := j.one(ctx, old, op); err != nil {
			return nil, err
		}
		if op.IfMatch == nil {
			op.IfMatch = new(uint64)
			if old != nil {
				*op.IfMatch = old.Rev
			}
		}
	}
	return ops, nil
}

// get is an object as it is stored; nil when it is not.
func (j *judge) get(ctx context.Context, kind, id string) (*store.Object, error) {
	o, err := j.store.Get(ctx, kind, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return o, err
}

func (j *judge) one(ctx context.Context, old *store.Object, op *store.Op) error {
	if len(j.scope.Kinds) > 0 && !slices.Contains(j.scope.Kinds, op.Kind) {
		return refuse("it writes %s %s, and your role is limited to %s", op.Kind, op.ID, strings.Join(j.scope.Kinds, ", "))
	}
	if len(j.scope.Tags) == 0 {
		return nil
	}
	if old != nil && !byOwner(op.Kind, old.Tags) && !j.scope.has(old.Tags) {
		return j.untagged(op.Kind, op.ID)
	}
	if op.Delete() {
		return nil
	}
	if !byOwner(op.Kind, op.Tags) && !j.scope.has(op.Tags) {
		return refuse("%s %s must carry one of your tags (%s)", op.Kind, op.ID, strings.Join(j.scope.Tags, ", "))
	}
	var was []string
	if old != nil {
		was = old.Tags
	}
	if a, b := j.scope.foreign(was), j.scope.foreign(op.Tags); !slices.Equal(a, b) {
		return refuse("it changes tags of %s %s other than yours (%s)", op.Kind, op.ID, strings.Join(j.scope.Tags, ", "))
	}
	return j.refs(ctx, op)
}

// byOwner reports whether an object without tags is of whom the object is that it refers to.
func byOwner(kind string, tags []string) bool {
	return len(tags) == 0 && (kind == snis || kind == tokens)
}

func (j *judge) untagged(kind, id string) error {
	return refuse("%s %s carries none of your tags (%s)", kind, id, strings.Join(j.scope.Tags, ", "))
}

// refs judges what an object refers to. A plugin at a route is a change of the route's traffic, a
// certificate is a secret that is used: both take what is one's own.
func (j *judge) refs(ctx context.Context, op *store.Op) error {
	if op.Kind == plugins && len(op.Refs) == 0 {
		return refuse("plugins %s would be for all traffic: it needs a service, a route or a consumer of yours", op.ID)
	}
	for _, r := range op.Refs {
		tags := []string(nil)
		if to := j.ops[store.Ref{Kind: r.Kind, ID: r.ID}]; to != nil {
			tags = to.Tags // judged itself
		} else if o, err := j.get(ctx, r.Kind, r.ID); err != nil {
			return err
		} else if o == nil {
			continue // the store says so
		} else {
			tags = o.Tags
		}
		if !j.scope.has(tags) {
			return fmtRef(op, r, j.untagged(r.Kind, r.ID))
		}
	}
	return nil
}

func fmtRef(op *store.Op, r store.Ref, err error) error {
	return &fault.Error{Kind: fault.Forbidden, Message: err.Error() + fmt.Sprintf(", and the %s of %s %s is that", r.Field, op.Kind, op.ID)}
}
