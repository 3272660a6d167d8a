package plan

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

// Names are words of the schema and UUIDs; the bound keeps every index row far below what
// a database allows.
const maxNameBytes = 128

// Request ids and actors are indexed; an index row of PostgreSQL has a bound of 2,704 bytes.
const maxIndexedBytes = 1023

// opOverhead is what an op weighs beside its own bytes: the rows it makes have a size too.
const opOverhead = 64

// Check reports what is wrong with c in itself, before anything is read: a TooLargeError or
// an error that wraps ErrInvalid. It also tells c's size in bytes.
func Check(c *store.Commit) (size int, err error) {
	if len(c.RequestID) > maxIndexedBytes {
		return 0, fmt.Errorf("request id of %d bytes is above the limit of %d: %w", len(c.RequestID), maxIndexedBytes, store.ErrInvalid)
	}
	if len(c.Actor) > maxIndexedBytes {
		return 0, fmt.Errorf("actor of %d bytes is above the limit of %d: %w", len(c.Actor), maxIndexedBytes, store.ErrInvalid)
	}
	size = len(c.Actor) + len(c.Message) + len(c.Client) + len(c.RequestID)
	for i := range c.Ops {
		op := &c.Ops[i]
		if err := checkNames(op); err != nil {
			return 0, err
		}
		n := opSize(op)
		if n > store.MaxObjectBytes {
			return 0, &store.TooLargeError{Kind: op.Kind, ID: op.ID, Size: n, Limit: store.MaxObjectBytes}
		}
		size += n + opOverhead
	}
	if size > store.MaxCommitBytes {
		return 0, &store.TooLargeError{Size: size, Limit: store.MaxCommitBytes}
	}
	return size, nil
}

func opSize(op *store.Op) int {
	n := len(op.Body)
	for _, t := range op.Tags {
		n += len(t)
	}
	for _, k := range op.Keys {
		n += len(k.Index) + len(k.Value)
	}
	for _, r := range op.Refs {
		n += len(r.Field) + len(r.Kind) + len(r.ID)
	}
	return n
}

func checkNames(op *store.Op) error {
	if err := CheckNames("kind", op.Kind, "id", op.ID); err != nil {
		return err
	}
	for _, k := range op.Keys {
		if err := CheckNames("key index", k.Index); err != nil {
			return fmt.Errorf("%s %s: %w", op.Kind, op.ID, err)
		}
	}
	for _, r := range op.Refs {
		if err := CheckNames("reference field", r.Field, "reference kind", r.Kind, "reference id", r.ID); err != nil {
			return fmt.Errorf("%s %s: %w", op.Kind, op.ID, err)
		}
	}
	return nil
}

// CheckNames takes pairs of a word and a value, and reports the first value that no object
// can be called by: it is empty, above 128 bytes, or not text. The error wraps ErrInvalid.
func CheckNames(pairs ...string) error {
	for i := 0; i+1 < len(pairs); i += 2 {
		what, v := pairs[i], pairs[i+1]
		switch {
		case v == "":
			return fmt.Errorf("%s is empty: %w", what, store.ErrInvalid)
		case len(v) > maxNameBytes:
			return fmt.Errorf("%s of %d bytes is above the limit of %d: %w", what, len(v), maxNameBytes, store.ErrInvalid)
		case !utf8.ValidString(v) || strings.IndexByte(v, 0) >= 0:
			return fmt.Errorf("%s %q is not text: %w", what, v, store.ErrInvalid)
		}
	}
	return nil
}

// Text makes a note of a person or program storable: what is no text becomes U+FFFD.
// Notes are for reading, so a spoilt byte is better than a refused change.
func Text(s string) string {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
