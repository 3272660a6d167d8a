// Package document reads declarative files: the format of Kong's and decK's, entities by
// kind, children below their owners, references by name.
//
// It knows tables and YAML; it does no I/O and does not know where entities are kept: what
// exists already is lent to it. Enter at Parse, then Document.Plan.
package document

import (
	"fmt"
	"sort"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/sekifuda/sekifuda/model/schema"
)

// Document is the entities of one file.
type Document struct {
	// SelectTags are the tags that _info asks for on every entity.
	SelectTags []string
	items      []*item
	schema     *schema.Schema
}

// item is one entity as the file says it.
type item struct {
	table *schema.Table
	body  schema.Body
	where string // "services[0].routes[1]"
	owner *item  // the entity it stands below, if any
	link  string // the field that refers to the owner
	id    string // known once planned
}

// formats are the versions of the format that Kong 3.9 reads.
var formats = map[string]bool{"1.1": true, "2.1": true, "3.0": true}

// Parse reads a document in YAML or JSON. An error says where in the document it is.
func Parse(raw []byte, s *schema.Schema) (*Document, error) {
	var tree any
	if err := yaml.Unmarshal(raw, &tree); err != nil {
		return nil, fmt.Errorf("not YAML: %w", err)
	}
	root, ok := plain(tree).(schema.Body)
	if !ok {
		return nil, fmt.Errorf("expected an object with kinds of entities as members")
	}
	d := &Document{schema: s}
	if err := d.readHead(root); err != nil {
		return nil, err
	}
	for _, key := range sortedKeys(root) {
		if strings.HasPrefix(key, "_") {
			continue
		}
		t := d.kind(key)
		if t == nil {
			return nil, fmt.Errorf("%s: no kind of entity has this name", key)
		}
		if err := d.readList(key, root[key], t, nil, ""); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// readHead reads the members that begin with an underscore.
func (d *Document) readHead(root schema.Body) error {
	for key, v := range root {
		switch key {
		case "_format_version":
			if version := fmt.Sprint(v); !formats[version] && !formats[version+".0"] {
				return fmt.Errorf("_format_version: %q is not one of 1.1, 2.1, 3.0", version)
			}
		case "_info":
			info, _ := v.(schema.Body)
			tags, _ := info["select_tags"].([]any)
			for _, tag := range tags {
				d.SelectTags = append(d.SelectTags, fmt.Sprint(tag))
			}
		case "_transform", "_comment", "_ignore", "_workspace":
		default:
			if strings.HasPrefix(key, "_") {
				return fmt.Errorf("%s: unknown field", key)
			}
		}
	}
	return nil
}

// kind finds a table by the name that files use for it: the kind or the path.
func (d *Document) kind(name string) *schema.Table {
	if t := d.schema.Table(name); t != nil {
		return t
	}
	for _, t := range d.schema.Tables() {
		if t.Path == name {
			return t
		}
	}
	return nil
}

func (d *Document) readList(where string, v any, t *schema.Table, owner *item, link string) error {
	if v == nil {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		return fmt.Errorf("%s: expected a list", where)
	}
	for i, x := range list {
		at := fmt.Sprintf("%s[%d]", where, i)
		body, ok := x.(schema.Body)
		if !ok {
			return fmt.Errorf("%s: expected an object", at)
		}
		if err := d.readItem(at, body, t, owner, link); err != nil {
			return err
		}
	}
	return nil
}

func (d *Document) readItem(where string, body schema.Body, t *schema.Table, owner *item, link string) error {
	it := &item{table: t, body: body, where: where, owner: owner, link: link}
	d.items = append(d.items, it)
	for _, key := range sortedKeys(body) {
		child, field := d.child(t, key)
		if child == nil || !holdsObjects(body[key]) && t.Field(key) != nil {
			continue
		}
		list := body[key]
		delete(body, key)
		if err := d.readList(where+"."+key, list, child, it, field); err != nil {
			return err
		}
	}
	for _, tag := range d.SelectTags {
		addTag(body, tag)
	}
	return nil
}

// child finds the kind of which entities may stand below t under that name, and the field
// by which they refer to t.
func (d *Document) child(t *schema.Table, name string) (*schema.Table, string) {
	for _, c := range d.schema.Tables() {
		if name != c.Kind && name != c.Path && name != c.NestedPath {
			continue
		}
		for _, f := range c.Fields {
			if f.Type == schema.Foreign && f.Refers == t.Kind {
				return c, f.Name
			}
		}
	}
	return nil, ""
}

// holdsObjects tells a list of entities from a list of names: a certificate's snis may be
// either.
func holdsObjects(v any) bool {
	list, _ := v.([]any)
	for _, x := range list {
		if _, ok := x.(schema.Body); ok {
			return true
		}
	}
	return false
}

func addTag(body schema.Body, tag string) {
	tags, _ := body["tags"].([]any)
	for _, have := range tags {
		if have == tag {
			return
		}
	}
	body["tags"] = append(tags, tag)
}

// plain turns what the YAML reader makes into a body's types.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			v[k] = plain(x)
		}
	case map[any]any:
		m := schema.Body{}
		for k, x := range v {
			m[fmt.Sprint(k)] = plain(x)
		}
		return m
	case []any:
		for i, x := range v {
			v[i] = plain(x)
		}
	case int:
		return float64(v)
	case int64:
		return float64(v)
	case uint64:
		return float64(v)
	}
	return v
}

func sortedKeys(b schema.Body) []string {
	keys := make([]string, 0, len(b))
	for k := range b {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
