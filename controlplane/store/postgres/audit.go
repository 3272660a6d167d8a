package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/tables"
)

// lockAudit puts the writers of the audit log in a queue: each needs the hash of the one before.
// Commits wait for it behind the head's lock; who holds it waits for no other lock, so that
// nobody waits in a ring.
const lockAudit = `SELECT pg_advisory_xact_lock(hashtextextended(current_schema(), 7355))`

// putAudit writes entries in one statement, however many there are.
const putAudit = `INSERT INTO audit (seq, at_us, body, hash) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::bytea[])`

// AppendAudit implements store.Audit.
func (s *Store) AppendAudit(ctx context.Context, entries []store.AuditEntry) (out []store.AuditEntry, err error) {
	bound, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err = pgx.BeginFunc(bound, s.pool, func(tx pgx.Tx) error {
		out, err = appendAudit(bound, tx, entries)
		return err
	})
	return out, s.Written(ctx, err)
}

// appendAudit writes entries behind the last one as the last thing that a transaction does. A
// writer that dies now holds up all others, as in begin, so it is not given long.
func appendAudit(ctx context.Context, tx pgx.Tx, entries []store.AuditEntry) ([]store.AuditEntry, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	for _, statement := range []string{settings, lockAudit} {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return nil, err
		}
	}
	var last int64
	var hash []byte
	if err := tx.QueryRow(ctx, tables.AuditLast).Scan(&last, &hash); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, err
	}
	out := tables.Chain(entries, last, hash)
	_, err := tx.Exec(ctx, putAudit, auditColumns(out)...)
	return out, err
}

func auditColumns(entries []store.AuditEntry) []any {
	n := len(entries)
	numbers, times, bodies, hashes := make([]int64, n), make([]int64, n), make([][]byte, n), make([][]byte, n)
	for i, e := range entries {
		numbers[i], times[i], bodies[i], hashes[i] = int64(e.Seq), tables.Micros(e.At), e.Body, e.Hash
	}
	return []any{numbers, times, bodies, hashes}
}
