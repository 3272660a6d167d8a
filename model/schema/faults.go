package schema

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/sekifuda/sekifuda/model/fault"
)

// The faults of the Admin API in Kong's words, so that who answers a request only translates
// their kind.

// Violation makes the fault of a refused body from the tree of what is wrong with it.
func Violation(errs fault.Tree) *fault.Error {
	var texts []string
	if list, ok := errs[atEntity].([]any); ok {
		for _, e := range list {
			texts = append(texts, luaText(e))
		}
	}
	for _, name := range sortedKeys(errs) {
		if name == atEntity {
			if s, ok := errs[name].(string); ok {
				texts = append(texts, s)
			}
			continue
		}
		texts = append(texts, fieldTexts(name, errs[name])...)
	}
	msg := "schema violation (" + strings.Join(texts, "; ") + ")"
	if len(texts) != 1 {
		msg = fmt.Sprintf("%d schema violations (%s)", len(texts), strings.Join(texts, "; "))
	}
	return &fault.Error{Kind: fault.SchemaViolation, Message: msg, Fields: errs}
}

// fieldTexts words what is wrong with one field: one text for each part, two levels deep.
func fieldTexts(name string, bad any) []string {
	var texts []string
	switch bad := bad.(type) {
	case fault.Tree:
		for _, k := range sortedKeys(bad) {
			texts = append(texts, name+"."+k+": "+luaText(bad[k]))
		}
	case []any:
		for i, e := range bad {
			if e != nil {
				texts = append(texts, name+"."+strconv.Itoa(i+1)+": "+luaText(e))
			}
		}
	default:
		texts = append(texts, name+": "+luaText(bad))
	}
	return texts
}

func luaText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return prettyLua(v)
}

