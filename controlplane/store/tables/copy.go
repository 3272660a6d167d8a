package tables

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

// Table is one that a store is copied by.
type Table struct {
	Name    string
	Columns []string
}

// Copied are the tables of a store, those before that others refer to. The head is none of them.
var Copied = []Table{
	{"revision", []string{"rev", "at_us", "actor", "message", "client", "request_id", "changes"}},
	{"change", []string{"rev", "seq", "kind", "id", "before", "before_rev", "before_tags", "after"}},
	{"object", []string{"kind", "id", "rev", "tags", "body"}},
	{"object_key", []string{"kind", "idx", "val", "id"}},
	{"object_ref", []string{"src_kind", "src_id", "field", "dst_kind", "dst_id"}},
	{"object_tag", []string{"kind", "id", "tag", "full_tag"}},
	{"secret", []string{"name", "value"}},
	{"record", []string{"kind", "id", "version", "body"}},
	{"audit", []string{"seq", "at_us", "body", "hash"}},
}

// Question asks for all of a table.
func (t Table) Question() string {
	return `SELECT ` + strings.Join(t.Columns, ", ") + ` FROM ` + t.Name
}

// Dump is a store as of one moment.
type Dump struct {
	store.Head
	// Rows yields a table's rows, each of int64, string, []byte or nil; it may be asked once for
	// each table.
	Rows func(t Table) iter.Seq2[[]any, error]
}

// ReadDump hands a dump of r to use, and returns its error.
func (r *Reader) ReadDump(ctx context.Context, use func(Dump) error) error {
	view, done, err := r.source.View(ctx)
	if err != nil {
		return r.fail(ctx, "begin to copy", err)
	}
	defer done()
	d := Dump{Rows: func(t Table) iter.Seq2[[]any, error] { return allRows(ctx, view, t) }}
	for row, err := range allRows(ctx, view, Table{"head", []string{"epoch", "rev", "floor"}}) {
		if err != nil {
			return r.fail(ctx, "read head", err)
		}
		var ok [3]bool
		var rev, floor int64
		d.Epoch, ok[0] = row[0].(string)
		rev, ok[1] = row[1].(int64)
		floor, ok[2] = row[2].(int64)
		if ok != [3]bool{true, true, true} {
			return errors.New("read head: its row is damaged")
		}
		d.Rev, d.Floor = uint64(rev), uint64(floor)
	}
	return use(d)
}

func allRows(ctx context.Context, from Asker, t Table) iter.Seq2[[]any, error] {
	return func(yield func([]any, error) bool) {
		rows, err := from.Query(ctx, t.Question())
		if err != nil {
			yield(nil, fmt.Errorf("read %s: %w", t.Name, err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			row, to := make([]any, len(t.Columns)), make([]any, len(t.Columns))
			for i := range row {
				to[i] = &row[i]
			}
			if err := rows.Scan(to...); err != nil {
				yield(nil, fmt.Errorf("read %s: %w", t.Name, err))
				return
			}
			if !yield(row, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(nil, fmt.Errorf("read %s: %w", t.Name, err))
		}
	}
}

// Sum names the rows of a table, in whatever order they come.
type Sum struct {
	Rows  uint64
	lanes [4]uint64
}

// Add takes a row in.
func (s *Sum) Add(row []any) {
	h := sha256.New()
	var b []byte
	for _, v := range row {
		b = b[:0]
		switch v := v.(type) {
		case nil:
			b = append(b, 0)
		case []byte:
			b = append(binary.BigEndian.AppendUint64(append(b, 1), uint64(len(v))), v...)
		case string:
			b = append(binary.BigEndian.AppendUint64(append(b, 2), uint64(len(v))), v...)
		case int64:
			b = binary.BigEndian.AppendUint64(append(b, 3), uint64(v))
		case int32: // PostgreSQL's integer
			b = binary.BigEndian.AppendUint64(append(b, 3), uint64(v))
		default:
			b = fmt.Appendf(append(b, 4), "%T %v", v, v)
		}
		h.Write(b)
	}
	sum := h.Sum(nil)
	s.Rows++
	for i := range s.lanes {
		s.lanes[i] += binary.BigEndian.Uint64(sum[8*i:])
	}
}
