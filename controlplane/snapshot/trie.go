package snapshot

import (
	"hash/maphash"
	"math/bits"
	"slices"
)

// A kind's entries hang in a trie over the hash of their ids, five bits a level. A write
// copies the nodes on its path and shares the rest, which is what makes snapshots cheap to
// keep and quick to compare: the same node holds the same entries.

const (
	levelBits = 5
	levelMask = 1<<levelBits - 1
	hashBits  = 64 // below the last level entries stand in a list
)

// seed differs from process to process: who chooses ids cannot choose collisions.
var seed = maphash.MakeSeed()

func hash(id string) uint64 { return maphash.String(seed, id) }

// edit stands for one Apply: nodes that carry it are not shared yet.
type edit struct{ _ byte }

// node is one level of the trie. Each of its 32 slots is empty, an entry, or a node below.
type node struct {
	edit    *edit
	here    uint32 // slots with an entry
	below   uint32 // slots with a node
	entries []*Entry
	nodes   []*node
}

func slot(h uint64, shift uint) uint32 { return 1 << (h >> shift & levelMask) }

// at is the index in a dense list of the slot's bit.
func at(bitmap, bit uint32) int { return bits.OnesCount32(bitmap & (bit - 1)) }

func (n *node) own(e *edit) *node {
	if n.edit == e {
		return n
	}
	return &node{
		edit: e, here: n.here, below: n.below,
		entries: slices.Clone(n.entries), nodes: slices.Clone(n.nodes),
	}
}

func (n *node) indexOf(id string) int {
	return slices.IndexFunc(n.entries, func(e *Entry) bool { return e.ID == id })
}

func find(n *node, id string, h uint64, shift uint) *Entry {
	for ; n != nil; shift += levelBits {
		if shift >= hashBits {
			if i := n.indexOf(id); i >= 0 {
				return n.entries[i]
			}
			return nil
		}
		bit := slot(h, shift)
		if n.here&bit != 0 {
			if e := n.entries[at(n.here, bit)]; e.ID == id {
				return e
			}
			return nil
		}
		if n.below&bit == 0 {
			return nil
		}
		n = n.nodes[at(n.below, bit)]
	}
	return nil
}

// insert puts e under n (nil: nothing yet) and returns the entry that it replaces.
func insert(n *node, e *Entry, h uint64, shift uint, ed *edit) (*node, *Entry) {
	if n == nil {
		n = &node{edit: ed}
	} else {
		n = n.own(ed)
	}
	if shift >= hashBits {
		return n, n.insertListed(e)
	}
	bit := slot(h, shift)
	switch {
	case n.below&bit != 0:
		i := at(n.below, bit)
		child, old := insert(n.nodes[i], e, h, shift+levelBits, ed)
		n.nodes[i] = child
		return n, old
	case n.here&bit == 0:
		n.entries = slices.Insert(n.entries, at(n.here, bit), e)
		n.here |= bit
		return n, nil
	}
	i := at(n.here, bit)
	if there := n.entries[i]; there.ID != e.ID {
		n.push(bit, there, e, h, shift, ed)
		return n, nil
	}
	old := n.entries[i]
	n.entries[i] = e
	return n, old
}

func (n *node) insertListed(e *Entry) *Entry {
	if i := n.indexOf(e.ID); i >= 0 {
		old := n.entries[i]
		n.entries[i] = e
		return old
	}
	n.entries = append(n.entries, e)
	return nil
}

// push moves the entry of a slot one level down, where e joins it.
func (n *node) push(bit uint32, there, e *Entry, h uint64, shift uint, ed *edit) {
	child, _ := insert(nil, there, hash(there.ID), shift+levelBits, ed)
	child, _ = insert(child, e, h, shift+levelBits, ed)
	i := at(n.here, bit)
	n.entries = slices.Delete(n.entries, i, i+1)
	n.here &^= bit
	n.nodes = slices.Insert(n.nodes, at(n.below, bit), child)
	n.below |= bit
}

// remove takes id, which must be there, out of n, and returns nil for a node left empty.
func remove(n *node, id string, h uint64, shift uint, ed *edit) (*node, *Entry) {
	n = n.own(ed)
	var old *Entry
	if shift >= hashBits {
		i := n.indexOf(id)
		old = n.entries[i]
		n.entries = slices.Delete(n.entries, i, i+1)
	} else if bit := slot(h, shift); n.here&bit != 0 {
		i := at(n.here, bit)
		old = n.entries[i]
		n.entries = slices.Delete(n.entries, i, i+1)
		n.here &^= bit
	} else {
		var child *node
		i := at(n.below, bit)
		child, old = remove(n.nodes[i], id, h, shift+levelBits, ed)
		n.settle(bit, i, child)
	}
	if len(n.entries)+len(n.nodes) == 0 {
		return nil, old
	}
	return n, old
}

// settle hangs what is left of a child back in, an only entry in the child's place: the trie
// has one shape for one content, however it came about.
func (n *node) settle(bit uint32, i int, child *node) {
	switch {
	case child == nil:
		n.nodes = slices.Delete(n.nodes, i, i+1)
		n.below &^= bit
	case len(child.nodes) == 0 && len(child.entries) == 1:
		n.nodes = slices.Delete(n.nodes, i, i+1)
		n.below &^= bit
		n.entries = slices.Insert(n.entries, at(n.here, bit), child.entries[0])
		n.here |= bit
	default:
		n.nodes[i] = child
	}
}

// walk yields every entry under n, and reports whether it came to the end.
func walk(n *node, yield func(*Entry) bool) bool {
	if n == nil {
		return true
	}
	for _, e := range n.entries {
		if !yield(e) {
			return false
		}
	}
	for _, child := range n.nodes {
		if !walk(child, yield) {
			return false
		}
	}
	return true
}
