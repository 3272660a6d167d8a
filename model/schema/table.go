package schema

import (
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Type is the kind of a field's value, in Kong's words.
type Type string

// The types.
const (
	String  Type = "string"
	Integer Type = "integer"
	Number  Type = "number"
	Boolean Type = "boolean"
	Array   Type = "array"
	Set     Type = "set"
	Map     Type = "map"
	Record  Type = "record"
	Foreign Type = "foreign"
)

// Field is one field of a table, its rules at hand. It is read-only after load.
type Field struct {
	Name       string // in JSON
	Type       Type
	Required   bool
	Auto       bool
	Unique     bool
	Refers     string // kind referred to, for Foreign
	Cascade    bool   // the entity goes with what this field refers to
	Internal   bool
	Ours       bool
	Transient  bool // not stored with the entity but derived when it is read
	Abstract   bool // a record whose type the entity's name chooses
	Default    any  // as in a Body; nil when there is none
	HasDefault bool // tells a default of null from none
	Elements   *Field
	Keys       *Field
	Values     *Field
	Fields     []*Field // of a Record

	fd     protoreflect.FieldDescriptor // nil for elements, keys and values
	said   said
	rule   rule
	record *record
	refers *Table // the table of Refers; nil until the schema is joined
}

// said is what /schemas repeats and nothing else asks for.
type said struct {
	optional    bool
	defaultNull bool
	notUnique   bool
	acrossWS    bool
	encrypted   bool
	sensitive   bool
	refable     bool
	onDelete    string
	deprecation *deprecation
}

// deprecation says that a field or a shorthand goes, and what comes instead.
type deprecation struct {
	message    string
	removal    string
	oldDefault any
	hasDefault bool
	replaced   [][]string
}

// record is the fields of one message and the rules over several of them.
type record struct {
	fields     []*Field
	byName     map[string]*Field
	shorthands []*shorthand
	checks     []*check
	whole      wholeCheck
	absent     []string // fields of another router_flavor
	element    bool     // of a list or a map
}

// shorthand is another spelling of fields of its record.
type shorthand struct {
	field  *Field // type and rule of the value
	path   []string
	dep    *deprecation
	expand Expansion
}

// variant is a record with the rules that one value of a field adds: a plugin's name, a
// route's protocols.
type variant struct {
	*record
	name   string
	values []string
	extra  []*check // run after the record's own
	plugin *Plugin
}

// Table is one kind of entity. It is read-only after load and may be used concurrently.
type Table struct {
	Kind       string // "keyauth_credentials"
	Path       string // "key-auths"
	NestedPath string // "key-auth"; Path when it has no other
	NestedOnly bool   // only reachable below its owner
	Key        string // endpoint key: the field that names an entity besides its id; "" if none
	Live       bool
	TTL        bool
	Fields     []*Field
	Unique     [][]string // combinations, besides unique fields

	message  protoreflect.MessageType
	base     *variant
	by       *Field // chooses the variant
	variants []*variant
	named    map[string]*variant // of an abstract record, by the entity's name
	abstract *Field
	meaning  Meaning
	schema   *Schema // the tables that its references lead to; set by New
}

// Plugin is one plugin's options and the table of its config.
type Plugin struct {
	Name             string
	Priority         int
	Version          string
	Protocols        []string
	DefaultProtocols []string
	NoConsumer       bool
	NoService        bool
	NoRoute          bool
	ProtocolsFirst   bool   // in /schemas
	Config           *Field // a Record

	message protoreflect.MessageType
	checks  []*check
}

// Field returns the field of that name, or nil.
func (t *Table) Field(name string) *Field { return t.base.byName[name] }

// Config returns the schema of the config that an entity of that name has, for a kind with an
// abstract config ("plugins", "vaults"); nil when nobody registered the name.
func (t *Table) Config(name string) *Plugin {
	if v := t.named[name]; v != nil {
		return v.plugin
	}
	return nil
}

// variantFor picks the rules that hold for an entity. The second result is the text of the
// violation when there are none.
func (t *Table) variantFor(body Body) (*variant, string) {
	switch {
	case t.named != nil:
		return t.variantByName(body["name"])
	case t.by != nil:
		return t.variantByValues(body[t.by.Name])
	}
	return t.base, ""
}

func (t *Table) variantByName(v any) (*variant, string) {
	if v == nil {
		return nil, msgRequired
	}
	name, ok := v.(string)
	if !ok {
		return nil, "expected a string"
	}
	if got := t.named[name]; got != nil {
		return got, ""
	}
	return nil, t.unknownName(name)
}

// variantByValues takes the first value that names a variant, as Kong 3.9.1 does.
func (t *Table) variantByValues(v any) (*variant, string) {
	switch v := v.(type) {
	case nil:
		return nil, msgRequired
	case string:
		if got := t.variantOf(v); got != nil {
			return got, ""
		}
		return nil, "unknown type: " + v
	case []any:
		for _, e := range v {
			if s, ok := e.(string); ok {
				if got := t.variantOf(s); got != nil {
					return got, ""
				}
			}
		}
		if len(v) == 0 {
			return nil, "unknown type: nil"
		}
		return nil, "unknown type: " + luaString(v[0])
	case Body:
		if len(v) == 0 {
			return nil, "unknown type: nil"
		}
	}
	return nil, "expected a set"
}

func (t *Table) variantOf(value string) *variant {
	for _, v := range t.variants {
		for _, s := range v.values {
			if s == value {
				return v
			}
		}
	}
	return nil
}

func (t *Table) unknownName(name string) string {
	if t.meaning.UnknownName != nil {
		return t.meaning.UnknownName(name)
	}
	return "unknown type: " + name
}
