package tables

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/plan"
)

// Records implements store.Records.
func (r *Reader) Records(ctx context.Context, kind string) ([]store.Record, error) {
	if err := plan.CheckNames("kind", kind); err != nil {
		return nil, fmt.Errorf("read records: %w", err)
	}
	var all []store.Record
	err := r.each(ctx, "read records", func(rows Rows) error {
		c := store.Record{Kind: kind}
		var version int64
		err := rows.Scan(&c.ID, &version, &c.Body)
		c.Version, c.Body = uint64(version), present(c.Body, 1)
		all = append(all, c)
		return err
	}, `SELECT id, version, body FROM record WHERE kind = $1 ORDER BY id`, kind)
	if err != nil {
		return nil, err
	}
	return all, nil
}

// WriteRecords implements the writing half of store.Records inside a transaction: run runs a
// statement with numbered parameters and tells how many rows it touched, version reads the
// version of a record that is there, 0 without one.
func WriteRecords(records []store.Record, run func(query string, args ...any) (int64, error), version func(kind, id string) (uint64, error)) error {
	for _, c := range records {
		if err := checkRecord(c); err != nil {
			return err
		}
	}
	// One order for all, or two writers could wait for each other.
	byName := func(a, b store.Record) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID)) }
	for _, c := range slices.SortedFunc(slices.Values(records), byName) {
		n, err := writeRecord(c, run)
		if err != nil {
			return fmt.Errorf("write %s %s: %w", c.Kind, c.ID, err)
		}
		if n == 1 {
			continue
		}
		have, err := version(c.Kind, c.ID)
		if err != nil {
			return fmt.Errorf("read %s %s: %w", c.Kind, c.ID, err)
		}
		return &store.ConflictError{Kind: c.Kind, ID: c.ID, Want: c.Version, Have: have}
	}
	return nil
}

func writeRecord(c store.Record, run func(query string, args ...any) (int64, error)) (int64, error) {
	switch {
	case c.Body == nil:
		return run(`DELETE FROM record WHERE kind = $1 AND id = $2 AND version = $3`, c.Kind, c.ID, signed(c.Version))
	case c.Version == 0:
		return run(`INSERT INTO record (kind, id, version, body) VALUES ($1, $2, 1, $3) ON CONFLICT DO NOTHING`, c.Kind, c.ID, c.Body)
	}
	return run(`UPDATE record SET version = version + 1, body = $4 WHERE kind = $1 AND id = $2 AND version = $3`,
		c.Kind, c.ID, signed(c.Version), c.Body)
}

// RecordVersion is the question for a record's version: of its kind and its id.
const RecordVersion = `SELECT version FROM record WHERE kind = $1 AND id = $2`

func checkRecord(c store.Record) error {
	if err := plan.CheckNames("kind", c.Kind, "id", c.ID); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	if len(c.Body) > store.MaxObjectBytes {
		return &store.TooLargeError{Kind: c.Kind, ID: c.ID, Size: len(c.Body), Limit: store.MaxObjectBytes}
	}
	return nil
}

// Written translates the end of a write that the caller asked under ctx.
func (r *Reader) Written(ctx context.Context, err error) error {
	var conflict *store.ConflictError
	var large *store.TooLargeError
	if err == nil || errors.As(err, &conflict) || errors.As(err, &large) || errors.Is(err, store.ErrInvalid) {
		return err
	}
	return r.fail(ctx, "write records", err)
}
