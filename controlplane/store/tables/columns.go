// Package tables is what the two databases have in common: how values lie in the columns of
// migrations/, and the questions that both are asked in the same words.
//
// It does not know how a database is opened, locked or written; a Source does the asking.
// Enter at NewReader.
package tables

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/store/plan"
)

// Indexed is the form in which a key or a tag lies in an indexed column (plan.Indexed).
func Indexed(v string) []byte {
	form, _ := plan.Indexed(v)
	return []byte(form)
}

// Tags is the form in which an object's tags lie beside it: each with its length before it.
// No tags are nil (NULL).
func Tags(tags []string) []byte {
	if len(tags) == 0 {
		return nil
	}
	var b []byte
	for _, t := range tags {
		b = binary.AppendUvarint(b, uint64(len(t)))
		b = append(b, t...)
	}
	return b
}

var errTags = errors.New("tags column is damaged")

// ParseTags is the other way round.
func ParseTags(b []byte) ([]string, error) {
	var tags []string
	for len(b) > 0 {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)-w) {
			return nil, errTags
		}
		tags = append(tags, string(b[w:w+int(n)]))
		b = b[w+int(n):]
	}
	return tags, nil
}

// Optional is a text column's form where "" is NULL.
func Optional(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}

// Micros is a time's form, and Time the other way round.
func Micros(t time.Time) int64 { return t.UnixMicro() }

// Time is the time of a column of microseconds since 1970, in UTC.
func Time(us int64) time.Time { return time.UnixMicro(us).UTC() }

// signed is a revision's form. No revision is above the largest column value, so a number
// from a caller that is above it may be cut to it.
func signed(rev uint64) int64 { return int64(min(rev, math.MaxInt64)) }
