package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/tables"
)

// lockAudit puts the writers of the audit log in a queue: each needs the hash of the one before.
const lockAudit = `SELECT pg_advisory_xact_lock(hashtextextended(current_schema(), 7355))`

// AppendAudit implements store.Audit.
func (s *Store) AppendAudit(ctx context.Context, entries []store.AuditEntry) (out []store.AuditEntry, err error) {
	bound, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err = pgx.BeginFunc(bound, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(bound, lockAudit); err != nil {
			return err
		}
		var b pgx.Batch
		out, err = tables.AppendAudit(entries, func() (last int64, hash []byte, err error) {
			err = tx.QueryRow(bound, tables.AuditLast).Scan(&last, &hash)
			if errors.Is(err, pgx.ErrNoRows) {
				err = nil
			}
			return last, hash, err
		}, func(query string, args ...any) error {
			b.Queue(query, args...)
			return nil
		})
		if err != nil {
			return err
		}
		return tx.SendBatch(bound, &b).Close()
	})
	return out, s.Written(ctx, err)
}
