package snapshot

import (
	"bytes"
	"math/bits"
)

type yieldPair = func(before, after *Entry) bool

// diff yields the pairs by which two tries of one level differ, and reports whether it came
// to the end. What they share it does not enter.
func diff(a, b *node, shift uint, yield yieldPair) bool {
	switch {
	case a == b:
		return true
	case a == nil:
		return walk(b, func(e *Entry) bool { return yield(nil, e) })
	case b == nil:
		return walk(a, func(e *Entry) bool { return yield(e, nil) })
	case shift >= hashBits:
		return diffListed(a, b, yield)
	}
	for left := a.here | a.below | b.here | b.below; left != 0; left &= left - 1 {
		if !diffSlot(a, b, uint32(1)<<bits.TrailingZeros32(left), shift, yield) {
			return false
		}
	}
	return true
}

func diffSlot(a, b *node, bit uint32, shift uint, yield yieldPair) bool {
	ea, na := a.in(bit)
	eb, nb := b.in(bit)
	switch {
	case ea != nil && eb != nil:
		return diffEntries(ea, eb, yield)
	case ea != nil:
		return diffOne(ea, nb, yield)
	case eb != nil:
		return diffOne(eb, na, func(after, before *Entry) bool { return yield(before, after) })
	default:
		return diff(na, nb, shift+levelBits, yield)
	}
}

// in returns what a slot holds: an entry, a node, or neither.
func (n *node) in(bit uint32) (*Entry, *node) {
	if n.here&bit != 0 {
		return n.entries[at(n.here, bit)], nil
	}
	if n.below&bit != 0 {
		return nil, n.nodes[at(n.below, bit)]
	}
	return nil, nil
}

func diffEntries(a, b *Entry, yield yieldPair) bool {
	if a.ID != b.ID {
		return yield(a, nil) && yield(nil, b)
	}
	if a == b || a.Rev == b.Rev && bytes.Equal(a.Body, b.Body) {
		return true
	}
	return yield(a, b)
}

// diffOne compares one entry with the trie that the other side has in its place.
func diffOne(e *Entry, n *node, yield yieldPair) bool {
	met := false
	ok := walk(n, func(o *Entry) bool {
		if o.ID == e.ID {
			met = true
			return diffEntries(e, o, yield)
		}
		return yield(nil, o)
	})
	if !ok || met {
		return ok
	}
	return yield(e, nil)
}

func diffListed(a, b *node, yield yieldPair) bool {
	for _, e := range a.entries {
		if i := b.indexOf(e.ID); i < 0 {
			if !yield(e, nil) {
				return false
			}
		} else if !diffEntries(e, b.entries[i], yield) {
			return false
		}
	}
	for _, e := range b.entries {
		if a.indexOf(e.ID) < 0 && !yield(nil, e) {
			return false
		}
	}
	return true
}
