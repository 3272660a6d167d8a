package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/tables"
)

// source asks the pool.
type source struct{ pool *pgxpool.Pool }

func (s source) Query(ctx context.Context, query string, args ...any) (tables.Rows, error) {
	return s.pool.Query(ctx, query, args...)
}

func (s source) View(ctx context.Context) (tables.Asker, func(), error) {
	tx, err := s.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, nil, err
	}
	// A read-only transaction has nothing to lose: when the rollback cannot be sent, the
	// pool drops the connection.
	return view{tx}, func() { _ = tx.Rollback(ctx) }, nil
}

type view struct{ tx pgx.Tx }

func (v view) Query(ctx context.Context, query string, args ...any) (tables.Rows, error) {
	return v.tx.Query(ctx, query, args...)
}

func (s source) Fault(act string, err error) error {
	if unavailable(err) {
		return fmt.Errorf("%s: %w: %w", act, store.ErrUnavailable, err)
	}
	return fmt.Errorf("%s: %w", act, err)
}

// unavailable tells a database that is not there, or not able now, from a bug. What is no
// answer of the server is a broken or missing connection.
func unavailable(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return true
	}
	if len(pg.Code) != 5 {
		return false
	}
	switch pg.Code[:2] {
	case "08", // connection exception
		"28", // authorization: the credentials were rotated, or the proxy before it says so
		"3D", // the database does not exist (a restore is under way)
		"40", // deadlock or serialization: the next try may do
		"53", // out of disk, memory or connections
		"57", // shutdown, start-up, cancelled
		"58": // I/O error
		return true
	}
	switch pg.Code {
	case "25006", // read-only: a standby that was a primary
		"25P03", // idle in transaction for too long
		"55P03": // lock not available
		return true
	}
	return false
}

// constraint reports whether the database refused rows as hurting a constraint.
func constraint(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && len(pg.Code) == 5 && pg.Code[:2] == "23"
}

// answered reports whether err is the server's orderly answer: the transaction is not
// committed. Of anything else (a lost connection, a server that says it goes down) the
// outcome of a commit is not known.
func answered(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Severity == "ERROR"
}
