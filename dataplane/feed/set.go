package feed

import (
	"strings"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// set is what the node runs, by resource name, with its hash. The bodies are kept, as they
// came: hashes alone would do for checking moves, but then the disk could not be written
// anew after it was full or damaged, without asking for everything again.
type set struct {
	entries map[string]entry
	hash    feedv1.SetHash
}

type entry struct {
	rev  uint64
	body []byte
}

func newSet() set { return set{entries: make(map[string]entry)} }

// after is the hash that the set will have when changes are made.
func (s *set) after(whole bool, changes []Change) feedv1.SetHash {
	var h feedv1.SetHash
	if !whole {
		h = s.hash
	}
	for i := range changes {
		name := changes[i].name()
		if old, ok := s.entries[name]; ok && !whole {
			h = h.Minus(feedv1.Leaf(name, old.body))
		}
		if changes[i].Body != nil {
			h = h.Plus(feedv1.Leaf(name, changes[i].Body))
		}
	}
	return h
}

// apply makes changes, after which the set has the hash that after told.
func (s *set) apply(whole bool, changes []Change, hash feedv1.SetHash) {
	if whole {
		s.entries = make(map[string]entry, len(changes))
	}
	for i := range changes {
		if c := &changes[i]; c.Body == nil {
			delete(s.entries, c.name())
		} else {
			s.entries[c.name()] = entry{rev: c.Rev, body: c.Body}
		}
	}
	s.hash = hash
}

// changes is everything in the set, in no order.
func (s *set) changes() []Change {
	all := make([]Change, 0, len(s.entries))
	for name, e := range s.entries {
		kind, id, _ := strings.Cut(name, "/")
		all = append(all, Change{Kind: kind, ID: id, Rev: e.rev, Body: e.body})
	}
	return all
}

func (c *Change) name() string { return c.Kind + "/" + c.ID }
