package schema

import (
	"time"

	"google.golang.org/protobuf/proto"
)

// Render returns the entity as the Admin API shows it: every field, null when unset. m must
// be of the table's message.
func (t *Table) Render(m proto.Message, now time.Time) Body { return t.render(m, now, false) }

// RenderOurs is Render with the settings that Kong does not know.
func (t *Table) RenderOurs(m proto.Message, now time.Time) Body { return t.render(m, now, true) }

func (t *Table) render(m proto.Message, now time.Time, ours bool) Body {
	b, v := t.load(m)
	v.unfold(b)
	v.show(b, ours)
	if t.TTL {
		b["ttl"] = nil
		if at := t.expiry(m); at != 0 {
			b["ttl"] = float64(max(time.Unix(at, 0).Sub(now)/time.Second, 0)) // whole seconds that are left
		}
	}
	return b
}

// unfold adds the fields that are not stored to a loaded body, here and inside.
func (r *record) unfold(b Body) {
	for _, f := range r.fields {
		if f.Internal {
			continue
		}
		v := b[f.Name]
		if v == nil {
			v = f.absent()
			b[f.Name] = v
		}
		f.inside(v, func(r *record, b Body) { r.unfold(b) })
	}
}

// show makes an unfolded body what a client sees.
func (r *record) show(b Body, ours bool) {
	for _, f := range r.fields {
		if f.Ours && !ours {
			delete(b, f.Name)
			continue
		}
		if f.Transient && b[f.Name] == nil && f.Type == Array {
			b[f.Name] = []any{}
		}
		f.inside(b[f.Name], func(r *record, b Body) { r.show(b, ours) })
	}
	for _, s := range r.shorthands {
		// Kong 3.9.1 repeats only those whose message names what replaces them.
		if len(s.path) > 0 && s.dep != nil && len(s.dep.replaced) > 0 {
			b[s.field.Name] = lookup(b, s.path)
		}
	}
}

// absent is what is shown for a field that is not stored: entities written before a required
// field existed show its default.
func (f *Field) absent() any {
	switch {
	case !f.Required || f.Abstract:
		return nil
	case f.HasDefault && f.Type != Record:
		return clone(f.Default)
	case f.Type == Record && f.record != nil:
		m, ok := clone(f.Default).(Body)
		if !ok {
			m = Body{}
		}
		f.record.fill(m)
		return m
	}
	return nil
}

// inside visits the records that a value holds.
func (f *Field) inside(v any, visit func(*record, Body)) {
	switch v := v.(type) {
	case Body:
		switch {
		case f.Type == Record && f.record != nil:
			visit(f.record, v)
		case f.Type == Map && f.Values.record != nil:
			for _, e := range v {
				f.Values.inside(e, visit)
			}
		}
	case []any:
		if f.Elements != nil && f.Elements.record != nil {
			for _, e := range v {
				f.Elements.inside(e, visit)
			}
		}
	}
}
