package schema

import (
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// IsID reports whether a path's segment or a reference names an entity by id rather than by
// endpoint key: Kong 3.9.1 takes whatever has the form of a UUID for an id.
func IsID(s string) bool { return isUUID(s) }

// CanonicalID is the form in which ids are stored.
func CanonicalID(s string) string { return strings.ToLower(s) }

// TableOf returns the table of an entity's kind, or nil when the message is not an entity.
func (s *Schema) TableOf(m proto.Message) *Table {
	d := m.ProtoReflect().Descriptor()
	for _, t := range s.tables {
		if t.message.Descriptor() == d {
			return t
		}
	}
	return nil
}

// Ref returns the id that a field of an entity refers to, "" if none.
func (t *Table) Ref(m proto.Message, field string) string { return t.text(m, field) }

// EndpointValue returns an entity's endpoint key, "" if it has none.
func (t *Table) EndpointValue(m proto.Message) string { return t.text(m, t.Key) }

// NameOf returns the name that chooses an entity's config: that of a plugin, of a vault's
// backend. It is "" for kinds without one.
func (t *Table) NameOf(m proto.Message) string {
	if t.abstract == nil {
		return ""
	}
	return t.text(m, "name")
}

// SetID gives an entity an id.
func (t *Table) SetID(m proto.Message, id string) {
	m.ProtoReflect().Set(t.base.byName["id"].fd, protoreflect.ValueOfString(id))
}

// text returns a string field's value.
func (t *Table) text(m proto.Message, field string) string {
	f := t.base.byName[field]
	if f == nil || f.fd == nil || f.fd.Kind() != protoreflect.StringKind || f.fd.Cardinality() == protoreflect.Repeated {
		return ""
	}
	return m.ProtoReflect().Get(f.fd).String()
}

// Secret reports whether a field's value must not be shown or logged.
func (f *Field) Secret() bool { return f.said.encrypted || f.said.sensitive }
