package index

import (
	"hash/maphash"
	"math/bits"
	"slices"
)

// Editor makes many changes to an index for the price of copying each touched part once. It
// belongs to one goroutine; the index it began with stays as it is.
type Editor[V any] struct {
	x     Index[V]
	owner *token
}

// Edit begins changes to x.
func (x Index[V]) Edit() *Editor[V] { return &Editor[V]{x: x, owner: new(token)} }

// Index returns the index with the changes made so far. The editor may go on: what it does
// later is not seen in what it has returned.
func (e *Editor[V]) Index() Index[V] {
	e.owner = new(token)
	return e.x
}

// Get returns the value of key as of the changes made so far, or nil.
func (e *Editor[V]) Get(key string) *V { return e.x.Get(key) }

// Set puts v, in the place of the one of the same key if there is one.
func (e *Editor[V]) Set(v *V) {
	key := e.x.key(v)
	h := maphash.String(seed, key)
	e.x.root = e.set(e.x.root, h, 0, key, v)
}

// Delete removes the value of key, if there is one.
func (e *Editor[V]) Delete(key string) {
	if e.x.Get(key) == nil {
		return // nothing is copied for it
	}
	e.x.root = e.remove(e.x.root, maphash.String(seed, key), 0, key)
	e.x.size--
}

func (e *Editor[V]) own(n *node[V]) *node[V] {
	switch {
	case n == nil:
		return &node[V]{owner: e.owner}
	case n.owner == e.owner:
		return n
	}
	c := &node[V]{owner: e.owner, tags: slices.Clone(n.tags), vals: slices.Clone(n.vals), used: n.used}
	if n.kids != nil {
		kids := *n.kids
		c.kids = &kids
	}
	return c
}

func (e *Editor[V]) set(n *node[V], h uint64, level int, key string, v *V) *node[V] {
	n = e.own(n)
	if n.kids == nil && n.used >= bucketMax && level < deepest {
		e.split(n, level)
	}
	if n.kids != nil {
		i := h >> (level * fan) & (1<<fan - 1)
		n.kids[i] = e.set(n.kids[i], h, level+1, key, v)
		return n
	}
	tag := tagOf(h)
	if len(n.tags) > 0 {
		i := home(tag, len(n.tags))
		for ; n.tags[i] != 0; i = (i + 1) & (len(n.tags) - 1) {
			if n.tags[i] == tag && e.x.key(n.vals[i]) == key {
				n.vals[i] = v
				return n
			}
		}
	}
	n.reserve(n.used + 1)
	n.add(tag, v)
	e.x.size++
	return n
}

// reserve makes room for want values at a load of at most three quarters.
func (n *node[V]) reserve(want int) {
	if want*4 <= len(n.tags)*3 {
		return
	}
	tags, vals := n.tags, n.vals
	slots := max(4, 1<<bits.Len(uint(want*4/3)))
	n.tags, n.vals, n.used = make([]uint32, slots), make([]*V, slots), 0
	for i, tag := range tags {
		if tag != 0 {
			n.add(tag, vals[i])
		}
	}
}

// add puts a value that is not there; there is room for it.
func (n *node[V]) add(tag uint32, v *V) {
	i := home(tag, len(n.tags))
	for n.tags[i] != 0 {
		i = (i + 1) & (len(n.tags) - 1)
	}
	n.tags[i], n.vals[i] = tag, v
	n.used++
}

// split makes a bucket, which the editor owns, into a branch.
func (e *Editor[V]) split(n *node[V], level int) {
	tags, vals := n.tags, n.vals
	*n = node[V]{owner: e.owner, kids: new([1 << fan]*node[V])}
	for i, v := range vals {
		if tags[i] == 0 {
			continue
		}
		at := maphash.String(seed, e.x.key(v)) >> (level * fan) & (1<<fan - 1)
		if n.kids[at] == nil {
			n.kids[at] = &node[V]{owner: e.owner}
		}
		n.kids[at].reserve(n.kids[at].used + 1)
		n.kids[at].add(tags[i], v)
	}
}

// remove takes out the value of key, which is there. It returns nil for a node that is left
// empty.
func (e *Editor[V]) remove(n *node[V], h uint64, level int, key string) *node[V] {
	n = e.own(n)
	if n.kids != nil {
		i := h >> (level * fan) & (1<<fan - 1)
		n.kids[i] = e.remove(n.kids[i], h, level+1, key)
		if n.kids[i] == nil && *n.kids == ([1 << fan]*node[V]{}) {
			return nil
		}
		return n
	}
	tag := tagOf(h)
	i := home(tag, len(n.tags))
	for n.tags[i] != tag || e.x.key(n.vals[i]) != key {
		i = (i + 1) & (len(n.tags) - 1)
	}
	n.free(i)
	if n.used == 0 {
		return nil
	}
	return n
}

// free empties a slot, and moves up what could not be found behind a gap.
func (n *node[V]) free(gap int) {
	last := len(n.tags) - 1
	for i := (gap + 1) & last; n.tags[i] != 0; i = (i + 1) & last {
		// The value at i stays if its search begins behind the gap.
		if from := home(n.tags[i], len(n.tags)); (i-from)&last < (i-gap)&last {
			continue
		}
		n.tags[gap], n.vals[gap] = n.tags[i], n.vals[i]
		gap = i
	}
	n.tags[gap], n.vals[gap] = 0, nil
	n.used--
}
