package postgres

import (
	"github.com/jackc/pgx/v5"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/plan"
	"github.com/sekifuda/sekifuda/controlplane/store/tables"
)

func (l *loading) request(rows pgx.Rows) error {
	var r store.Revision
	err := tables.ScanRevision(rows, &r)
	l.add(func(to *plan.Ledger) { to.SetRequest(r) })
	return err
}

func (l *loading) object(rows pgx.Rows) error {
	var n plan.Name
	var rev int64
	var packed, body []byte
	if err := rows.Scan(&n.Kind, &n.ID, &rev, &packed, &body); err != nil {
		return err
	}
	tags, err := tables.ParseTags(packed)
	l.add(func(to *plan.Ledger) { to.SetObject(n, uint64(rev), tags, body) })
	return err
}

func (l *loading) key(rows pgx.Rows) error {
	var n plan.Name
	var k store.Key
	var value []byte
	err := rows.Scan(&n.Kind, &n.ID, &k.Index, &value)
	k.Value = string(value)
	l.add(func(to *plan.Ledger) { to.AddKey(n, k) })
	return err
}

func (l *loading) ref(rows pgx.Rows) error {
	var n plan.Name
	var r store.Ref
	err := rows.Scan(&n.Kind, &n.ID, &r.Field, &r.Kind, &r.ID)
	l.add(func(to *plan.Ledger) { to.AddRef(n, r) })
	return err
}

func (l *loading) target(rows pgx.Rows) error {
	var n plan.Name
	err := rows.Scan(&n.Kind, &n.ID)
	l.add(func(to *plan.Ledger) { to.SetTarget(n) })
	return err
}

func (l *loading) outside(rows pgx.Rows) error {
	var n plan.Name
	var e plan.Edge
	err := rows.Scan(&n.Kind, &n.ID, &e.From.Kind, &e.From.ID, &e.Field)
	l.add(func(to *plan.Ledger) { to.SetOutside(n, e) })
	return err
}

func (l *loading) holder(rows pgx.Rows) error {
	var k plan.Key
	var value []byte
	var id string
	err := rows.Scan(&k.Kind, &k.Index, &value, &id)
	k.Value = string(value)
	l.add(func(to *plan.Ledger) { to.SetHolder(k, id) })
	return err
}
