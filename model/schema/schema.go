// Package schema turns the options of entity and plugin messages into plain tables, once at
// start, and does by those tables all that is the same for every kind: reading JSON and form
// bodies, defaults, validation with Kong's messages, rendering, /schemas, unique keys and
// references. It alone imports protoreflect.
//
// It knows messages and rules; it does not know what a service is (package model does), and
// it does no I/O. Enter at LoadTable and LoadPlugin.
package schema

import (
	"net/url"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Body is a request body as decoded from JSON or a form: nil, bool, float64, string, []any
// and Body as values. A member that is present and nil is an explicit null.
type Body = map[string]any

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

// Field is one field of a table, its rules at hand.
type Field struct {
	Name     string // in JSON
	Type     Type
	Required bool
	Auto     bool
	Unique   bool
	Refers   string // kind referred to, for Foreign
	Cascade  bool   // the entity goes with what this field refers to
	Internal bool
	Ours     bool
	Elements *Field
	Keys     *Field
	Values   *Field
	Fields   []*Field // of a Record

	number protoreflect.FieldNumber
}

// Table is one kind of entity.
type Table struct {
	Kind       string // "keyauth_credentials"
	Path       string // "key-auths"
	NestedPath string // "key-auth"; Path when it has no other
	Key        string // endpoint key: the field that names an entity besides its id; "" if none
	Live       bool
	TTL        bool
	Fields     []*Field
	Unique     [][]string // combinations, besides unique fields
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
}

// Key is one unique value an entity holds. Index is the field's name, or the names joined by
// "," for a combination; Value joins the parts by "\x1f", with "\x00" for a null one.
type Key struct {
	Index string
	Value string
}

// Ref is one reference an entity holds.
type Ref struct {
	Field string
	Kind  string
	ID    string
}

// Schema is all tables and plugins of a build.
type Schema struct{}

// LoadTable reads the options of an entity message.
func LoadTable(d protoreflect.MessageDescriptor) (*Table, error) { panic("not yet") }

// LoadPlugin reads the options of a plugin's config message.
func LoadPlugin(d protoreflect.MessageDescriptor) (*Plugin, error) { panic("not yet") }

// Table returns the table of a kind, or nil.
func (s *Schema) Table(kind string) *Table { panic("not yet") }

// Tables returns every table.
func (s *Schema) Tables() []*Table { panic("not yet") }

// Plugin returns a plugin's schema by name, or nil.
func (s *Schema) Plugin(name string) *Plugin { panic("not yet") }

// Insert makes an entity of a POST or PUT body: shorthands, automatic values, defaults, then
// all rules. A refused body is a *fault.Error that names every violation.
func (t *Table) Insert(body Body, now time.Time) (proto.Message, error) { panic("not yet") }

// Update makes the next state of an entity of a PATCH body. old is not changed.
func (t *Table) Update(old proto.Message, body Body, now time.Time) (proto.Message, error) {
	panic("not yet")
}

// Validate is Insert for POST /schemas/{kind}/validate.
func (t *Table) Validate(body Body, now time.Time) error { panic("not yet") }

// Render returns the entity as the Admin API shows it: every field, null when unset.
func (t *Table) Render(m proto.Message, now time.Time) Body { panic("not yet") }

// Form gives a decoded form the types that the table asks for.
func (t *Table) Form(values url.Values) Body { panic("not yet") }

// JSON returns the body of GET /schemas/{kind}.
func (t *Table) JSON() Body { panic("not yet") }

// Keys returns the unique values that an entity holds.
func (t *Table) Keys(m proto.Message) []Key { panic("not yet") }

// Refs returns the references that an entity holds.
func (t *Table) Refs(m proto.Message) []Ref { panic("not yet") }

// ID returns an entity's id.
func (t *Table) ID(m proto.Message) string { panic("not yet") }

// Tags returns an entity's tags.
func (t *Table) Tags(m proto.Message) []string { panic("not yet") }

// New returns an empty entity of the table's message.
func (t *Table) New() proto.Message { panic("not yet") }

// JSON returns the body of GET /schemas/plugins/{name}.
func (p *Plugin) JSON() Body { panic("not yet") }
