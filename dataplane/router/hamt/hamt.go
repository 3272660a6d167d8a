// Package hamt holds a persistent map from strings: a change makes a new map that shares all
// untouched parts with the old one, and costs the depth of the tree, not its size.
//
// It knows nothing of what it maps to. Enter at New, or at the zero Map, and Map.Edit.
package hamt

import (
	"hash/maphash"
	"iter"
	"math/bits"
)

const (
	width = 6 // bits of the hash per level
	mask  = 1<<width - 1
)

var seed = maphash.MakeSeed()

func defaultHash(key string) uint64 { return maphash.String(seed, key) }

// Map is an immutable map. The zero value is empty and hashes keys with a secret seed, so
// that who chooses keys cannot make them collide. It is safe for concurrent use.
type Map[V any] struct {
	root *node[V]
	size int
	hash func(string) uint64
}

// New returns an empty map with a hash function of the caller's, for lookups whose hash the
// caller computes himself (Find).
func New[V any](hash func(string) uint64) Map[V] { return Map[V]{hash: hash} }

// token marks the nodes that one editor made and may therefore change in place. It must not
// be of size zero: such variables may share an address.
type token struct{ _ byte }

type leaf[V any] struct {
	key string
	val V
}

// node is one level. Positions of leaves and kids are bits in two maps; below the last bits
// of the hash a node is a plain list of leaves, whose maps are not used.
type node[V any] struct {
	owner   *token
	leafMap uint64
	kidMap  uint64
	leaves  []leaf[V]
	kids    []*node[V]
}

func (m Map[V]) hashOf(key string) uint64 {
	if m.hash != nil {
		return m.hash(key)
	}
	return defaultHash(key)
}

// Len returns the number of keys.
func (m Map[V]) Len() int { return m.size }

// Get returns the value of key.
func (m Map[V]) Get(key string) (V, bool) {
	return m.Find(m.hashOf(key), key, sameKey)
}

func sameKey(a, b string) bool { return a == b }

// Find returns the value whose key has the hash h and is same as key. It is for keys that
// are compared otherwise than byte by byte; h must be what the map's hash function gives
// for the stored spelling.
func (m Map[V]) Find(h uint64, key string, same func(stored, key string) bool) (v V, ok bool) {
	n := m.root
	for shift := 0; n != nil; shift += width {
		if shift >= 64 {
			for i := range n.leaves {
				if same(n.leaves[i].key, key) {
					return n.leaves[i].val, true
				}
			}
			return v, false
		}
		bit := uint64(1) << (h >> shift & mask)
		if n.leafMap&bit != 0 {
			l := &n.leaves[bits.OnesCount64(n.leafMap&(bit-1))]
			if same(l.key, key) {
				return l.val, true
			}
			return v, false
		}
		if n.kidMap&bit == 0 {
			return v, false
		}
		n = n.kids[bits.OnesCount64(n.kidMap&(bit-1))]
	}
	return v, false
}

// All yields every key with its value, in no order that means anything.
func (m Map[V]) All() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) { m.root.each(yield) }
}

func (n *node[V]) each(yield func(string, V) bool) bool {
	if n == nil {
		return true
	}
	for i := range n.leaves {
		if !yield(n.leaves[i].key, n.leaves[i].val) {
			return false
		}
	}
	for _, k := range n.kids {
		if !k.each(yield) {
			return false
		}
	}
	return true
}

// Set returns a map in which key has the value v.
func (m Map[V]) Set(key string, v V) Map[V] {
	e := m.Edit()
	e.Set(key, v)
	return e.Map()
}

// Delete returns a map without key.
func (m Map[V]) Delete(key string) Map[V] {
	e := m.Edit()
	e.Delete(key)
	return e.Map()
}
