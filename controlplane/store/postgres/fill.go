package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/tables"
)

// ErrNotEmpty says that a database that is to be filled has something in it.
var ErrNotEmpty = errors.New("the database is not empty")

// Fill makes the store be what a dump is of, in one transaction, and reads all of it back. The
// store must be as it was made. It returns how many rows each table has.
func (s *Store) Fill(ctx context.Context, d tables.Dump) (map[string]uint64, error) {
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return nil, source{s.pool}.Fault("begin to fill", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // nothing to take back once it is committed
	if err := empty(ctx, tx); err != nil {
		return nil, err
	}
	n := map[string]uint64{}
	for _, t := range tables.Copied {
		sum, err := copyTable(ctx, tx, t, d.Rows(t))
		if err != nil {
			return nil, fmt.Errorf("copy %s: %w", t.Name, err)
		}
		back, err := sumOf(ctx, tx, t)
		if err != nil {
			return nil, fmt.Errorf("read %s back: %w", t.Name, err)
		}
		if back != sum {
			return nil, fmt.Errorf("%s is not what was copied: %d rows, want %d", t.Name, back.Rows, sum.Rows)
		}
		n[t.Name] = sum.Rows
	}
	if _, err := tx.Exec(ctx, `UPDATE head SET epoch = $1, rev = $2, floor = $3`, d.Epoch, int64(d.Rev), int64(d.Floor)); err != nil {
		return nil, fmt.Errorf("write head: %w", err)
	}
	if err := tx.Commit(ctx); err != nil {
		return nil, source{s.pool}.Fault("commit what was copied", err)
	}
	return n, nil
}

// empty locks the head and refuses a store that was used.
func empty(ctx context.Context, tx pgx.Tx) error {
	var head store.Head
	if err := tx.QueryRow(ctx, `SELECT rev FROM head FOR UPDATE`).Scan(&head.Rev); err != nil {
		return fmt.Errorf("read head: %w", err)
	}
	for _, t := range tables.Copied {
		var n int64
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM `+t.Name).Scan(&n); err != nil {
			return fmt.Errorf("look into %s: %w", t.Name, err)
		}
		if n > 0 || head.Rev > 0 {
			return fmt.Errorf("%w: it is at revision %d and has %d rows in %s; make a fresh one (createdb), or drop what is there", ErrNotEmpty, head.Rev, n, t.Name)
		}
	}
	return nil
}

func copyTable(ctx context.Context, tx pgx.Tx, t tables.Table, rows iter.Seq2[[]any, error]) (tables.Sum, error) {
	columns, extra := slices.Clone(t.Columns), []any(nil)
	if t.Name == "revision" { // by whom it was committed matters to nobody any more
		columns, extra = append(columns, "txn"), []any{[]byte{}}
	}
	next, stop := iter.Pull2(rows)
	defer stop()
	var sum tables.Sum
	_, err := tx.CopyFrom(ctx, pgx.Identifier{t.Name}, columns, pgx.CopyFromFunc(func() ([]any, error) {
		row, err, more := next()
		if !more || err != nil {
			return nil, err
		}
		sum.Add(row)
		return append(row, extra...), nil
	}))
	return sum, err
}

func sumOf(ctx context.Context, tx pgx.Tx, t tables.Table) (sum tables.Sum, err error) {
	rows, err := tx.Query(ctx, t.Question())
	if err != nil {
		return sum, err
	}
	defer rows.Close()
	for rows.Next() {
		row, err := rows.Values()
		if err != nil {
			return sum, err
		}
		sum.Add(row)
	}
	return sum, rows.Err()
}
