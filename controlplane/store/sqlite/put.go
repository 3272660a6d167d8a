package sqlite

import (
	"context"

	"github.com/sekifuda/sekifuda/controlplane/store/plan"
	"github.com/sekifuda/sekifuda/controlplane/store/tables"
)

// put writes the plan's rows. Of an empty plan there are none.
func (w *writer) put(ctx context.Context, p *plan.Plan) error {
	if p.Empty() {
		return nil
	}
	t := task{w: w, ctx: ctx}
	t.takeAway(p)
	for _, o := range p.Puts {
		t.do(`INSERT INTO object (kind, id, rev, tags, body) VALUES (?1, ?2, ?3, ?4, ?5)
			ON CONFLICT (kind, id) DO UPDATE SET rev = excluded.rev, tags = excluded.tags, body = excluded.body`,
			o.Name.Kind, o.Name.ID, int64(o.Held.Rev), tables.Tags(o.Held.Tags), o.Held.Body)
	}
	for _, k := range p.KeysOn {
		t.do(`INSERT INTO object_key (kind, id, idx, val) VALUES (?1, ?2, ?3, ?4)`,
			k.Owner.Kind, k.Owner.ID, k.What.Index, []byte(k.What.Value))
	}
	for _, r := range p.RefsOn {
		t.do(`INSERT INTO object_ref (src_kind, src_id, field, dst_kind, dst_id) VALUES (?1, ?2, ?3, ?4, ?5)`,
			r.Owner.Kind, r.Owner.ID, r.What.Field, r.What.Kind, r.What.ID)
	}
	for _, g := range p.TagsOn {
		form, cut := plan.Indexed(g.What)
		var full []byte
		if cut {
			full = []byte(g.What)
		}
		t.do(`INSERT INTO object_tag (kind, id, tag, full_tag) VALUES (?1, ?2, ?3, ?4)`, g.Owner.Kind, g.Owner.ID, []byte(form), full)
	}
	t.putLog(p)
	t.do(`UPDATE head SET rev = ?1`, int64(p.Revisions[len(p.Revisions)-1].Rev))
	return t.err
}

// task does one statement after the other until one fails.
type task struct {
	w   *writer
	ctx context.Context
	err error
}

func (t *task) do(text string, args ...any) {
	if t.err == nil {
		t.err = t.w.exec(t.ctx, text, args...)
	}
}

// takeAway removes objects, and what those that stay no longer hold.
func (t *task) takeAway(p *plan.Plan) {
	for _, n := range p.Deletes {
		t.do(`DELETE FROM object WHERE kind = ?1 AND id = ?2`, n.Kind, n.ID)
	}
	for _, k := range p.KeysOff {
		t.do(`DELETE FROM object_key WHERE kind = ?1 AND idx = ?2 AND val = ?3`, k.Owner.Kind, k.What.Index, []byte(k.What.Value))
	}
	for _, r := range p.RefsOff {
		t.do(`DELETE FROM object_ref WHERE src_kind = ?1 AND src_id = ?2 AND field = ?3 AND dst_kind = ?4 AND dst_id = ?5`,
			r.Owner.Kind, r.Owner.ID, r.What.Field, r.What.Kind, r.What.ID)
	}
	for _, g := range p.TagsOff {
		t.do(`DELETE FROM object_tag WHERE kind = ?1 AND id = ?2 AND tag = ?3`, g.Owner.Kind, g.Owner.ID, tables.Indexed(g.What))
	}
}

// putLog writes the change and revision rows.
func (t *task) putLog(p *plan.Plan) {
	for _, c := range p.Changes {
		var beforeRev *int64
		if c.Before != nil {
			rev := int64(c.BeforeRev)
			beforeRev = &rev
		}
		t.do(`INSERT INTO change (rev, seq, kind, id, before, before_rev, before_tags, after) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)`,
			int64(c.Rev), c.Seq, c.Kind, c.ID, c.Before, beforeRev, tables.Tags(c.BeforeTags), c.After)
	}
	for _, r := range p.Revisions {
		t.do(`INSERT INTO revision (rev, at_us, actor, message, client, request_id, changes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)`,
			int64(r.Rev), tables.Micros(r.At), r.Actor, r.Message, r.Client, tables.Optional(r.RequestID), r.Changes)
	}
}
