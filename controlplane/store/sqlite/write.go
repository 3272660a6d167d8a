package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/combiner"
	"github.com/sekifuda/sekifuda/controlplane/store/plan"
	"github.com/sekifuda/sekifuda/controlplane/store/tables"
)

// writeTimeout bounds one batch. Nothing but this process writes, so only the disk is
// waited for.
const writeTimeout = 10 * time.Second

// writeBatch is the combiner's: it writes the batch in one transaction.
func (s *Store) writeBatch(batch []store.Commit) ([]plan.Outcome, error) {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	outcomes, head, err := s.turn(ctx, batch)
	if constraint(err) {
		return nil, fmt.Errorf("%w: %w", combiner.ErrConstraint, err)
	}
	if err != nil {
		return nil, fault("write batch", err)
	}
	if head > 0 {
		s.bell.Ring(head)
	}
	return outcomes, nil
}

// turn returns the new head, 0 when nothing was written.
func (s *Store) turn(ctx context.Context, batch []store.Commit) ([]plan.Outcome, uint64, error) {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	ledger, err := load(ctx, tx, plan.Needs(batch))
	if err != nil {
		return nil, 0, err
	}
	outcomes := make([]plan.Outcome, len(batch))
	for i := range batch {
		outcomes[i] = ledger.Apply(&batch[i])
	}
	p := ledger.Plan()
	if p.Empty() {
		return outcomes, 0, nil
	}
	w := writer{ctx: ctx, tx: tx}
	w.takeAway(p)
	w.put(p)
	w.log(p)
	head := p.Revisions[len(p.Revisions)-1].Rev
	w.do(`UPDATE head SET rev = ?1`, int64(head))
	if w.err != nil {
		return nil, 0, w.err
	}
	if err := tx.Commit(); err != nil {
		return nil, 0, err
	}
	return outcomes, head, nil
}

// writer runs statements until one fails.
type writer struct {
	ctx  context.Context
	tx   *sql.Tx
	stmt map[string]*sql.Stmt
	err  error
}

// do runs a statement; each text is prepared once a transaction.
func (w *writer) do(query string, args ...any) {
	if w.err != nil {
		return
	}
	st := w.stmt[query]
	if st == nil {
		if st, w.err = w.tx.PrepareContext(w.ctx, query); w.err != nil {
			return
		}
		if w.stmt == nil {
			w.stmt = map[string]*sql.Stmt{}
		}
		w.stmt[query] = st
	}
	_, w.err = st.ExecContext(w.ctx, args...)
}

// takeAway removes objects, and what those that stay no longer hold.
func (w *writer) takeAway(p *plan.Plan) {
	for _, n := range p.Deletes {
		w.do(`DELETE FROM object WHERE kind = ?1 AND id = ?2`, n.Kind, n.ID)
	}
	for _, k := range p.KeysOff {
		w.do(`DELETE FROM object_key WHERE kind = ?1 AND idx = ?2 AND val = ?3`, k.Owner.Kind, k.What.Index, []byte(k.What.Value))
	}
	for _, r := range p.RefsOff {
		w.do(`DELETE FROM object_ref WHERE src_kind = ?1 AND src_id = ?2 AND field = ?3 AND dst_kind = ?4 AND dst_id = ?5`,
			r.Owner.Kind, r.Owner.ID, r.What.Field, r.What.Kind, r.What.ID)
	}
	for _, t := range p.TagsOff {
		w.do(`DELETE FROM object_tag WHERE kind = ?1 AND id = ?2 AND tag = ?3`, t.Owner.Kind, t.Owner.ID, tables.Indexed(t.What))
	}
}

// put writes objects and what they newly hold.
func (w *writer) put(p *plan.Plan) {
	for _, o := range p.Puts {
		w.do(`INSERT INTO object (kind, id, rev, tags, body) VALUES (?1, ?2, ?3, ?4, ?5)
			ON CONFLICT (kind, id) DO UPDATE SET rev = excluded.rev, tags = excluded.tags, body = excluded.body`,
			o.Name.Kind, o.Name.ID, int64(o.Held.Rev), blob(tables.Tags(o.Held.Tags)), o.Held.Body)
	}
	for _, k := range p.KeysOn {
		w.do(`INSERT INTO object_key (kind, id, idx, val) VALUES (?1, ?2, ?3, ?4)`,
			k.Owner.Kind, k.Owner.ID, k.What.Index, []byte(k.What.Value))
	}
	for _, r := range p.RefsOn {
		w.do(`INSERT INTO object_ref (src_kind, src_id, field, dst_kind, dst_id) VALUES (?1, ?2, ?3, ?4, ?5)`,
			r.Owner.Kind, r.Owner.ID, r.What.Field, r.What.Kind, r.What.ID)
	}
	for _, t := range p.TagsOn {
		form, cut := plan.Indexed(t.What)
		var full any
		if cut {
			full = []byte(t.What)
		}
		w.do(`INSERT INTO object_tag (kind, id, tag, full_tag) VALUES (?1, ?2, ?3, ?4)`, t.Owner.Kind, t.Owner.ID, []byte(form), full)
	}
}

// log writes the change and revision rows.
func (w *writer) log(p *plan.Plan) {
	for _, c := range p.Changes {
		var beforeRev any
		if c.Before != nil {
			beforeRev = int64(c.BeforeRev)
		}
		w.do(`INSERT INTO change (rev, seq, kind, id, before, before_rev, before_tags, after) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)`,
			int64(c.Rev), c.Seq, c.Kind, c.ID, blob(c.Before), beforeRev, blob(tables.Tags(c.BeforeTags)), blob(c.After))
	}
	for _, r := range p.Revisions {
		w.do(`INSERT INTO revision (rev, at_us, actor, message, client, request_id, changes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)`,
			int64(r.Rev), tables.Micros(r.At), r.Actor, r.Message, r.Client, blob(tables.Optional(r.RequestID)), r.Changes)
	}
}

// blob is a column's value: nil is NULL, which a nil []byte in an interface is not to every
// driver.
func blob(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}
