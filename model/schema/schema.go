// Package schema turns the options of entity and plugin messages into plain tables, once at
// start, and does by those tables all that is the same for every kind: reading JSON and form
// bodies, defaults, validation with Kong's messages, rendering, /schemas, unique keys and
// references. It alone imports protoreflect.
//
// It knows messages and rules; it does not know what a service is (package model does), and
// it does no I/O. Enter at LoadTable and LoadPlugin.
package schema

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
)

// Body is a request body as decoded from JSON or a form: nil, bool, float64, string, []any
// and Body as values. A member that is present and nil is an explicit null.
type Body = map[string]any

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

// Schema is all tables and plugins of a build. It is read-only and may be used concurrently.
type Schema struct {
	// RouterFlavor is Kong's word for the language of routes; it is set before first use.
	RouterFlavor string

	tables  []*Table
	byKind  map[string]*Table
	plugins []*Plugin
	byName  map[string]*Plugin
}

// New joins tables and plugins: kind "plugins" takes its configs from plugins, every other
// table with an abstract config from the entry of configs for its kind.
func New(tables []*Table, plugins []*Plugin, configs map[string][]*Plugin) (*Schema, error) {
	s := &Schema{
		tables: tables, byKind: make(map[string]*Table, len(tables)),
		plugins: plugins, byName: make(map[string]*Plugin, len(plugins)),
	}
	for _, p := range plugins {
		if s.byName[p.Name] != nil {
			return nil, fmt.Errorf("join schema: plugin %q is there twice", p.Name)
		}
		s.byName[p.Name] = p
	}
	for _, t := range tables {
		if s.byKind[t.Kind] != nil {
			return nil, fmt.Errorf("join schema: kind %q is there twice", t.Kind)
		}
		s.byKind[t.Kind] = t
		t.schema = s
		if t.abstract == nil {
			continue
		}
		named := configs[t.Kind]
		if t.Kind == "plugins" {
			named = plugins
		}
		if err := t.register(named); err != nil {
			return nil, fmt.Errorf("join schema: %w", err)
		}
	}
	return s, s.joinRefs()
}

// joinRefs ties references to their tables. One to a kind that is not there is a bug of the
// build.
func (s *Schema) joinRefs() error {
	for _, t := range s.tables {
		for _, f := range t.Fields {
			if f.Type != Foreign {
				continue
			}
			if f.refers = s.byKind[f.Refers]; f.refers == nil {
				return fmt.Errorf("join schema: %s.%s refers to unknown kind %q", t.Kind, f.Name, f.Refers)
			}
		}
	}
	return nil
}

// Table returns the table of a kind, or nil.
func (s *Schema) Table(kind string) *Table {
	if s == nil {
		return nil
	}
	return s.byKind[kind]
}

// Tables returns every table, in the order in which they were given.
func (s *Schema) Tables() []*Table { return s.tables }

// Plugin returns a plugin's schema by name, or nil.
func (s *Schema) Plugin(name string) *Plugin { return s.byName[name] }

// Plugins returns every plugin, in the order in which they were given.
func (s *Schema) Plugins() []*Plugin { return s.plugins }

// Insert makes an entity of a POST or PUT body: shorthands, automatic values, defaults, then
// all rules. body is not changed. A refused body is a *fault.Error that names every violation.
func (t *Table) Insert(body Body, now time.Time) (proto.Message, error) {
	return t.insert(body, now, inserted)
}

// Restore is Insert of what a store gave: a password is there in the form that is kept.
func (t *Table) Restore(body Body, now time.Time) (proto.Message, error) {
	return t.insert(body, now, restored)
}

// Validate is Insert for POST /schemas/{kind}/validate.
func (t *Table) Validate(body Body, now time.Time) error {
	_, err := t.insert(body, now, judged)
	return err
}

// ID returns an entity's id, "" if it has none.
func (t *Table) ID(m proto.Message) string {
	f := t.base.byName["id"]
	if f == nil || f.fd == nil {
		return ""
	}
	return m.ProtoReflect().Get(f.fd).String()
}

// Tags returns an entity's tags.
func (t *Table) Tags(m proto.Message) []string {
	f := t.base.byName["tags"]
	if f == nil || f.Type != Set {
		return nil
	}
	l := m.ProtoReflect().Get(f.fd).List()
	tags := make([]string, l.Len())
	for i := range tags {
		tags[i] = l.Get(i).String()
	}
	return tags
}

// New returns an empty entity of the table's message.
func (t *Table) New() proto.Message { return t.message.New().Interface() }
