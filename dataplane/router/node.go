package router

import (
	"slices"
	"sort"
	"strings"
)

// token marks the nodes that one edit made and may therefore change in place. It must not
// be of size zero: such variables may share an address.
type token struct{ _ byte }

// node is one of a radix tree of path prefixes. What stands at a node matches every path
// that goes through it; regexes stand at the text with which whatever they match begins.
type node[T any] struct {
	owner *token
	text  string // from the parent to here
	best  uint64 // no priority here or below is higher
	first []byte // first byte of each kid's text, ascending
	kids  []*node[T]
	plain []cand[T] // best first
	regex *regexSet[T]
}

func (n *node[T]) own(owner *token) *node[T] {
	if n.owner == owner {
		return n
	}
	c := *n
	c.owner = owner
	c.first = slices.Clone(n.first)
	c.kids = slices.Clone(n.kids)
	return &c
}

// kid returns where the kid of that first byte is, or should be.
func (n *node[T]) kid(b byte) (int, bool) {
	if len(n.first) <= 8 {
		for i, x := range n.first {
			if x >= b {
				return i, x == b
			}
		}
		return len(n.first), false
	}
	i := sort.Search(len(n.first), func(i int) bool { return n.first[i] >= b })
	return i, i < len(n.first) && n.first[i] == b
}

// insert returns the tree n with x at key.
func (n *node[T]) insert(owner *token, key string, x cand[T]) *node[T] {
	if n == nil {
		return (&node[T]{owner: owner, text: key}).put(x)
	}
	common := commonPrefix(n.text, key)
	if common < len(n.text) {
		low := n.own(owner)
		top := &node[T]{owner: owner, text: n.text[:common], best: n.best}
		low.text = n.text[common:]
		top.setKid(0, false, low)
		n = top
	} else {
		n = n.own(owner)
	}
	n.best = max(n.best, x.prio)
	key = key[common:]
	if key == "" {
		return n.put(x)
	}
	i, ok := n.kid(key[0])
	var kid *node[T]
	if ok {
		kid = n.kids[i]
	}
	n.setKid(i, ok, kid.insert(owner, key, x))
	return n
}

func commonPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// setKid puts kid at i, over the one that is there or between its neighbours.
func (n *node[T]) setKid(i int, replace bool, kid *node[T]) {
	if replace {
		n.kids[i] = kid
		return
	}
	n.first = slices.Insert(n.first, i, kid.text[0])
	n.kids = slices.Insert(n.kids, i, kid)
}

// put adds x to what stands at n, which the caller owns. The lists themselves are shared
// with older trees and therefore copied.
func (n *node[T]) put(x cand[T]) *node[T] {
	n.best = max(n.best, x.prio)
	if x.regex != nil {
		n.regex = n.regex.insert(x)
	} else {
		n.plain = insertCand(n.plain, x)
	}
	return n
}

// swap returns the tree n in which x stands at key where the same with the rule was stood.
func (n *node[T]) swap(owner *token, key string, was *rule[T], x cand[T]) *node[T] {
	n = n.own(owner)
	key = key[len(n.text):]
	if key != "" {
		i, _ := n.kid(key[0])
		n.kids[i] = n.kids[i].swap(owner, key, was, x)
		return n
	}
	if x.regex != nil {
		n.regex = n.regex.swap(was, x)
	} else {
		n.plain, _ = swapCand(n.plain, was, x)
	}
	return n
}

// remove returns the tree n without x at key; nil when nothing is left.
func (n *node[T]) remove(owner *token, key string, x cand[T]) *node[T] {
	if n == nil || !strings.HasPrefix(key, n.text) {
		return n
	}
	key = key[len(n.text):]
	if key == "" {
		n = n.own(owner)
		if x.regex != nil {
			n.regex = n.regex.remove(x)
		} else {
			n.plain = removeCand(n.plain, x)
		}
		return n.tidy(owner, x.prio)
	}
	i, ok := n.kid(key[0])
	if !ok {
		return n
	}
	n = n.own(owner)
	if kid := n.kids[i].remove(owner, key, x); kid != nil {
		n.setKid(i, true, kid)
	} else {
		n.first = slices.Delete(n.first, i, i+1)
		n.kids = slices.Delete(n.kids, i, i+1)
	}
	return n.tidy(owner, x.prio)
}

// tidy keeps a tree that shrinks as small as one that was never larger: it drops an empty
// node and joins a node with its only kid. lost is the priority that was removed.
func (n *node[T]) tidy(owner *token, lost uint64) *node[T] {
	if len(n.plain) == 0 && n.regex == nil {
		switch len(n.kids) {
		case 0:
			return nil
		case 1:
			kid := n.kids[0].own(owner)
			kid.text = n.text + kid.text
			return kid
		}
	}
	if lost < n.best {
		return n
	}
	n.best = 0
	if len(n.plain) > 0 {
		n.best = n.plain[0].prio
	}
	if n.regex != nil {
		n.best = max(n.best, n.regex.top)
	}
	for _, k := range n.kids {
		n.best = max(n.best, k.best)
	}
	return n
}

func insertCand[T any](list []cand[T], x cand[T]) []cand[T] {
	i := sort.Search(len(list), func(i int) bool { return !list[i].before(&x) })
	out := make([]cand[T], len(list)+1)
	copy(out, list[:i])
	out[i] = x
	copy(out[i+1:], list[i:])
	return out
}

func removeCand[T any](list []cand[T], x cand[T]) []cand[T] {
	i := slices.IndexFunc(list, func(c cand[T]) bool {
		return c.rule == x.rule && c.port == x.port && c.order == x.order
	})
	if i < 0 {
		return list
	}
	if len(list) == 1 {
		return nil
	}
	out := make([]cand[T], len(list)-1)
	copy(out, list[:i])
	copy(out[i:], list[i+1:])
	return out
}

// swapCand returns a list with x in the place of what is the same with the rule was.
func swapCand[T any](list []cand[T], was *rule[T], x cand[T]) ([]cand[T], bool) {
	i := slices.IndexFunc(list, func(c cand[T]) bool {
		return c.rule == was && c.port == x.port && c.order == x.order
	})
	if i < 0 {
		return list, false
	}
	list = slices.Clone(list)
	list[i] = x
	return list, true
}
