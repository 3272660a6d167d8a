package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/tables"
)

// source asks the readers' connections.
type source struct{ db *sql.DB }

func (s source) Query(ctx context.Context, query string, args ...any) (tables.Rows, error) {
	return ask(ctx, s.db, query, args)
}

func (s source) View(ctx context.Context) (tables.Asker, func(), error) {
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, nil, err
	}
	return view{tx}, func() { _ = tx.Rollback() }, nil // it read only
}

func (s source) Fault(act string, err error) error { return fault(act, err) }

// fault tells a disk that is full or gone, which may come back, from a bug.
func fault(act string, err error) error {
	var e *sqlite.Error
	if errors.As(err, &e) {
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR,
			sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_INTERRUPT:
			return fmt.Errorf("%s: %w: %w", act, store.ErrUnavailable, err)
		}
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w: %w", act, store.ErrUnavailable, err)
	}
	return fmt.Errorf("%s: %w", act, err)
}

// constraint reports whether the database refused rows as hurting a constraint.
func constraint(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_CONSTRAINT
}

type view struct{ tx *sql.Tx }

func (v view) Query(ctx context.Context, query string, args ...any) (tables.Rows, error) {
	return ask(ctx, v.tx, query, args)
}

type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// ask runs a query whose parameters are numbered as in PostgreSQL. SQLite numbers with "?".
func ask(ctx context.Context, q queryer, query string, args []any) (tables.Rows, error) {
	r, err := q.QueryContext(ctx, strings.ReplaceAll(query, "$", "?"), args...)
	if err != nil {
		return nil, err
	}
	return rows{r}, nil
}

// rows are database/sql's, whose Close tells again what Err told.
type rows struct{ *sql.Rows }

func (r rows) Close() { _ = r.Rows.Close() }

// Scan keeps an empty blob apart from NULL, which the driver hands over alike but for a type.
func (r rows) Scan(dest ...any) error {
	for i, d := range dest {
		if b, ok := d.(*[]byte); ok {
			dest[i] = &blobColumn{b}
		}
	}
	return r.Rows.Scan(dest...)
}

// blobColumn takes one value: NULL is nil, an empty blob is not.
type blobColumn struct{ to *[]byte }

func (c *blobColumn) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*c.to = nil
	case []byte:
		*c.to = append([]byte{}, v...)
	case string:
		*c.to = []byte(v)
	default:
		return fmt.Errorf("column holds a %T, want a blob", src)
	}
	return nil
}
