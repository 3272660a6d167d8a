// Package block is what a node refuses ahead of its configuration: a set of consumers,
// credentials, routes, services and addresses, each for a while.
//
// It is pure: a Set does not change, and the time is given. It does not know where blocks come
// from. A gate without any has no Set, and pays one look at a pointer. Enter at New.
package block

import (
	"net/netip"
	"slices"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// Entry is one block.
type Entry struct {
	Kind   string // "consumer", "key", "route", "service" or "cidr"
	Target string // an id; of "cidr", the addresses
	Until  time.Time
	// Detail is what who asks why is told: until when, by whom, because of what.
	Detail string
}

// Set is blocks as exchanges look them up. It is safe for concurrent use.
type Set struct {
	entries []Entry
	named   map[thing]*Entry
	levels  []level
}

// thing is what is blocked by an id.
type thing struct{ kind, id string }

// level is the addresses of one length of prefix.
type level struct {
	bits int
	nets map[netip.Prefix]*Entry
}

// New returns the set of those entries that hold at now; nil when none does. An entry that this
// build does not understand is returned too: it is newer than the node, or damaged.
func New(entries []Entry, now time.Time) (s *Set, odd []Entry) {
	s = &Set{named: map[thing]*Entry{}}
	for i := range entries {
		e := entries[i]
		if !now.Before(e.Until) {
			continue
		}
		if !s.add(&e) {
			odd = append(odd, e)
			continue
		}
		s.entries = append(s.entries, e)
	}
	if len(s.entries) == 0 {
		return nil, odd
	}
	return s, odd
}

func (s *Set) add(e *Entry) bool {
	switch e.Kind {
	case "consumer", "key", "route", "service":
		s.named[thing{e.Kind, e.Target}] = e
		return true
	case "cidr":
		p, err := netip.ParsePrefix(e.Target)
		if err != nil {
			return false
		}
		p = p.Masked()
		i := slices.IndexFunc(s.levels, func(l level) bool { return l.bits == p.Bits() })
		if i < 0 {
			i = len(s.levels)
			s.levels = append(s.levels, level{p.Bits(), map[netip.Prefix]*Entry{}})
		}
		s.levels[i].nets[p] = e
		return true
	}
	return false
}

// Entries are the blocks of the set; a nil set has none.
func (s *Set) Entries() []Entry {
	if s == nil {
		return nil
	}
	return s.entries
}

// Next is when the first of them ends.
func (s *Set) Next() time.Time {
	first := s.entries[0].Until
	for _, e := range s.entries[1:] {
		if e.Until.Before(first) {
			first = e.Until
		}
	}
	return first
}

// Client returns the block of an address, or nil.
func (s *Set) Client(a netip.Addr, now time.Time) *Entry {
	a = a.Unmap().WithZone("")
	for _, l := range s.levels {
		p, err := a.Prefix(l.bits)
		if err != nil {
			continue // of the other family
		}
		if e := holds(l.nets[p], now); e != nil {
			return e
		}
	}
	return nil
}

// Way returns the block of a route or its service, or nil.
func (s *Set) Way(r *plugin.Route, v *plugin.Service, now time.Time) *Entry {
	if r != nil {
		if e := holds(s.named[thing{"route", r.ID}], now); e != nil {
			return e
		}
	}
	if v != nil {
		return holds(s.named[thing{"service", v.ID}], now)
	}
	return nil
}

// Who returns the block of a consumer or of the credential by which it was recognised, or nil.
func (s *Set) Who(c *plugin.Consumer, k *plugin.Credential, now time.Time) *Entry {
	if c != nil {
		if e := holds(s.named[thing{"consumer", c.ID}], now); e != nil {
			return e
		}
	}
	if k != nil {
		return holds(s.named[thing{"key", k.ID}], now)
	}
	return nil
}

func holds(e *Entry, now time.Time) *Entry {
	if e == nil || !now.Before(e.Until) {
		return nil
	}
	return e
}
