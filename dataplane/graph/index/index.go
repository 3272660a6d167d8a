// Package index holds a persistent set of values that are found by a text of their own: for
// tables of millions, where a map from texts would keep every text twice and take a memory
// access per level.
//
// A small trie of hash bits leads to buckets with open addressing; a change copies one
// bucket and the way to it. It knows nothing of the values. Enter at New and Index.Edit.
package index

import (
	"hash/maphash"
	"iter"
)

const (
	fan = 4 // bits of the hash per level of the trie
	// bucketMax is how many values a bucket holds before it becomes sixteen: large enough
	// for a flat trie, small enough to be copied for one change (at most 12 KiB).
	bucketMax = 512
	// deepest is the level whose buckets are never split: the hash has no bits left for it.
	deepest = 32 / fan
)

var seed = maphash.MakeSeed()

// Index is an immutable set of *V, each found by its key. It is safe for concurrent use. The
// hash is seeded, so that who chooses keys cannot make them collide.
type Index[V any] struct {
	root *node[V]
	size int
	key  func(*V) string
}

// New returns an empty index of values whose key is what key returns, always the same.
func New[V any](key func(*V) string) Index[V] { return Index[V]{key: key} }

// token marks the nodes that one editor made and may therefore change in place. It must not
// be of size zero: such variables may share an address.
type token struct{ _ byte }

// node is a branch when it has kids, else a bucket. A tag of 0 is an empty slot.
type node[V any] struct {
	owner *token
	kids  *[1 << fan]*node[V]
	tags  []uint32
	vals  []*V
	used  int
}

// tagOf is the part of a hash that the trie does not use; it is never 0.
func tagOf(h uint64) uint32 { return uint32(h>>32) | 1 }

// home is where a tag's search begins: its lowest bit is always set and says nothing.
func home(tag uint32, slots int) int { return int(tag>>1) & (slots - 1) }

// Len returns the number of values.
func (x Index[V]) Len() int { return x.size }

// Get returns the value of key, or nil.
func (x Index[V]) Get(key string) *V {
	return x.Find(key, func(a, b string) bool { return a == b })
}

// Find is Get with another way to compare keys, such as one that takes constant time.
func (x Index[V]) Find(key string, same func(stored, key string) bool) *V {
	n := x.root
	h := maphash.String(seed, key)
	for shift := 0; n != nil && n.kids != nil; shift += fan {
		n = n.kids[h>>shift&(1<<fan-1)]
	}
	if n == nil {
		return nil
	}
	tag := tagOf(h)
	for i := home(tag, len(n.tags)); n.tags[i] != 0; i = (i + 1) & (len(n.tags) - 1) {
		if n.tags[i] == tag && same(x.key(n.vals[i]), key) {
			return n.vals[i]
		}
	}
	return nil
}

// All yields every value, in no order that means anything.
func (x Index[V]) All() iter.Seq[*V] {
	return func(yield func(*V) bool) { x.root.each(yield) }
}

func (n *node[V]) each(yield func(*V) bool) bool {
	if n == nil {
		return true
	}
	if n.kids != nil {
		for _, k := range n.kids {
			if !k.each(yield) {
				return false
			}
		}
		return true
	}
	for i, v := range n.vals {
		if n.tags[i] != 0 && !yield(v) {
			return false
		}
	}
	return true
}
