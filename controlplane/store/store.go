// Package store is the contract of the place where configuration lives: entities, their
// unique keys and references, and the append-only log of every change.
//
// It knows kinds, ids and bytes; it does not know what a service or a route is. The same
// contract is kept by store/postgres and store/sqlite, and storetest holds both to it.
// Enter at Store.
package store

import (
	"context"
	"iter"
	"time"
)

// Object is one entity as stored.
type Object struct {
	Kind string   // plural word: "services"
	ID   string   // lower-case UUID text
	Rev  uint64   // revision of the last write; set by the store
	Tags []string // copy of the entity's tags, for filters
	Body []byte   // deterministic protobuf encoding of the entity
}

// Key is one unique value that an object holds: no other object of the kind may hold the
// same value under the same index ("name", "key", ...).
type Key struct {
	Index string
	Value string
}

// Ref is one reference from an object to another.
type Ref struct {
	Field string // field of the referring object: "service"
	Kind  string // kind of the object referred to: "services"
	ID    string
}

// Op is one write inside a commit: it puts an object, or deletes one when Body is nil.
// Keys and Refs replace all that the object held before.
type Op struct {
	Object
	Keys []Key
	Refs []Ref

	// IfMatch, when set, is the revision the object must have (0: it must not exist).
	IfMatch *uint64
}

// Delete reports whether the op removes its object.
func (o *Op) Delete() bool { return o.Body == nil }

// Commit is one change as the user meant it: all ops or none, under one revision.
type Commit struct {
	Ops       []Op
	Actor     string
	Message   string
	Client    string  // agent that asked
	RequestID string  // unique when not empty: a commit that is sent again is answered with the first one's revision
	IfHead    *uint64 // when set, head must be this revision

	// DryRun checks everything, also what only the database sees, and writes nothing: the
	// revision returned is the one it would have been.
	DryRun bool

	// Note, when set, makes the body of an entry of the audit log out of the revision's number.
	// The entry is written with the revision, so that neither can be there without the other; a
	// commit that writes no revision has none. It may be called more than once: of tries of
	// which one succeeds.
	Note func(rev uint64) []byte
}

// Revision is one committed number with its origin.
type Revision struct {
	Rev       uint64
	At        time.Time
	Actor     string
	Message   string
	Client    string
	RequestID string
	Changes   int
}

// Change is one object before and after a revision. Before is nil for a creation, After
// for a deletion.
type Change struct {
	Rev    uint64
	Seq    int
	Kind   string
	ID     string
	Before []byte
	After  []byte
}

// Head is where the configuration stands.
type Head struct {
	Epoch string // UUID; another one after a restore
	Rev   uint64 // last committed revision; 0 on an empty store
	Floor uint64 // changes at or below it are no longer kept
}

// Query selects objects of one kind, ascending by id.
type Query struct {
	Kind  string
	After string // id to start behind; "" from the beginning
	Size  int    // at most so many objects

	// AllTags must all be on the object; of AnyTags at least one, when not empty.
	AllTags []string
	AnyTags []string

	Ref *Ref // only objects with this reference
}

// Tag is one tag on one object.
type Tag struct {
	Kind string
	ID   string
	Tag  string
}

// TagQuery selects tags, ascending by (kind, id), those of an object in its own order.
type TagQuery struct {
	Tag   string // only this one, when not empty
	After *Tag
	Size  int
}

// RevisionQuery selects revisions, newest first.
type RevisionQuery struct {
	Before uint64 // only revisions below it; 0: from head
	Kind   string // with ID: only revisions that touched this object
	ID     string
	Actor  string
	Size   int
}

// Store keeps configuration. All methods may be called concurrently. Errors that a user
// can mend are the types in errors.go; everything else is an outage or a bug.
type Store interface {
	// Head tells where the store stands.
	Head(ctx context.Context) (Head, error)

	// Commit writes all ops of c, their keys, references and change rows under the next
	// revision, or nothing. Revisions have no gaps and their order is commit order: a
	// reader that sees R sees every revision up to R. A commit without ops returns the
	// head's revision and writes nothing. Deleting what does not exist is a ConflictError
	// only if the op says IfMatch, else it is ignored and leaves no change row.
	//
	// Keys and references are judged by the state after the last op, so the order of ops
	// does not matter to them. An object that several ops touch has one change row, in the
	// place of the first; a commit that changes nothing is like one without ops.
	Commit(ctx context.Context, c Commit) (Revision, error)

	// Get returns the object, or ErrNotFound.
	Get(ctx context.Context, kind, id string) (*Object, error)

	// Find returns the object that holds the unique key, or ErrNotFound.
	Find(ctx context.Context, kind string, key Key) (*Object, error)

	// List returns one page of objects.
	List(ctx context.Context, q Query) ([]Object, error)

	// Count returns how many objects there are of each kind.
	Count(ctx context.Context) (map[string]int, error)

	// Referrers returns up to limit objects that refer to (kind, id), each with the
	// reference by which it does, ascending by (kind, id).
	Referrers(ctx context.Context, kind, id string, limit int) ([]Referrer, error)

	// Tags returns one page of tags.
	Tags(ctx context.Context, q TagQuery) ([]Tag, error)

	// Load yields every object as of revision at (0: head), ascending by (kind, id), and
	// tells the revision it read. The view is consistent. Below the floor: ErrCompacted.
	Load(ctx context.Context, at uint64) (rev uint64, objects iter.Seq2[Object, error], err error)

	// Changes yields all changes of revisions in (after, to], ascending by (rev, seq); to 0
	// means head. Below the floor: ErrCompacted.
	Changes(ctx context.Context, after, to uint64) iter.Seq2[Change, error]

	// Wait returns head's revision as soon as it is above after, or when ctx ends.
	// It is woken by a hint (in process, or NOTIFY) and polls as the truth.
	Wait(ctx context.Context, after uint64) (uint64, error)

	// Revision returns one revision's origin, or ErrNotFound.
	Revision(ctx context.Context, rev uint64) (Revision, error)

	// Revisions returns one page of history.
	Revisions(ctx context.Context, q RevisionQuery) ([]Revision, error)

	// Secret returns the cluster's secret of that name. If there is none it stores fresh
	// as the secret, unless another process was first: all callers get the same bytes.
	Secret(ctx context.Context, name string, fresh []byte) ([]byte, error)

	Records
	Audit

	// Renew gives the history another epoch than was: revision numbers may now mean something
	// else than they did to whoever read them before (a restore, a failover that lost commits).
	// Where it has another one already, nothing is done: many may find the same loss.
	Renew(ctx context.Context, was string) error

	// Now is the time by the database's clock: the one that all processes on it share, however
	// wrong their own are.
	Now(ctx context.Context) (time.Time, error)

	// Ping tells whether the database answers.
	Ping(ctx context.Context) error

	// Close waits for commits under way and releases the database.
	Close() error
}

// Referrer is an object that refers to another, and the reference by which it does.
type Referrer struct {
	Object
	Field string
}
