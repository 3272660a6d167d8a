package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/tables"
)

// Write implements store.Records.
func (s *Store) Write(ctx context.Context, records []store.Record, notes ...store.AuditEntry) error {
	bound, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err := pgx.BeginFunc(bound, s.pool, func(tx pgx.Tx) error {
		err := tables.WriteRecords(records, func(query string, args ...any) (int64, error) {
			tag, err := tx.Exec(bound, query, args...)
			return tag.RowsAffected(), err
		}, func(kind, id string) (uint64, error) {
			var version int64
			err := tx.QueryRow(bound, tables.RecordVersion, kind, id).Scan(&version)
			if errors.Is(err, pgx.ErrNoRows) {
				err = nil
			}
			return uint64(version), err
		})
		if err == nil {
			_, err = appendAudit(bound, tx, notes)
		}
		return err
	})
	return s.Written(ctx, err)
}
