package sqlite

import (
	"context"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/tables"
)

// Write implements store.Records.
func (s *Store) Write(ctx context.Context, records []store.Record, notes ...store.AuditEntry) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.Written(ctx, s.writer.records(ctx, records, notes))
}

func (w *writer) records(ctx context.Context, records []store.Record, notes []store.AuditEntry) error {
	return w.within(ctx, func() error {
		err := tables.WriteRecords(records, func(query string, args ...any) (int64, error) {
			s, err := w.statement(ctx, query)
			if err != nil {
				return 0, err
			}
			res, err := s.ExecContext(ctx, args...)
			if err != nil {
				return 0, err
			}
			return res.RowsAffected()
		}, func(kind, id string) (version uint64, err error) {
			var v int64
			err = w.each(ctx, func(rows tables.Rows) error { return rows.Scan(&v) }, tables.RecordVersion, kind, id)
			return uint64(v), err
		})
		if err == nil {
			_, err = w.audit(ctx, notes)
		}
		return err
	})
}

// within does something in one transaction.
func (w *writer) within(ctx context.Context, do func() error) (err error) {
	if err := w.exec(ctx, `BEGIN IMMEDIATE`); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			// The caller's context may have ended: the connection must be free of it all the same.
			_ = w.exec(context.WithoutCancel(ctx), `ROLLBACK`)
		}
	}()
	if err := do(); err != nil {
		return err
	}
	return w.exec(ctx, `COMMIT`)
}
