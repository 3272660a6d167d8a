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
		out, err = tables.AppendAudit(entries, func() (last int64, hash []byte, err error) {
			err = s.writer.each(ctx, func(rows tables.Rows) error { return rows.Scan(&last, &hash) }, tables.AuditLast)
			return last, hash, err
		}, func(query string, args ...any) error { return s.writer.exec(ctx, query, args...) })
		return err
	})
	return out, s.Written(ctx, err)
}
