package sqlite

import (
	"context"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/tables"
)

// AppendAudit implements store.Audit.
func (s *Store) AppendAudit(ctx context.Context, at time.Time, body []byte) (e store.AuditEntry, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	err = s.writer.within(ctx, func() error {
		var last int64
		var hash []byte
		err := s.writer.each(ctx, func(rows tables.Rows) error { return rows.Scan(&last, &hash) }, tables.AuditLast)
		if err != nil {
			return err
		}
		var insert string
		var args []any
		e, insert, args = tables.NextAudit(last, hash, at, body)
		return s.writer.exec(ctx, insert, args...)
	})
	return e, s.Written(ctx, err)
}
