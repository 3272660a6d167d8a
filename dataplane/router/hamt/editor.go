package hamt

import (
	"math/bits"
	"slices"
)

// Editor makes many changes to a map for the price of copying each touched part once. It
// belongs to one goroutine; the map it began with stays as it is.
type Editor[V any] struct {
	m     Map[V]
	owner *token
}

// Edit begins changes to m.
func (m Map[V]) Edit() *Editor[V] { return &Editor[V]{m: m, owner: new(token)} }

// Map returns the map with the changes made so far. The editor may go on: what it does later
// is not seen in maps it has returned.
func (e *Editor[V]) Map() Map[V] {
	e.owner = new(token)
	return e.m
}

// Get returns the value of key as of the changes made so far.
func (e *Editor[V]) Get(key string) (V, bool) { return e.m.Get(key) }

// Len returns the number of keys as of the changes made so far.
func (e *Editor[V]) Len() int { return e.m.size }

// Set gives key the value v.
func (e *Editor[V]) Set(key string, v V) {
	root, added := e.set(e.m.root, e.m.hashOf(key), 0, leaf[V]{key, v})
	e.m.root = root
	if added {
		e.m.size++
	}
}

// Delete removes key and reports whether it was there.
func (e *Editor[V]) Delete(key string) bool {
	root, removed := e.remove(e.m.root, e.m.hashOf(key), 0, key)
	e.m.root = root
	if removed {
		e.m.size--
	}
	return removed
}

// own returns n itself when this editor made it, else a copy that it may change.
func (e *Editor[V]) own(n *node[V]) *node[V] {
	if n == nil {
		return &node[V]{owner: e.owner}
	}
	if n.owner == e.owner {
		return n
	}
	return &node[V]{
		owner:   e.owner,
		leafMap: n.leafMap,
		kidMap:  n.kidMap,
		leaves:  slices.Clone(n.leaves),
		kids:    slices.Clone(n.kids),
	}
}

func (e *Editor[V]) set(n *node[V], h uint64, shift int, l leaf[V]) (*node[V], bool) {
	n = e.own(n)
	if shift >= 64 {
		return n, n.setInList(l)
	}
	bit := uint64(1) << (h >> shift & mask)
	if n.kidMap&bit != 0 {
		i := bits.OnesCount64(n.kidMap & (bit - 1))
		kid, added := e.set(n.kids[i], h, shift+width, l)
		n.kids[i] = kid
		return n, added
	}
	i := bits.OnesCount64(n.leafMap & (bit - 1))
	if n.leafMap&bit == 0 {
		n.leafMap |= bit
		n.leaves = inserted(n.leaves, i, l)
		return n, true
	}
	old := n.leaves[i]
	if old.key == l.key {
		n.leaves[i] = l
		return n, false
	}
	// Two keys share these bits: both move one level down.
	kid, _ := e.set(nil, e.m.hashOf(old.key), shift+width, old)
	kid, _ = e.set(kid, h, shift+width, l)
	n.leafMap &^= bit
	n.leaves = removed(n.leaves, i)
	n.kidMap |= bit
	n.kids = inserted(n.kids, bits.OnesCount64(n.kidMap&(bit-1)), kid)
	return n, true
}

func (n *node[V]) setInList(l leaf[V]) bool {
	for i := range n.leaves {
		if n.leaves[i].key == l.key {
			n.leaves[i] = l
			return false
		}
	}
	n.leaves = inserted(n.leaves, len(n.leaves), l)
	return true
}

// remove returns nil for a node that is left without content.
func (e *Editor[V]) remove(n *node[V], h uint64, shift int, key string) (*node[V], bool) {
	if n == nil {
		return nil, false
	}
	if shift >= 64 {
		i := slices.IndexFunc(n.leaves, func(l leaf[V]) bool { return l.key == key })
		if i < 0 {
			return n, false
		}
		n = e.own(n)
		n.leaves = removed(n.leaves, i)
		return n.orNil(), true
	}
	bit := uint64(1) << (h >> shift & mask)
	if n.leafMap&bit != 0 {
		i := bits.OnesCount64(n.leafMap & (bit - 1))
		if n.leaves[i].key != key {
			return n, false
		}
		n = e.own(n)
		n.leafMap &^= bit
		n.leaves = removed(n.leaves, i)
		return n.orNil(), true
	}
	if n.kidMap&bit == 0 {
		return n, false
	}
	i := bits.OnesCount64(n.kidMap & (bit - 1))
	kid, gone := e.remove(n.kids[i], h, shift+width, key)
	if !gone {
		return n, false
	}
	n = e.own(n)
	n.replaceKid(i, bit, kid)
	return n.orNil(), true
}

// replaceKid puts what is left of the kid at i in its place: a single leaf is pulled up, so
// that the tree has one shape for one content.
func (n *node[V]) replaceKid(i int, bit uint64, kid *node[V]) {
	if kid != nil && (len(kid.kids) > 0 || len(kid.leaves) > 1) {
		n.kids[i] = kid
		return
	}
	n.kidMap &^= bit
	n.kids = removed(n.kids, i)
	if kid != nil {
		at := bits.OnesCount64(n.leafMap & (bit - 1))
		n.leafMap |= bit
		n.leaves = inserted(n.leaves, at, kid.leaves[0])
	}
}

func (n *node[V]) orNil() *node[V] {
	if len(n.leaves) == 0 && len(n.kids) == 0 {
		return nil
	}
	return n
}

// inserted and removed make slices of the exact length: nodes are many and long-lived.
func inserted[E any](s []E, i int, x E) []E {
	out := make([]E, len(s)+1)
	copy(out, s[:i])
	out[i] = x
	copy(out[i+1:], s[i:])
	return out
}

func removed[E any](s []E, i int) []E {
	if len(s) == 1 {
		return nil
	}
	out := make([]E, len(s)-1)
	copy(out, s[:i])
	copy(out[i:], s[i+1:])
	return out
}
