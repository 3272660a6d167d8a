// Package sealed keeps what is secret unreadable in any store: the bodies of kinds that have
// secret fields are sealed, and of unique values that are secret the store sees only a hash.
//
// It knows kinds and indexes by name; which are secret it is told, and how to seal too. What
// was written before a kind was secret stays readable. Enter at New.
package sealed

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"iter"
	"slices"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

// Sealer seals bytes under a name. Equal bytes under one name must seal equally, or a commit
// that changes nothing would look like a change.
type Sealer interface {
	Seal(name string, plain []byte) []byte
	Sealed(b []byte) bool
	Open(ctx context.Context, name string, sealed []byte) ([]byte, error)
}

// Options say what is secret.
type Options struct {
	Sealer Sealer
	Pepper []byte // of the hashes of unique values
	Kind   func(kind string) bool
	Index  func(kind, index string) bool
}

// Store is a store whose secrets are sealed.
type Store struct {
	store.Store
	o Options
}

var _ store.Store = (*Store)(nil)

// New returns a store that seals what it hands on to s.
func New(s store.Store, o Options) *Store { return &Store{Store: s, o: o} }

func name(kind, id string) string { return kind + "/" + id }

func (s *Store) seal(kind, id string, body []byte) []byte {
	if body == nil || !s.o.Kind(kind) {
		return body
	}
	return s.o.Sealer.Seal(name(kind, id), body)
}

func (s *Store) open(ctx context.Context, kind, id string, body []byte) ([]byte, error) {
	if !s.o.Sealer.Sealed(body) {
		return body, nil
	}
	plain, err := s.o.Sealer.Open(ctx, name(kind, id), body)
	if plain == nil && err == nil {
		plain = []byte{} // an empty body is not a missing one
	}
	return plain, err
}

// key is a unique value as the store sees it.
func (s *Store) key(kind string, k store.Key) store.Key {
	if !s.o.Index(kind, k.Index) {
		return k
	}
	h := hmac.New(sha256.New, s.o.Pepper)
	h.Write([]byte(kind + "\x00" + k.Index + "\x00" + k.Value))
	k.Value = "hmac:" + base64.RawStdEncoding.EncodeToString(h.Sum(nil))
	return k
}

// Commit implements store.Store.
func (s *Store) Commit(ctx context.Context, c store.Commit) (store.Revision, error) {
	c.Ops = slices.Clone(c.Ops)
	plain := map[store.Key]string{}
	for i := range c.Ops {
		op := &c.Ops[i]
		op.Body = s.seal(op.Kind, op.ID, op.Body)
		op.Keys = slices.Clone(op.Keys)
		for j, k := range op.Keys {
			op.Keys[j] = s.key(op.Kind, k)
			plain[op.Keys[j]] = k.Value
		}
	}
	r, err := s.Store.Commit(ctx, c)
	var unique *store.UniqueError
	if errors.As(err, &unique) {
		told := *unique
		if value, ok := plain[told.Key]; ok {
			told.Key.Value = value // as the caller knows it
		}
		return r, &told
	}
	return r, err
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, kind, id string) (*store.Object, error) {
	o, err := s.Store.Get(ctx, kind, id)
	return s.object(ctx, o, err)
}

// Find implements store.Store. A value that was written before its index was secret is found
// as it is.
func (s *Store) Find(ctx context.Context, kind string, k store.Key) (*store.Object, error) {
	o, err := s.Store.Find(ctx, kind, s.key(kind, k))
	if errors.Is(err, store.ErrNotFound) && s.o.Index(kind, k.Index) {
		o, err = s.Store.Find(ctx, kind, k)
	}
	return s.object(ctx, o, err)
}

func (s *Store) object(ctx context.Context, o *store.Object, err error) (*store.Object, error) {
	if err != nil {
		return nil, err
	}
	if o.Body, err = s.open(ctx, o.Kind, o.ID, o.Body); err != nil {
		return nil, err
	}
	return o, nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, q store.Query) ([]store.Object, error) {
	list, err := s.Store.List(ctx, q)
	for i := range list {
		o := &list[i]
		if o.Body, err = s.open(ctx, o.Kind, o.ID, o.Body); err != nil {
			return nil, err
		}
	}
	return list, err
}

// Referrers implements store.Store.
func (s *Store) Referrers(ctx context.Context, kind, id string, limit int) ([]store.Referrer, error) {
	list, err := s.Store.Referrers(ctx, kind, id, limit)
	for i := range list {
		o := &list[i]
		if o.Body, err = s.open(ctx, o.Kind, o.ID, o.Body); err != nil {
			return nil, err
		}
	}
	return list, err
}

// Load implements store.Store.
func (s *Store) Load(ctx context.Context, at uint64) (uint64, iter.Seq2[store.Object, error], error) {
	rev, objects, err := s.Store.Load(ctx, at)
	if err != nil {
		return rev, objects, err
	}
	return rev, func(yield func(store.Object, error) bool) {
		for o, err := range objects {
			if err == nil {
				o.Body, err = s.open(ctx, o.Kind, o.ID, o.Body)
			}
			if !yield(o, err) || err != nil {
				return
			}
		}
	}, nil
}

// Changes implements store.Store.
func (s *Store) Changes(ctx context.Context, after, to uint64) iter.Seq2[store.Change, error] {
	return func(yield func(store.Change, error) bool) {
		for c, err := range s.Store.Changes(ctx, after, to) {
			if err == nil {
				c.Before, err = s.open(ctx, c.Kind, c.ID, c.Before)
			}
			if err == nil {
				c.After, err = s.open(ctx, c.Kind, c.ID, c.After)
			}
			if !yield(c, err) || err != nil {
				return
			}
		}
	}
}
