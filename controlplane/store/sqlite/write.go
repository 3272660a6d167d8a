package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/combiner"
	"github.com/sekifuda/sekifuda/controlplane/store/plan"
	"github.com/sekifuda/sekifuda/controlplane/store/tables"
)

// write is the combiner's: it writes the batch in one transaction. It has no deadline: the
// file is local, and a half-waited commit would have no answer.
func (s *Store) write(batch []store.Commit) ([]plan.Outcome, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	ctx := context.Background()
	outcomes, p, err := s.writer.write(ctx, batch)
	if primary(err) == codeConstraint {
		return nil, fmt.Errorf("%w: %w", combiner.ErrConstraint, err)
	}
	if err != nil {
		return nil, fault("write batch", err)
	}
	if n := len(p.Revisions); n > 0 {
		s.bell.Ring(p.Revisions[n-1].Rev)
	}
	return outcomes, nil
}

// writer is the writing connection with its prepared statements, one for each text in this
// package.
type writer struct {
	conn       *sql.Conn
	statements map[string]*sql.Stmt
}

func (w *writer) close() error {
	var errs []error
	for _, s := range w.statements {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, w.conn.Close())...)
}

func (w *writer) statement(ctx context.Context, text string) (*sql.Stmt, error) {
	if s, ok := w.statements[text]; ok {
		return s, nil
	}
	s, err := w.conn.PrepareContext(ctx, text)
	if err == nil {
		w.statements[text] = s
	}
	return s, err
}

func (w *writer) exec(ctx context.Context, text string, args ...any) error {
	s, err := w.statement(ctx, text)
	if err != nil {
		return err
	}
	_, err = s.ExecContext(ctx, args...)
	return err
}

// each hands every row of the answer to take.
func (w *writer) each(ctx context.Context, take func(tables.Rows) error, text string, args ...any) error {
	s, err := w.statement(ctx, text)
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := take(answer{rows}); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (w *writer) write(ctx context.Context, batch []store.Commit) (outcomes []plan.Outcome, p *plan.Plan, err error) {
	if err := w.exec(ctx, `BEGIN IMMEDIATE`); err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			// SQLite may have rolled back already (a full disk); then this says so.
			_ = w.exec(ctx, `ROLLBACK`)
		}
	}()
	ledger, err := w.load(ctx, plan.Needs(batch))
	if err != nil {
		return nil, nil, err
	}
	outcomes = make([]plan.Outcome, len(batch))
	for i := range batch {
		outcomes[i] = ledger.Apply(&batch[i])
	}
	p = ledger.Plan()
	if err := w.put(ctx, p); err != nil {
		return nil, nil, err
	}
	if _, err := w.audit(ctx, p.Notes); err != nil {
		return nil, nil, err
	}
	return outcomes, p, w.exec(ctx, `COMMIT`)
}

// load reads what the batch needs.
func (w *writer) load(ctx context.Context, need plan.Need) (*plan.Ledger, error) {
	var head store.Revision
	var rev int64
	err := w.each(ctx, func(rows tables.Rows) error { return rows.Scan(&rev) }, `SELECT rev FROM head`)
	if err != nil {
		return nil, err
	}
	err = w.each(ctx, func(rows tables.Rows) error { return tables.ScanRevision(rows, &head) },
		`SELECT `+tables.RevisionColumns+` FROM revision v WHERE v.rev = ?1`, rev)
	if err != nil {
		return nil, err
	}
	head.Rev = uint64(rev)
	ledger := plan.New(head, time.Now().UTC().Truncate(time.Microsecond))
	for _, id := range need.Requests {
		err := w.each(ctx, func(rows tables.Rows) error {
			var r store.Revision
			err := tables.ScanRevision(rows, &r)
			ledger.SetRequest(r)
			return err
		}, `SELECT `+tables.RevisionColumns+` FROM revision v WHERE v.request_id = ?1`, []byte(id))
		if err != nil {
			return nil, err
		}
	}
	for _, n := range need.Objects {
		if err := w.loadObject(ctx, ledger, n); err != nil {
			return nil, err
		}
	}
	return ledger, w.loadNeighbours(ctx, ledger, need)
}

func (w *writer) loadObject(ctx context.Context, ledger *plan.Ledger, n plan.Name) error {
	found := false
	err := w.each(ctx, func(rows tables.Rows) error {
		var rev int64
		var packed, body []byte
		if err := rows.Scan(&rev, &packed, &body); err != nil {
			return err
		}
		if body == nil {
			body = []byte{} // the driver does not tell an empty body from none
		}
		tags, err := tables.ParseTags(packed)
		ledger.SetObject(n, uint64(rev), tags, body)
		found = true
		return err
	}, `SELECT rev, tags, body FROM object WHERE kind = ?1 AND id = ?2`, n.Kind, n.ID)
	if err != nil || !found {
		return err
	}
	err = w.each(ctx, func(rows tables.Rows) error {
		var k store.Key
		var value []byte
		err := rows.Scan(&k.Index, &value)
		k.Value = string(value)
		ledger.AddKey(n, k)
		return err
	}, `SELECT idx, val FROM object_key WHERE kind = ?1 AND id = ?2`, n.Kind, n.ID)
	if err != nil {
		return err
	}
	return w.each(ctx, func(rows tables.Rows) error {
		var r store.Ref
		err := rows.Scan(&r.Field, &r.Kind, &r.ID)
		ledger.AddRef(n, r)
		return err
	}, `SELECT field, dst_kind, dst_id FROM object_ref WHERE src_kind = ?1 AND src_id = ?2`, n.Kind, n.ID)
}

// loadNeighbours reads of the objects around the batch who holds its keys, whether they
// exist, and whether they refer to what it deletes.
func (w *writer) loadNeighbours(ctx context.Context, ledger *plan.Ledger, need plan.Need) error {
	for _, k := range need.Keys {
		err := w.each(ctx, func(rows tables.Rows) error {
			var id string
			err := rows.Scan(&id)
			ledger.SetHolder(k, id)
			return err
		}, `SELECT id FROM object_key WHERE kind = ?1 AND idx = ?2 AND val = ?3`, k.Kind, k.Index, []byte(k.Value))
		if err != nil {
			return err
		}
	}
	for _, n := range need.Targets {
		err := w.each(ctx, func(rows tables.Rows) error {
			ledger.SetTarget(n)
			return nil
		}, `SELECT 1 FROM object WHERE kind = ?1 AND id = ?2`, n.Kind, n.ID)
		if err != nil {
			return err
		}
	}
	touched := make(map[plan.Name]bool, len(need.Objects))
	for _, n := range need.Objects {
		touched[n] = true
	}
	for _, n := range need.Deleted {
		if err := w.loadOutside(ctx, ledger, n, touched); err != nil {
			return err
		}
	}
	return nil
}

// errEnough ends a reading that has found what it sought.
var errEnough = errors.New("enough")

func (w *writer) loadOutside(ctx context.Context, ledger *plan.Ledger, n plan.Name, touched map[plan.Name]bool) error {
	err := w.each(ctx, func(rows tables.Rows) error {
		var e plan.Edge
		if err := rows.Scan(&e.From.Kind, &e.From.ID, &e.Field); err != nil {
			return err
		}
		if touched[e.From] {
			return nil
		}
		ledger.SetOutside(n, e)
		return errEnough
	}, `SELECT src_kind, src_id, field FROM object_ref WHERE dst_kind = ?1 AND dst_id = ?2
		ORDER BY src_kind, src_id, field`, n.Kind, n.ID)
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}
