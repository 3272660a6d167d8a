package schema

import (
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	keySep  = "\x1f"
	keyNull = "\x00"
)

// Keys returns the unique values that an entity holds: of each unique field that is set, and
// of each combination.
func (t *Table) Keys(m proto.Message) []Key {
	pm := m.ProtoReflect()
	var keys []Key
	for _, f := range t.base.fields {
		if f.Unique && pm.Has(f.fd) {
			keys = append(keys, Key{Index: f.Name, Value: pm.Get(f.fd).String()})
		}
	}
	for _, names := range t.Unique {
		parts := make([]string, len(names))
		for i, n := range names {
			parts[i] = keyPart(pm, t.base.byName[n])
		}
		keys = append(keys, Key{Index: strings.Join(names, ","), Value: strings.Join(parts, keySep)})
	}
	return keys
}

func keyPart(m protoreflect.Message, f *Field) string {
	if !m.Has(f.fd) {
		return keyNull
	}
	return m.Get(f.fd).String()
}

// EndpointKey returns the key under which the endpoint key's value is held. It is the zero
// Key when the kind has no endpoint key, or when that is unique only below an owner: see
// NestedKey.
func (t *Table) EndpointKey(value string) Key {
	if f := t.base.byName[t.Key]; f != nil && f.Unique {
		return Key{Index: t.Key, Value: value}
	}
	return Key{}
}

// NestedKey returns the key by which an entity is found below its owner, which field refers
// to, and the name of the other field: a target of an upstream, a group of a consumer. ok is
// false when nothing but the id names it there.
func (t *Table) NestedKey(field, ownerID, value string) (key Key, name string, ok bool) {
	if k := t.EndpointKey(value); k.Index != "" {
		return k, t.Key, true
	}
	for _, names := range t.Unique {
		if len(names) != 2 {
			continue
		}
		for i, n := range names {
			if n != field {
				continue
			}
			parts := [2]string{value, value}
			parts[i] = ownerID
			return Key{Index: strings.Join(names, ","), Value: strings.Join(parts[:], keySep)}, names[1-i], true
		}
	}
	return Key{}, "", false
}

// Refs returns the references that an entity holds.
func (t *Table) Refs(m proto.Message) []Ref {
	pm := m.ProtoReflect()
	var refs []Ref
	for _, f := range t.base.fields {
		if f.Type == Foreign && pm.Has(f.fd) {
			refs = append(refs, Ref{Field: f.Name, Kind: f.Refers, ID: pm.Get(f.fd).String()})
		}
	}
	return refs
}

// ForeignRef is a reference that a body says by something other than an id.
type ForeignRef struct {
	Field string // of the body: "service"
	Kind  string // kind referred to: "services"
	Key   string // field of that kind: "name"
	Value string
}

// Lookup returns the key to find the entity by.
func (r ForeignRef) Lookup() Key { return Key{Index: r.Key, Value: r.Value} }

// Foreign lists the references in a body that have no id but a value of a unique field of
// the kind referred to. The caller finds the entity and puts Body{"id": id} in its place, or
// answers UnresolvedForeign.
// It needs the table's schema: see New.
func (t *Table) Foreign(body Body) []ForeignRef {
	var refs []ForeignRef
	for _, f := range t.base.fields {
		if f.Type != Foreign {
			continue
		}
		m, ok := body[f.Name].(Body)
		if !ok || m["id"] != nil {
			continue
		}
		to := t.schema.Table(f.Refers)
		if to == nil {
			continue
		}
		for _, u := range to.base.fields {
			if v, ok := m[u.Name].(string); ok && u.Unique && v != "" {
				refs = append(refs, ForeignRef{Field: f.Name, Kind: f.Refers, Key: u.Name, Value: v})
				break
			}
		}
	}
	return refs
}
