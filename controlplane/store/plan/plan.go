// Package plan decides what a batch of commits writes. It is pure: given what the tables
// hold of everything the batch touches, it judges each commit in order (is the head, the
// object, the key, the reference as the commit needs it?) and names the rows to write.
//
// It knows no SQL, no lock and no clock: the stores read under their own lock and write the
// plan in one transaction, and their constraints stand behind it. Because the same judge
// serves both databases, they refuse the same commits with the same errors.
// Enter at Needs, then New and Ledger.Apply, then Ledger.Plan.
package plan

import (
	"github.com/sekifuda/sekifuda/controlplane/store"
)

// Name is an object's name: kind and id.
type Name struct{ Kind, ID string }

// Held is an object with all it holds, keys in the form of Indexed. Nobody changes one
// after it was made.
type Held struct {
	Rev  uint64
	Tags []string
	Body []byte
	Keys []store.Key
	Refs []store.Ref
}

// Key is a unique key among all kinds, its value in the form of Indexed.
type Key struct{ Kind, Index, Value string }

// Edge is a reference seen from its referring side.
type Edge struct {
	From  Name
	Field string
}

// Need is what must be read before a batch can be judged.
type Need struct {
	Requests []string // request ids that may have been answered already
	Objects  []Name   // objects the batch touches, with all they hold
	Keys     []Key    // keys that ops want: who holds them?
	Targets  []Name   // objects that ops refer to and do not touch: do they exist?
	Deleted  []Name   // objects that ops delete: does an object outside refer to them?
	Audit    bool     // the end of the audit log
}

// Needs collects what must be read for the batch, each thing once.
func Needs(batch []store.Commit) Need {
	var need Need
	requests, objects := set[string]{}, set[Name]{}
	keys, targets, deleted := set[Key]{}, set[Name]{}, set[Name]{}
	for i := range batch {
		need.Audit = need.Audit || batch[i].Note != nil
		if id := batch[i].RequestID; id != "" && requests.add(id) {
			need.Requests = append(need.Requests, id)
		}
		for j := range batch[i].Ops {
			op := &batch[i].Ops[j]
			name := Name{op.Kind, op.ID}
			if objects.add(name) {
				need.Objects = append(need.Objects, name)
			}
			if op.Delete() {
				if deleted.add(name) {
					need.Deleted = append(need.Deleted, name)
				}
				continue
			}
			for _, k := range op.Keys {
				form, _ := Indexed(k.Value)
				if key := (Key{op.Kind, k.Index, form}); keys.add(key) {
					need.Keys = append(need.Keys, key)
				}
			}
		}
	}
	for i := range batch {
		for j := range batch[i].Ops {
			for _, r := range batch[i].Ops[j].Refs {
				target := Name{r.Kind, r.ID}
				if _, touched := objects[target]; !touched && targets.add(target) {
					need.Targets = append(need.Targets, target)
				}
			}
		}
	}
	return need
}

type set[T comparable] map[T]struct{}

// add puts v into the set and reports whether it is new there.
func (s set[T]) add(v T) bool {
	if _, ok := s[v]; ok {
		return false
	}
	s[v] = struct{}{}
	return true
}

// Outcome is the answer to one commit of a batch.
type Outcome struct {
	Revision store.Revision
	// Written says that the batch writes the revision. Otherwise it stood already: the
	// answer to a request id seen before, or the head for a commit that changes nothing.
	Written bool
	Err     error
}

// Change is a change row: what a reader of the log sees, and what makes the object of
// before whole.
type Change struct {
	store.Change
	BeforeRev  uint64
	BeforeTags []string
}

// Put is an object row to write.
type Put struct {
	Name Name
	Held *Held
}

// Owned is a key, reference or tag row of an object.
type Owned[T any] struct {
	Owner Name
	What  T
}

// Plan is what a batch writes. The order of its fields is an order in which no constraint
// is hurt on the way.
type Plan struct {
	Deletes []Name // with their keys, references and tags
	KeysOff []Owned[store.Key]
	RefsOff []Owned[store.Ref]
	TagsOff []Owned[string]
	Puts    []Put
	KeysOn  []Owned[store.Key]
	RefsOn  []Owned[store.Ref]
	TagsOn  []Owned[string]

	Changes   []Change
	Revisions []store.Revision
	Notes     []store.AuditEntry // of the revisions, for the audit log
}

// Empty reports whether there is nothing to write.
func (p *Plan) Empty() bool { return len(p.Revisions) == 0 }
