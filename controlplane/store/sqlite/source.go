package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"

	"modernc.org/sqlite"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/tables"
)

// source asks the reading connections. Questions stay prepared: SQLite takes as long to read a
// small one as to answer it.
type source struct {
	db       *sql.DB
	prepared *sync.Map // query as in tables -> *sql.Stmt; closed with db
}

func newSource(db *sql.DB) source { return source{db, &sync.Map{}} }

func (s source) Query(ctx context.Context, query string, args ...any) (tables.Rows, error) {
	// Those with many arguments have as many forms as callers have tags.
	if len(args) > 8 {
		return rows(s.db.QueryContext(ctx, spelled(query), args...))
	}
	stmt, err := s.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return rows(stmt.QueryContext(ctx, args...))
}

func (s source) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if stmt, ok := s.prepared.Load(query); ok {
		return stmt.(*sql.Stmt), nil
	}
	stmt, err := s.db.PrepareContext(ctx, spelled(query))
	if err != nil {
		return nil, err
	}
	if first, raced := s.prepared.LoadOrStore(query, stmt); raced {
		_ = stmt.Close() // never asked
		return first.(*sql.Stmt), nil
	}
	return stmt, nil
}

// spelled puts a question in SQLite's spelling of numbered parameters: ?1 for $1.
func spelled(query string) string { return strings.ReplaceAll(query, "$", "?") }

func (s source) View(ctx context.Context) (tables.Asker, func(), error) {
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, nil, err
	}
	return view{tx}, func() { _ = tx.Rollback() }, nil // nothing to lose: it only reads
}

// view asks long questions, for which reading them is nothing.
type view struct{ tx *sql.Tx }

func (v view) Query(ctx context.Context, query string, args ...any) (tables.Rows, error) {
	return rows(v.tx.QueryContext(ctx, spelled(query), args...))
}

func rows(r *sql.Rows, err error) (tables.Rows, error) {
	if err != nil {
		return nil, err
	}
	return answer{r}, nil
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
