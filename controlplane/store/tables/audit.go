package tables

import (
	"context"
	"fmt"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

// AuditEntries implements store.Audit.
func (r *Reader) AuditEntries(ctx context.Context, after uint64, size int) ([]store.AuditEntry, error) {
	if size < 0 {
		return nil, fmt.Errorf("read audit log: %w: size %d", store.ErrInvalid, size)
	}
	var all []store.AuditEntry
	err := r.each(ctx, "read audit log", func(rows Rows) error {
		var e store.AuditEntry
		var seq, at int64
		err := rows.Scan(&seq, &at, &e.Body, &e.Hash)
		e.Seq, e.At = uint64(seq), Time(at)
		all = append(all, e)
		return err
	}, `SELECT seq, at_us, body, hash FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2`, signed(after), int64(size))
	return all, err
}

// AuditHead implements store.Audit.
func (r *Reader) AuditHead(ctx context.Context) (uint64, error) {
	var seq int64
	err := r.each(ctx, "read audit log", func(rows Rows) error { return rows.Scan(&seq, new([]byte)) }, AuditLast)
	return uint64(seq), err
}

// AuditLast is the question for the number and the hash of the last entry.
const AuditLast = `SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1`

// NextAudit is an entry behind the last one, and the statement that writes it.
func NextAudit(last int64, hash []byte, at time.Time, body []byte) (e store.AuditEntry, insert string, args []any) {
	e = store.AuditEntry{Seq: uint64(last + 1), At: Time(at.UnixMicro()), Body: body}
	e.Hash = store.AuditHash(hash, e)
	return e, `INSERT INTO audit (seq, at_us, body, hash) VALUES ($1, $2, $3, $4)`, []any{last + 1, at.UnixMicro(), e.Body, e.Hash}
}
