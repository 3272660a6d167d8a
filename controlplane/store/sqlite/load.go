package sqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/plan"
	"github.com/sekifuda/sekifuda/controlplane/store/tables"
)

// load reads what a batch needs. The transaction holds the file's write lock, so nothing
// read here can change before it ends.
func load(ctx context.Context, tx *sql.Tx, need plan.Need) (*plan.Ledger, error) {
	q := loader{ctx: ctx, tx: tx}
	head := q.head()
	if q.err != nil {
		return nil, q.err
	}
	l := plan.New(head, tables.Time(tables.Micros(time.Now())))
	for _, id := range need.Requests {
		q.each(func(r tables.Rows) error {
			var v store.Revision
			err := tables.ScanRevision(r, &v)
			l.SetRequest(v)
			return err
		}, `SELECT `+tables.RevisionColumns+` FROM revision v WHERE v.request_id = $1`, []byte(id))
	}
	for _, n := range need.Objects {
		q.object(l, n)
	}
	for _, k := range need.Keys {
		q.each(func(r tables.Rows) error {
			var id string
			err := r.Scan(&id)
			l.SetHolder(k, id)
			return err
		}, `SELECT id FROM object_key WHERE kind = $1 AND idx = $2 AND val = $3`, k.Kind, k.Index, []byte(k.Value))
	}
	for _, n := range need.Targets {
		q.each(func(tables.Rows) error { l.SetTarget(n); return nil },
			`SELECT 1 FROM object WHERE kind = $1 AND id = $2`, n.Kind, n.ID)
	}
	touched := make(map[plan.Name]bool, len(need.Objects))
	for _, n := range need.Objects {
		touched[n] = true
	}
	for _, n := range need.Deleted {
		q.outside(l, n, touched)
	}
	return l, q.err
}

// loader asks until a question fails.
type loader struct {
	ctx context.Context
	tx  *sql.Tx
	err error
}

func (q *loader) each(take func(tables.Rows) error, query string, args ...any) {
	if q.err != nil {
		return
	}
	r, err := ask(q.ctx, q.tx, query, args)
	if err != nil {
		q.err = err
		return
	}
	defer r.Close()
	for r.Next() {
		if q.err = take(r); q.err != nil {
			return
		}
	}
	q.err = r.Err()
}

// head is the last revision.
func (q *loader) head() store.Revision {
	var head store.Revision
	var rev int64
	q.each(func(r tables.Rows) error { return r.Scan(&rev) }, `SELECT rev FROM head`)
	q.each(func(r tables.Rows) error { return tables.ScanRevision(r, &head) },
		`SELECT `+tables.RevisionColumns+` FROM revision v WHERE v.rev = $1`, rev)
	head.Rev = uint64(rev)
	return head
}

// object reads an object with all that it holds.
func (q *loader) object(l *plan.Ledger, n plan.Name) {
	q.each(func(r tables.Rows) error {
		var rev int64
		var packed, body []byte
		if err := r.Scan(&rev, &packed, &body); err != nil {
			return err
		}
		tags, err := tables.ParseTags(packed)
		if body == nil {
			body = []byte{}
		}
		l.SetObject(n, uint64(rev), tags, body)
		return err
	}, `SELECT rev, tags, body FROM object WHERE kind = $1 AND id = $2`, n.Kind, n.ID)
	q.each(func(r tables.Rows) error {
		var k store.Key
		var value []byte
		err := r.Scan(&k.Index, &value)
		k.Value = string(value)
		l.AddKey(n, k)
		return err
	}, `SELECT idx, val FROM object_key WHERE kind = $1 AND id = $2`, n.Kind, n.ID)
	q.each(func(r tables.Rows) error {
		var f store.Ref
		err := r.Scan(&f.Field, &f.Kind, &f.ID)
		l.AddRef(n, f)
		return err
	}, `SELECT field, dst_kind, dst_id FROM object_ref WHERE src_kind = $1 AND src_id = $2`, n.Kind, n.ID)
}

// outside finds the first object which the batch does not touch and which refers to n.
func (q *loader) outside(l *plan.Ledger, n plan.Name, touched map[plan.Name]bool) {
	found := false
	q.each(func(r tables.Rows) error {
		var e plan.Edge
		if err := r.Scan(&e.From.Kind, &e.From.ID, &e.Field); err != nil || found {
			return err
		}
		if !touched[e.From] {
			l.SetOutside(n, e)
			found = true
		}
		return nil
	}, `SELECT src_kind, src_id, field FROM object_ref WHERE dst_kind = $1 AND dst_id = $2 ORDER BY src_kind, src_id, field`, n.Kind, n.ID)
}
