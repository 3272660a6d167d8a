package tables

import (
	"context"
	"fmt"

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

// Chain makes entries the next ones behind the last one, of number seq and with that hash (0 and
// nil for an empty log). The caller is in a transaction that no other writer of the log is in.
func Chain(entries []store.AuditEntry, seq int64, hash []byte) []store.AuditEntry {
	out := make([]store.AuditEntry, len(entries))
	for i, e := range entries {
		seq++
		e.Seq, e.At = uint64(seq), Time(Micros(e.At))
		e.Hash = store.AuditHash(hash, e)
		out[i], hash = e, e.Hash
	}
	return out
}
