package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"modernc.org/sqlite"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/tables"
)

// source asks the reading connections.
type source struct{ db *sql.DB }

func (s source) Query(ctx context.Context, query string, args ...any) (tables.Rows, error) {
	return ask(ctx, s.db, query, args)
}

func (s source) View(ctx context.Context) (tables.Asker, func(), error) {
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, nil, err
	}
	return view{tx}, func() { _ = tx.Rollback() }, nil // nothing to lose: it only reads
}

type view struct{ tx *sql.Tx }

func (v view) Query(ctx context.Context, query string, args ...any) (tables.Rows, error) {
	return ask(ctx, v.tx, query, args)
}

type asker interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// ask puts the question in SQLite's spelling of numbered parameters: ?1 for $1.
func ask(ctx context.Context, db asker, query string, args []any) (tables.Rows, error) {
	rows, err := db.QueryContext(ctx, strings.ReplaceAll(query, "$", "?"), args...)
	if err != nil {
		return nil, err
	}
	return answer{rows}, nil
}

// answer is sql.Rows with a quiet Close: what went wrong is in Err.
type answer struct{ *sql.Rows }

func (a answer) Close() { _ = a.Rows.Close() }

func (s source) Fault(act string, err error) error { return fault(act, err) }

// SQLite's primary result codes.
const (
	codeBusy       = 5
	codeLocked     = 6
	codeNoMem      = 7
	codeReadOnly   = 8
	codeInterrupt  = 9
	codeIO         = 10
	codeFull       = 13
	codeCantOpen   = 14
	codeConstraint = 19
)

func primary(err error) int {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Code() & 0xff
}

// fault tells a disk that is full, failing or out of reach from a bug.
func fault(act string, err error) error {
	switch primary(err) {
	case codeBusy, codeLocked, codeNoMem, codeReadOnly, codeInterrupt, codeIO, codeFull, codeCantOpen:
		return fmt.Errorf("%s: %w: %w", act, store.ErrUnavailable, err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w: %w", act, store.ErrUnavailable, err)
	}
	return fmt.Errorf("%s: %w", act, err)
}
