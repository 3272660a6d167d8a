package postgres

import (
	"context"
	"strconv"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/plan"
	"github.com/sekifuda/sekifuda/controlplane/store/tables"
)

// commit writes the plan, announces it and commits, all in one round trip.
func commit(ctx context.Context, conn *pgxpool.Conn, p *plan.Plan, txn []byte) error {
	var b batched
	takeAway(&b, p)
	put(&b, p)
	putLog(&b, p, txn)
	if len(p.Notes) > 0 {
		b.do(putAudit, auditColumns(p.Notes)...)
	}
	head := p.Revisions[len(p.Revisions)-1].Rev
	b.do(`UPDATE head SET rev = $1 WHERE one = 1`, int64(head))
	b.do(`SELECT pg_notify($1, $2)`, channel, strconv.FormatUint(head, 10))
	b.do(`commit`)
	return b.send(ctx, conn)
}

// takeAway removes objects, and what those that stay no longer hold.
func takeAway(b *batched, p *plan.Plan) {
	if len(p.Deletes) > 0 {
		kinds, ids := columns(p.Deletes)
		b.do(`DELETE FROM object o USING `+named+` WHERE o.kind = x.kind AND o.id = x.id`, kinds, ids)
	}
	if len(p.KeysOff) > 0 {
		kinds, _, indexes, values := keyColumns(p.KeysOff)
		b.do(`DELETE FROM object_key k USING unnest($1::text[], $2::text[], $3::bytea[]) AS x (kind, idx, val)
			WHERE k.kind = x.kind AND k.idx = x.idx AND k.val = x.val`, kinds, indexes, values)
	}
	if len(p.RefsOff) > 0 {
		kinds, ids, fields, toKinds, toIDs := refColumns(p.RefsOff)
		b.do(`DELETE FROM object_ref f USING unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
			AS x (src_kind, src_id, field, dst_kind, dst_id) WHERE f.src_kind = x.src_kind AND f.src_id = x.src_id
			AND f.field = x.field AND f.dst_kind = x.dst_kind AND f.dst_id = x.dst_id`, kinds, ids, fields, toKinds, toIDs)
	}
	if len(p.TagsOff) > 0 {
		kinds, ids, tags, _ := tagColumns(p.TagsOff)
		b.do(`DELETE FROM object_tag t USING unnest($1::text[], $2::text[], $3::bytea[]) AS x (kind, id, tag)
			WHERE t.kind = x.kind AND t.id = x.id AND t.tag = x.tag`, kinds, ids, tags)
	}
}

// put writes objects and what they newly hold.
func put(b *batched, p *plan.Plan) {
	if n := len(p.Puts); n > 0 {
		kinds, ids, revs := make([]string, n), make([]string, n), make([]int64, n)
		tags, bodies := make([][]byte, n), make([][]byte, n)
		for i, o := range p.Puts {
			kinds[i], ids[i], revs[i] = o.Name.Kind, o.Name.ID, int64(o.Held.Rev)
			tags[i], bodies[i] = tables.Tags(o.Held.Tags), o.Held.Body
		}
		b.do(`INSERT INTO object (kind, id, rev, tags, body)
			SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bytea[], $5::bytea[])
			ON CONFLICT (kind, id) DO UPDATE SET rev = excluded.rev, tags = excluded.tags, body = excluded.body`,
			kinds, ids, revs, tags, bodies)
	}
	if len(p.KeysOn) > 0 {
		kinds, ids, indexes, values := keyColumns(p.KeysOn)
		b.do(`INSERT INTO object_key (kind, id, idx, val)
			SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[])`, kinds, ids, indexes, values)
	}
	if len(p.RefsOn) > 0 {
		kinds, ids, fields, toKinds, toIDs := refColumns(p.RefsOn)
		b.do(`INSERT INTO object_ref (src_kind, src_id, field, dst_kind, dst_id)
			SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])`, kinds, ids, fields, toKinds, toIDs)
	}
	if len(p.TagsOn) > 0 {
		kinds, ids, tags, full := tagColumns(p.TagsOn)
		b.do(`INSERT INTO object_tag (kind, id, tag, full_tag)
			SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[])`, kinds, ids, tags, full)
	}
}

// putLog writes the change and revision rows.
func putLog(b *batched, p *plan.Plan, txn []byte) {
	n := len(p.Changes)
	revs, seqs, kinds, ids := make([]int64, n), make([]int32, n), make([]string, n), make([]string, n)
	before, beforeTags, after := make([][]byte, n), make([][]byte, n), make([][]byte, n)
	beforeRevs := make([]*int64, n)
	for i, c := range p.Changes {
		revs[i], seqs[i], kinds[i], ids[i] = int64(c.Rev), int32(c.Seq), c.Kind, c.ID
		before[i], after[i], beforeTags[i] = c.Before, c.After, tables.Tags(c.BeforeTags)
		if c.Before != nil {
			rev := int64(c.BeforeRev)
			beforeRevs[i] = &rev
		}
	}
	b.do(`INSERT INTO change (rev, seq, kind, id, before, before_rev, before_tags, after)
		SELECT * FROM unnest($1::bigint[], $2::integer[], $3::text[], $4::text[], $5::bytea[], $6::bigint[], $7::bytea[], $8::bytea[])`,
		revs, seqs, kinds, ids, before, beforeRevs, beforeTags, after)

	n = len(p.Revisions)
	numbers, times, counts := make([]int64, n), make([]int64, n), make([]int32, n)
	actors, messages, clients, requests := make([]string, n), make([]string, n), make([]string, n), make([][]byte, n)
	for i, r := range p.Revisions {
		numbers[i], times[i], counts[i] = int64(r.Rev), tables.Micros(r.At), int32(r.Changes)
		actors[i], messages[i], clients[i], requests[i] = r.Actor, r.Message, r.Client, tables.Optional(r.RequestID)
	}
	b.do(`INSERT INTO revision (rev, at_us, actor, message, client, request_id, changes, txn)
		SELECT x.*, $8::bytea FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::integer[]) x`,
		numbers, times, actors, messages, clients, requests, counts, txn)
}

func keyColumns(keys []plan.Owned[store.Key]) (kinds, ids, indexes []string, values [][]byte) {
	for _, k := range keys {
		kinds, ids = append(kinds, k.Owner.Kind), append(ids, k.Owner.ID)
		indexes, values = append(indexes, k.What.Index), append(values, []byte(k.What.Value))
	}
	return kinds, ids, indexes, values
}

func refColumns(refs []plan.Owned[store.Ref]) (kinds, ids, fields, toKinds, toIDs []string) {
	for _, r := range refs {
		kinds, ids, fields = append(kinds, r.Owner.Kind), append(ids, r.Owner.ID), append(fields, r.What.Field)
		toKinds, toIDs = append(toKinds, r.What.Kind), append(toIDs, r.What.ID)
	}
	return kinds, ids, fields, toKinds, toIDs
}

func tagColumns(tags []plan.Owned[string]) (kinds, ids []string, forms, full [][]byte) {
	for _, t := range tags {
		form, cut := plan.Indexed(t.What)
		kinds, ids, forms = append(kinds, t.Owner.Kind), append(ids, t.Owner.ID), append(forms, []byte(form))
		var whole []byte
		if cut {
			whole = []byte(t.What)
		}
		full = append(full, whole)
	}
	return kinds, ids, forms, full
}
