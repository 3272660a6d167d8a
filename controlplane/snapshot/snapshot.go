// Package snapshot is the configuration at one revision, as nodes may see it: immutable, and
// cheap to make from the one before.
//
// It is pure: no clock, no I/O, no lock. It knows kinds, ids and bytes; it does not know
// what a service is, where changes come from or who gets them. Snapshots share all that did
// not change, so that keeping thousands of them costs what changed between them, and the
// difference between any two, in either direction, costs no more than that either.
// Enter at New and Apply.
package snapshot

import (
	"iter"
	"slices"
	"strings"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// Entry is one entity in a snapshot. It is never changed.
type Entry struct {
	Kind string
	ID   string
	Rev  uint64 // of the entity's last change
	Body []byte
}

// Name is the entry's resource name, "<kind>/<id>".
func (e *Entry) Name() string { return e.Kind + "/" + e.ID }

func (e *Entry) leaf() feedv1.SetHash { return feedv1.Leaf(e.Name(), e.Body) }

// Change is one entity before and after a revision: Before is nil for a creation, After for
// a deletion.
type Change struct {
	Rev    uint64
	Kind   string
	ID     string
	Before []byte
	After  []byte
}

// Rules say what a snapshot makes of what is stored. Both must be pure functions.
type Rules struct {
	// Live tells the kinds that always follow head; all others follow a group's release.
	// nil: no kind is live.
	Live func(kind string) bool

	// Project gives the kind and body that nodes see of an entity, or false when they see
	// nothing of it. nil: everything as stored. It must give the same kind for every body
	// of the same entity, so that a deletion finds what a creation left.
	Project func(kind string, body []byte) (nodeKind string, nodeBody []byte, ok bool)

	// Fixed are entries of every snapshot, also of the empty one: what nodes must know beside
	// the configuration.
	Fixed []Entry
}

// Snapshot is all entities at a revision. It is immutable.
type Snapshot struct {
	epoch  string
	rev    uint64
	rules  *Rules
	sets   []*set // ascending by kind
	len    int
	added  int
	staged feedv1.SetHash
	live   feedv1.SetHash
}

// New returns the snapshot of a history at revision 0, without any entity.
func New(epoch string, rules *Rules) *Snapshot {
	if rules == nil {
		rules = &Rules{}
	}
	s := &Snapshot{epoch: epoch, rules: rules}
	w := writer{snap: s, edit: new(edit)}
	for i := range rules.Fixed {
		w.put(&rules.Fixed[i])
	}
	return s
}

// Apply returns the snapshot at rev, which is s with changes made in their order. It costs
// the changes, not the snapshot. A full build is the empty snapshot with everything applied.
func (s *Snapshot) Apply(rev uint64, changes []Change) *Snapshot {
	next := *s
	next.rev, next.added = rev, 0
	w := writer{snap: &next, edit: new(edit)}
	for i := range changes {
		w.change(&changes[i])
	}
	return &next
}

// Epoch is the id of the history that the snapshot belongs to.
func (s *Snapshot) Epoch() string { return s.epoch }

// Rev is the snapshot's revision.
func (s *Snapshot) Rev() uint64 { return s.rev }

// Len is the number of entries.
func (s *Snapshot) Len() int { return s.len }

// Added is about how many bytes the snapshot holds that the one before it does not.
func (s *Snapshot) Added() int { return s.added }

// Find returns an entry, or nil.
func (s *Snapshot) Find(kind, id string) *Entry {
	if st := s.set(kind); st != nil {
		return find(st.root, id, hash(id), 0)
	}
	return nil
}

// Hash is the set hash of one kind; a kind without entries has the zero hash.
func (s *Snapshot) Hash(kind string) feedv1.SetHash {
	if st := s.set(kind); st != nil {
		return st.hash
	}
	return feedv1.SetHash{}
}

// All yields every entry: kinds ascending, ids in no order.
func (s *Snapshot) All() iter.Seq[*Entry] { return View{Staged: s, Live: s}.All() }

func (s *Snapshot) set(kind string) *set {
	if i, ok := s.place(kind); ok {
		return s.sets[i]
	}
	return nil
}

func (s *Snapshot) place(kind string) (int, bool) {
	return slices.BinarySearchFunc(s.sets, kind, func(st *set, kind string) int {
		return strings.Compare(st.kind, kind)
	})
}

// set is all entries of one kind.
type set struct {
	kind string
	live bool
	root *node
	hash feedv1.SetHash
	edit *edit // who may change the set in place
}
