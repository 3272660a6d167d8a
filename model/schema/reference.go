package schema

import (
	"encoding/json"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	optionsv1 "github.com/sekifuda/sekifuda/proto/sekifuda/options/v1"
)

// Reference is where a text is kept: {vault://VAULT/NAME} or, in a JSON object that is kept
// there, {vault://VAULT/NAME/KEY}.
type Reference struct{ Vault, Name, Key string }

// ParseReference reads a text for which IsReference holds. Options behind "?" and versions
// behind "#" are passed over.
func ParseReference(s string) Reference {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "{vault://"), "}")
	s, _, _ = strings.Cut(s, "?")
	s, _, _ = strings.Cut(s, "#")
	var r Reference
	r.Vault, s, _ = strings.Cut(s, "/")
	r.Name, r.Key, _ = strings.Cut(s, "/")
	return r
}

// Of returns what a reference means in the text that is kept under its name: all of it, or a
// member; "" where there is none.
func (r Reference) Of(kept string) string {
	if r.Key == "" {
		return kept
	}
	var members map[string]any
	if json.Unmarshal([]byte(kept), &members) != nil || members[r.Key] == nil {
		return ""
	}
	return fmt.Sprint(members[r.Key])
}

// Resolve puts texts in the place of references in m, wherever the options of a field allow
// them. find returns the text, or false to leave a reference as it is.
func Resolve(m proto.Message, find func(Reference) (string, bool)) {
	resolve(m.ProtoReflect(), find)
}

func resolve(m protoreflect.Message, find func(Reference) (string, bool)) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		o, _ := proto.GetExtension(fd.Options(), optionsv1.E_Field).(*optionsv1.Field)
		text := func(allowed bool, v protoreflect.Value, set func(protoreflect.Value)) {
			s := v.String()
			if !allowed || !IsReference(s) {
				return
			}
			if found, ok := find(ParseReference(s)); ok {
				set(protoreflect.ValueOfString(found))
			}
		}
		switch {
		case fd.IsMap():
			values := fd.MapValue()
			v.Map().Range(func(k protoreflect.MapKey, e protoreflect.Value) bool {
				if values.Message() != nil {
					resolve(e.Message(), find)
				} else if values.Kind() == protoreflect.StringKind {
					text(o.GetValues().GetReferenceable(), e, func(to protoreflect.Value) { v.Map().Set(k, to) })
				}
				return true
			})
		case fd.IsList():
			for i := range v.List().Len() {
				e := v.List().Get(i)
				if fd.Message() != nil {
					resolve(e.Message(), find)
				} else if fd.Kind() == protoreflect.StringKind {
					text(o.GetElements().GetReferenceable(), e, func(to protoreflect.Value) { v.List().Set(i, to) })
				}
			}
		case fd.Message() != nil:
			resolve(v.Message(), find)
		case fd.Kind() == protoreflect.StringKind:
			text(o.GetRule().GetReferenceable(), v, func(to protoreflect.Value) { m.Set(fd, to) })
		}
		return true
	})
}
