package schema

import (
	"strings"

	"google.golang.org/protobuf/proto"
)

// Hidden stands where a secret is not shown.
const Hidden = "(secret)"

// Hide replaces the secrets in b, which shows m, for whoever may look and not know them. What is
// not there is shown so, and a reference to a vault is no secret.
func (t *Table) Hide(m proto.Message, b Body) {
	_, v := t.load(m)
	v.hide(b)
}

// Discreet is a copy of an entity without its secrets, as Hide shows it. A configuration that
// nobody knows is left out.
func (t *Table) Discreet(m proto.Message) (proto.Message, error) {
	b, v := t.load(m)
	v.hide(b)
	for _, f := range v.fields {
		if _, hidden := b[f.Name].(string); hidden && f.Type == Record {
			delete(b, f.Name)
		}
	}
	out := t.message.New()
	if err := v.store(out, b); err != nil {
		return nil, err
	}
	if at := t.expiry(m); at != 0 {
		t.setExpiry(out, at)
	}
	return out.Interface(), nil
}

func (r *record) hide(b Body) {
	for _, f := range r.fields {
		if v, there := b[f.Name]; there {
			b[f.Name] = f.hidden(v)
		}
	}
	for _, s := range r.shorthands {
		if _, there := b[s.field.Name]; there && len(s.path) > 0 {
			b[s.field.Name] = lookup(b, s.path) // as it is shown there now
		}
	}
}

// hidden is a value as it is shown.
func (f *Field) hidden(v any) any {
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		if f.Secret() && v != "" && !strings.HasPrefix(v, "{vault://") {
			return Hidden
		}
		return v
	case []any:
		of := f.Elements
		if of == nil {
			break
		}
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = secretIf(f, of).hidden(e)
		}
		return list
	case Body:
		switch {
		case f.Type == Record && f.record != nil:
			f.record.hide(v)
			return v
		case f.Type == Map && f.Values != nil:
			all := make(Body, len(v))
			for k, e := range v {
				all[k] = secretIf(f, f.Values).hidden(e)
			}
			return all
		}
	}
	if f.Secret() || f.Abstract { // nobody knows what is inside
		return Hidden
	}
	return v
}

// secretIf is what is inside a field that may be secret as a whole.
func secretIf(whole, inside *Field) *Field {
	if !whole.Secret() || inside.Secret() {
		return inside
	}
	c := *inside
	c.said.sensitive = true
	return &c
}