func sortedKeys(t fault.Tree) []string {
	keys := make([]string, 0, len(t))
	for k := range t {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// UniqueViolation says that another entity holds the key.
func (t *Table) UniqueViolation(k Key) *fault.Error {
	names := strings.Split(k.Index, ",")
	parts := strings.Split(k.Value, keySep)
	fields := fault.Tree{}
	for i, n := range names {
		if i >= len(parts) {
			break
		}
		switch f := t.base.byName[n]; {
		case parts[i] == keyNull:
			fields[n] = nil
		case f != nil && f.Type == Foreign:
			fields[n] = fault.Tree{"id": parts[i]}
		case len(names) == 1:
			fields[n] = k.Value
		default:
			fields[n] = parts[i]
		}
	}
	return &fault.Error{
		Kind:    fault.UniqueViolation,
		Message: "UNIQUE violation detected on '" + inlineLua(fields) + "'",
		Fields:  fields,
	}
}

// inlineLua writes a flat table on one line.
func inlineLua(t fault.Tree) string {
	var parts []string
	for _, k := range sortedKeys(t) {
		switch v := t[k].(type) {
		case nil:
			parts = append(parts, k+"=null")
		case fault.Tree:
			parts = append(parts, k+"="+inlineLua(v))
		case string:
			parts = append(parts, k+`="`+v+`"`)
		default:
			parts = append(parts, k+"="+luaString(v))
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// InvalidDeclarative refuses a declarative file; errs mirrors the file.
func InvalidDeclarative(errs fault.Tree) *fault.Error {
	return &fault.Error{
		Kind:    fault.InvalidDeclarative,
		Message: "declarative config is invalid: " + luaValue(errs, oneLine),
		Fields:  errs,
	}
}

// PrimaryKeyViolation says that the id is taken.
func PrimaryKeyViolation(id string) *fault.Error {
	fields := fault.Tree{"id": id}
	return &fault.Error{
		Kind:    fault.PrimaryKeyViolation,
		Message: "primary key violation on key '" + inlineLua(fields) + "'",
		Fields:  fields,
	}
}

// InvalidPrimaryKey says that an id cannot be one.
func InvalidPrimaryKey(errs fault.Tree) *fault.Error {
	return &fault.Error{
		Kind:    fault.InvalidPrimaryKey,
		Message: "invalid primary key: '" + inlineLua(errs) + "'",
		Fields:  errs,
	}
}

// NotFound says that no entity has the id.
func NotFound(id string) *fault.Error {
	fields := fault.Tree{"id": id}
	return &fault.Error{
		Kind:    fault.NotFound,
		Message: "could not find the entity with primary key '" + inlineLua(fields) + "'",
		Fields:  fields,
	}
}

// NotFoundBy says that no entity has the value of an endpoint key.
func NotFoundBy(key, value string) *fault.Error {
	fields := fault.Tree{key: value}
	return &fault.Error{
		Kind:    fault.NotFound,
		Message: "could not find the entity with '" + inlineLua(fields) + "'",
		Fields:  fields,
	}
}

// ForeignMissing says that a reference leads nowhere.
func ForeignMissing(r Ref) *fault.Error {
	id := fault.Tree{"id": r.ID}
	return &fault.Error{
		Kind: fault.ForeignKeyViolation,
		Message: fmt.Sprintf("the foreign key '%s' does not reference an existing '%s' entity.",
			inlineLua(id), r.Kind),
		Fields: fault.Tree{r.Field: id},
	}
}

// ReferencedBy says that an entity of kind cannot go because one of kind by refers to it.
func ReferencedBy(by, kind string) *fault.Error {
	return &fault.Error{
		Kind:    fault.ForeignKeyViolation,
		Message: fmt.Sprintf("an existing '%s' entity references this '%s' entity", by, kind),
		Fields:  fault.Tree{"@referenced_by": by},
	}
}

// CAReferenced says that a CA certificate cannot go because an entity lists its id, which is
// no reference to the store.
func CAReferenced(id, by, byID string) *fault.Error {
	return &fault.Error{
		Kind:    fault.ReferencedByOthers,
		Message: fmt.Sprintf("ca certificate %s is still referenced by %s (id = %s)", id, by, byID),
	}
}

// UnresolvedForeign says that a reference by name leads nowhere.
func UnresolvedForeign(field, key, value, kind string) *fault.Error {
	inner := fmt.Sprintf("the foreign key cannot be resolved with '%s' for an existing '%s' entity",
		inlineLua(fault.Tree{key: value}), kind)
	return &fault.Error{
		Kind:    fault.ForeignUnresolved,
		Message: fmt.Sprintf("foreign key unresolved (%s.%s: %s)", field, key, inner),
		Fields:  fault.Tree{field: fault.Tree{key: inner}},
	}
}

// CheckKey tells whether value could be an endpoint key at all: nil, or the fault that Kong
// answers for one that breaks the field's own rules.
func (t *Table) CheckKey(value string) *fault.Error {
	f := t.base.byName[t.Key]
	if f == nil {
		return nil
	}
	_, bad := f.validate(value)
	if bad == nil {
		return nil
	}
	return &fault.Error{
		Kind: fault.InvalidUnique, Name: string(fault.InvalidUnique) + " " + t.Key, Message: luaText(bad),
	}
}

// CheckTag tells whether value could be a tag at all: nil, or the fault that Kong answers.
func (s *Schema) CheckTag(value string) *fault.Error {
	for _, t := range s.tables {
		f := t.Field("tags")
		if f == nil || f.Elements == nil {
			continue
		}
		if _, bad := f.Elements.validate(value); bad != nil {
			return &fault.Error{Kind: fault.InvalidUnique, Name: string(fault.InvalidUnique) + " tag", Message: luaText(bad)}
		}
		return nil
	}
	return nil
}

// InvalidOption refuses what is said beside the entity: "ttl", "tags". Its fields belong
// under "options" in an answer.
func InvalidOption(name, text string) *fault.Error {
	return &fault.Error{
		Kind:    fault.InvalidOptions,
		Message: fmt.Sprintf("invalid option (%s: %s)", name, text),
		Fields:  fault.Tree{name: text},
	}
}

// InvalidSize refuses a page size; number tells whether it was one.
func InvalidSize(number bool) *fault.Error {
	msg := "size must be a number"
	if number {
		msg = "size must be an integer between 1 and 1000"
	}
	return &fault.Error{Kind: fault.InvalidSize, Message: msg}
}

// InvalidOffset refuses a page's offset; why is "bad base64 encoding" or "bad json encoding".
func InvalidOffset(offset, why string) *fault.Error {
	return &fault.Error{
		Kind:    fault.InvalidOffset,
		Message: fmt.Sprintf("'%s' is not a valid offset: %s", offset, why),
	}
}

// CheckPluginProtocols holds a plugin against the routes it acts on: its own, or those of its
// service. It is nil when they share a protocol, or when the service has no route. field is
// "route" or "service".
func CheckPluginProtocols(plugin []string, routes [][]string, field string) *fault.Error {
	if len(routes) == 0 {
		return nil
	}
	for _, r := range routes {
		for _, p := range r {
			for _, q := range plugin {
				if p == q {
					return nil
				}
			}
		}
	}
	msg := "must match the associated route's protocols"
	if field == "service" {
		msg = "must match the protocols of at least one route pointing to this Plugin's service"
	}
	return Violation(fault.Tree{"protocols": msg})
}
