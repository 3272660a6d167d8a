package hamt

import "math/bits"

// Diff calls f for every key whose value is not the same in both maps. gone and come say
// whether the key was in old and is in new. Parts that the maps share are not visited, so
// it costs what changed. Both maps must come from one New.
func Diff[V comparable](old, new Map[V], f func(key string, was, is V, gone, come bool)) {
	diff(old.root, new.root, 0, f)
}

func diff[V comparable](a, b *node[V], shift int, f func(string, V, V, bool, bool)) {
	switch {
	case a == b:
	case a == nil || b == nil || shift >= 64:
		diffContent(a.content(), b.content(), f)
	default:
		for used := a.leafMap | a.kidMap | b.leafMap | b.kidMap; used != 0; used &= used - 1 {
			bit := used & -used
			ka, kb := a.kidAt(bit), b.kidAt(bit)
			if ka != nil && kb != nil {
				diff(ka, kb, shift+width, f)
				continue
			}
			diffContent(a.contentAt(bit), b.contentAt(bit), f)
		}
	}
}

func (n *node[V]) kidAt(bit uint64) *node[V] {
	if n.kidMap&bit == 0 {
		return nil
	}
	return n.kids[bits.OnesCount64(n.kidMap&(bit-1))]
}

// contentAt returns the leaves at one position of a node, whether they are its own or below.
func (n *node[V]) contentAt(bit uint64) []leaf[V] {
	if n.leafMap&bit != 0 {
		i := bits.OnesCount64(n.leafMap & (bit - 1))
		return n.leaves[i : i+1]
	}
	return n.kidAt(bit).content()
}

func (n *node[V]) content() []leaf[V] {
	var out []leaf[V]
	n.each(func(key string, v V) bool {
		out = append(out, leaf[V]{key, v})
		return true
	})
	return out
}

func diffContent[V comparable](was, is []leaf[V], f func(string, V, V, bool, bool)) {
	var none V
	now := make(map[string]V, len(is))
	for _, l := range is {
		now[l.key] = l.val
	}
	for _, l := range was {
		v, ok := now[l.key]
		delete(now, l.key)
		switch {
		case !ok:
			f(l.key, l.val, none, true, false)
		case v != l.val:
			f(l.key, l.val, v, true, true)
		}
	}
	for _, l := range is {
		if v, ok := now[l.key]; ok {
			f(l.key, none, v, false, true)
		}
	}
}
