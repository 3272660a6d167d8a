package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/plan"
	"github.com/sekifuda/sekifuda/controlplane/store/tables"
)

// The head's row lock orders the writers. The advisory lock before it is a better queue:
// who waits for a row lock wakes to find the row changed and starts over. A writer whose
// machine died in the middle holds both until the session's timeout, so that is short.
//
// Every row of a write is reached by an index. A plan that was cached when the tables were
// small would read them whole for as long as the session lives, so the planner may not
// (and a plan it has no choice in must not look so dear that it is compiled).
const (
	beginTx  = `begin isolation level read committed read write`
	settings = `SELECT set_config('idle_in_transaction_session_timeout', '10s', true), set_config('enable_seqscan', 'off', true),
		set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true), set_config('jit', 'off', true)`
	lockTurn = `SELECT pg_advisory_xact_lock(hashtextextended(current_schema(), 7354))`
	lockHead = `SELECT rev, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint FROM head WHERE one = 1 FOR UPDATE`
)

// begun is a transaction that has the head's lock and read what a batch needs. The last entry
// of the audit log is known, and stays the last one, if the batch has notes for it.
type begun struct {
	ledger *plan.Ledger
	seq    int64
	hash   []byte
}

// begin opens the transaction, takes the locks and reads, all in one round trip: a statement
// after a lock sees all that was committed before it.
func begin(ctx context.Context, conn *pgxpool.Conn, need plan.Need) (*begun, error) {
	t := &begun{}
	var rev, now int64
	var head store.Revision
	l := &loading{}
	var b batched
	b.do(beginTx)
	b.do(settings)
	b.do(lockTurn)
	b.ask(func(rows pgx.Rows) error { return rows.Scan(&rev, &now) }, lockHead)
	b.ask(func(rows pgx.Rows) error { return tables.ScanRevision(rows, &head) },
		`SELECT `+tables.RevisionColumns+` FROM revision v WHERE v.rev = (SELECT rev FROM head WHERE one = 1)`)
	l.ask(&b, need)
	if need.Audit { // last: the log is locked no longer than it must
		b.do(lockAudit)
		b.ask(func(rows pgx.Rows) error { return rows.Scan(&t.seq, &t.hash) }, tables.AuditLast)
	}
	if err := b.send(ctx, conn); err != nil {
		return nil, err
	}
	head.Rev = uint64(rev)
	t.ledger = plan.New(head, tables.Time(now))
	for _, set := range l.facts {
		set(t.ledger)
	}
	return t, nil
}

// loading gathers what is read until the ledger can be made.
type loading struct{ facts []func(*plan.Ledger) }

func (l *loading) add(f func(*plan.Ledger)) { l.facts = append(l.facts, f) }

func (l *loading) ask(b *batched, need plan.Need) {
	if len(need.Requests) > 0 {
		ids := make([][]byte, len(need.Requests))
		for i, id := range need.Requests {
			ids[i] = []byte(id)
		}
		b.ask(l.request, `SELECT `+tables.RevisionColumns+` FROM revision v WHERE v.request_id = ANY ($1::bytea[])`, ids)
	}
	if len(need.Objects) == 0 {
		return
	}
	kinds, ids := columns(need.Objects)
	b.ask(l.object, `SELECT o.kind, o.id, o.rev, o.tags, o.body FROM `+named+` JOIN object o ON o.kind = x.kind AND o.id = x.id`, kinds, ids)
	b.ask(l.key, `SELECT k.kind, k.id, k.idx, k.val FROM `+named+` JOIN object_key k ON k.kind = x.kind AND k.id = x.id`, kinds, ids)
	b.ask(l.ref, `SELECT f.src_kind, f.src_id, f.field, f.dst_kind, f.dst_id FROM `+named+` JOIN object_ref f ON f.src_kind = x.kind AND f.src_id = x.id`, kinds, ids)
	if len(need.Keys) > 0 {
		l.askHolders(b, need.Keys)
	}
	if len(need.Targets) > 0 {
		targetKinds, targetIDs := columns(need.Targets)
		b.ask(l.target, `SELECT o.kind, o.id FROM `+named+` JOIN object o ON o.kind = x.kind AND o.id = x.id`, targetKinds, targetIDs)
	}
	if len(need.Deleted) > 0 {
		deletedKinds, deletedIDs := columns(need.Deleted)
		b.ask(l.outside, `SELECT x.kind, x.id, f.src_kind, f.src_id, f.field FROM `+named+` CROSS JOIN LATERAL (
			SELECT r.src_kind, r.src_id, r.field FROM object_ref r WHERE r.dst_kind = x.kind AND r.dst_id = x.id
			AND (r.src_kind, r.src_id) NOT IN (SELECT * FROM unnest($3::text[], $4::text[]))
			ORDER BY r.src_kind, r.src_id, r.field LIMIT 1) f`, deletedKinds, deletedIDs, kinds, ids)
	}
}

const named = `unnest($1::text[], $2::text[]) AS x (kind, id)`

func columns(names []plan.Name) (kinds, ids []string) {
	kinds, ids = make([]string, len(names)), make([]string, len(names))
	for i, n := range names {
		kinds[i], ids[i] = n.Kind, n.ID
	}
	return kinds, ids
}

func (l *loading) askHolders(b *batched, keys []plan.Key) {
	kinds, indexes, values := make([]string, len(keys)), make([]string, len(keys)), make([][]byte, len(keys))
	for i, k := range keys {
		kinds[i], indexes[i], values[i] = k.Kind, k.Index, []byte(k.Value)
	}
	b.ask(l.holder, `SELECT k.kind, k.idx, k.val, k.id FROM unnest($1::text[], $2::text[], $3::bytea[]) AS x (kind, idx, val)
		JOIN object_key k ON k.kind = x.kind AND k.idx = x.idx AND k.val = x.val`, kinds, indexes, values)
}
