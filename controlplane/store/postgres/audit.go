package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/tables"
)

// lockAudit puts the writers of the audit log in a queue: each needs the hash of the one before.
const lockAudit = `SELECT pg_advisory_xact_lock(hashtextextended(current_schema(), 7355))`

// AppendAudit implements store.Audit.
func (s *Store) AppendAudit(ctx context.Context, at time.Time, body []byte) (e store.AuditEntry, err error) {
	bound, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err = pgx.BeginFunc(bound, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(bound, lockAudit); err != nil {
			return err
		}
		var last int64
		var hash []byte
		if err := tx.QueryRow(bound, tables.AuditLast).Scan(&last, &hash); err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		var insert string
		var args []any
		e, insert, args = tables.NextAudit(last, hash, at, body)
		_, err := tx.Exec(bound, insert, args...)
		return err
	})
	return e, s.Written(ctx, err)
}
