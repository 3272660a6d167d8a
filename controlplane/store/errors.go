package store

import (
	"errors"
	"fmt"
)

var (
	// ErrNotFound says that no object, key or revision of that name exists.
	ErrNotFound = errors.New("not found")
	// ErrCompacted says that the history asked for is no longer kept.
	ErrCompacted = errors.New("revision is below the history's floor")
	// ErrUnavailable says that the database did not answer in time or is not there. The
	// store mends itself when the database is back. A commit that ends with it may have
	// been written: send it again with the same RequestID.
	ErrUnavailable = errors.New("database is unavailable")
	// ErrInvalid says that a commit or a query is malformed: a kind or id that is empty, too
	// long or not text, a page of negative size. A caller that validates first never sees it.
	ErrInvalid = errors.New("malformed for the store")
	// ErrClosed says that Close was called before.
	ErrClosed = errors.New("store is closed")
)

// Bounds that every store keeps. An entity is written by a person or a tool, a commit by
// one request: above these sizes it is a mistake, and one node's memory pays for it.
const (
	MaxObjectBytes = 1 << 20  // body, keys, references and tags of one op
	MaxCommitBytes = 32 << 20 // all ops and texts of one commit
)

// UniqueError says that another object holds a key that an op wanted.
type UniqueError struct {
	Kind, ID string // the op's object
	Key      Key
	Holder   string // id of the object that holds it; "" when it went away meanwhile
}

func (e *UniqueError) Error() string {
	return fmt.Sprintf("%s %s: %s %q is taken by %s", e.Kind, e.ID, e.Key.Index, e.Key.Value, e.Holder)
}

// ReferenceError says that an op refers to an object that does not exist.
type ReferenceError struct {
	Kind, ID string
	Ref      Ref
}

func (e *ReferenceError) Error() string {
	return fmt.Sprintf("%s %s: %s refers to %s %s, which does not exist", e.Kind, e.ID, e.Ref.Field, e.Ref.Kind, e.Ref.ID)
}

// ReferencedError says that an op deletes an object that another still refers to.
type ReferencedError struct {
	Kind, ID string
	ByKind   string
	ByID     string
	Field    string
}

func (e *ReferencedError) Error() string {
	return fmt.Sprintf("%s %s is referred to by %s %s (%s)", e.Kind, e.ID, e.ByKind, e.ByID, e.Field)
}

// ConflictError says that an object or the head was not at the revision the caller knew.
type ConflictError struct {
	Kind, ID   string // empty: the head
	Want, Have uint64 // 0: does not exist
}

func (e *ConflictError) Error() string {
	if e.Kind == "" {
		return fmt.Sprintf("head is at revision %d, not %d", e.Have, e.Want)
	}
	return fmt.Sprintf("%s %s is at revision %d, not %d", e.Kind, e.ID, e.Have, e.Want)
}

// TooLargeError says that an object or a commit is above the store's bounds.
type TooLargeError struct {
	Kind, ID    string // empty: the whole commit
	Size, Limit int
}

func (e *TooLargeError) Error() string {
	if e.Kind == "" {
		return fmt.Sprintf("commit of %d bytes is above the limit of %d", e.Size, e.Limit)
	}
	return fmt.Sprintf("%s %s of %d bytes is above the limit of %d", e.Kind, e.ID, e.Size, e.Limit)
}
