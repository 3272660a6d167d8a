package sqlite

import (
	"context"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/tables"
)

// AppendAudit implements store.Audit.
func (s *Store) AppendAudit(ctx context.Context, entries []store.AuditEntry) (out []store.AuditEntry, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	err = s.writer.within(ctx, func() error {
		out, err = s.writer.audit(ctx, entries)
		return err
	})
	return out, s.Written(ctx, err)
}

// audit writes entries behind the last one, within a transaction.
func (w *writer) audit(ctx context.Context, entries []store.AuditEntry) ([]store.AuditEntry, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	var last int64
	var hash []byte
	if err := w.each(ctx, func(rows tables.Rows) error { return rows.Scan(&last, &hash) }, tables.AuditLast); err != nil {
		return nil, err
	}
	out := tables.Chain(entries, last, hash)
	for _, e := range out {
		err := w.exec(ctx, `INSERT INTO audit (seq, at_us, body, hash) VALUES (?1, ?2, ?3, ?4)`, int64(e.Seq), tables.Micros(e.At), e.Body, e.Hash)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
