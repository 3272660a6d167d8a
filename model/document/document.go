// Package document reads declarative files: the format of Kong's and decK's, entities by
// kind, children below their owners, references by name.
//
// It knows tables and YAML; it does no I/O and does not know where entities are kept: what
// exists already is lent to it. Enter at Parse, then Document.Plan.
package document

import (
	"errors"
	"fmt"
	"maps"
	"slices"
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
	shared     schema.Body // configs of plugins that several entities name
	defaults   schema.Body // by kind, in the singular: what _info has entities say
	stored     bool        // passwords are as Kong stores them
	version    bool        // it says its version
	unknown    []Unknown   // kinds that are not known here
	problems   []problem   // found while it was read
}

// Unknown is a member of a file that is no kind of entity here.
type Unknown struct {
	Kind     string
	Entities int
}

// item is one entity as the file says it.
type item struct {
	table *schema.Table
	body  schema.Body
	given schema.Body // as the file says it, less what stands below it
	where string      // "services[0].routes[1]"
	path  []any       // "services", 0, "routes", 1
	owner *item       // the entity it stands below, if any
	link  string      // the field that refers to the owner
	id    string      // known once planned
}

// index is the place of the item in its list.
func (it *item) index() int { return it.path[len(it.path)-1].(int) }

// formats are the versions of the format that Kong 3.9 reads.
var formats = map[string]bool{"1.1": true, "2.1": true, "3.0": true}

// ErrNotObject is returned for a file that is sound and holds no entities.
var ErrNotObject = errors.New("expected an object")

// Parse reads a document in JSON or YAML. What is wrong with it as a whole is the error; what
// is wrong within, Plan tells.
func Parse(raw []byte, s *schema.Schema) (*Document, error) {
	if root, err := schema.DecodeJSON(raw); err == nil {
		return Read(root, s), nil
	}
	var tree any
	if err := yaml.Unmarshal(raw, &tree); err != nil {
		return nil, err
	}
	root, ok := plain(tree).(schema.Body)
	if !ok {
		return nil, ErrNotObject
	}
	return Read(root, s), nil
}

// Read reads a document that was decoded already. It takes root over.
func Read(root schema.Body, s *schema.Schema) *Document {
	d := &Document{schema: s}
	d.readHead(root)
	for _, key := range sortedKeys(root) {
		if strings.HasPrefix(key, "_") {
			continue
		}
		t := d.kind(key)
		if t == nil {
			list, _ := root[key].([]any)
			d.unknown = append(d.unknown, Unknown{Kind: key, Entities: len(list)})
			continue
		}
		d.readList(key, []any{t.Kind}, root[key], t, nil, "")
	}
	return d
}

const unknownField = "unknown field"

func (d *Document) refuse(where string, path []any, err error) {
	d.problems = append(d.problems, problem{where: where, path: path, err: err})
}

// readHead reads the members that begin with an underscore.
func (d *Document) readHead(root schema.Body) {
	for _, key := range sortedKeys(root) {
		v := root[key]
		switch key {
		case "_format_version":
			d.version = true
			if version := fmt.Sprint(v); !formats[version] && !formats[version+".0"] {
				d.refuse(key, []any{key}, errors.New("expected one of: 1.1, 2.1, 3.0"))
			}
		case "_info":
			info, _ := v.(schema.Body)
			tags, _ := info["select_tags"].([]any)
			for _, tag := range tags {
				d.SelectTags = append(d.SelectTags, fmt.Sprint(tag))
			}
			d.defaults, _ = info["defaults"].(schema.Body)
		case "_transform":
			transform, ok := v.(bool)
			if !ok {
				d.refuse(key, []any{key}, errors.New("expected a boolean"))
			}
			d.stored = ok && !transform
		case "_plugin_configs":
			d.shared, _ = v.(schema.Body)
		case "_comment", "_ignore", "_workspace":
		default:
			if strings.HasPrefix(key, "_") {
				d.refuse(key, []any{key}, errors.New(unknownField))
			}
		}
	}
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

func (d *Document) readList(where string, path []any, v any, t *schema.Table, owner *item, link string) {
	if v == nil {
		return
	}
	list, ok := v.([]any)
	if !ok {
		d.refuse(where, path, errors.New("expected an array"))
		return
	}
	for i, x := range list {
		at, place := fmt.Sprintf("%s[%d]", where, i), append(slices.Clone(path), i)
		body, ok := x.(schema.Body)
		if !ok {
			d.refuse(at, place, errors.New("expected a record"))
			continue
		}
		d.readItem(&item{table: t, body: body, where: at, path: place, owner: owner, link: link})
	}
}

func (d *Document) readItem(it *item) {
	d.items = append(d.items, it)
	type below struct {
		name, field string
		table       *schema.Table
		list        any
	}
	var children []below
	for _, key := range sortedKeys(it.body) {
		child, field := d.child(it.table, key)
		if child == nil || !holdsObjects(it.body[key]) && it.table.Field(key) != nil {
			continue
		}
		children = append(children, below{key, field, child, it.body[key]})
		delete(it.body, key)
	}
	it.given = maps.Clone(it.body)
	d.share(it)
	if defaults, ok := d.defaults[strings.TrimSuffix(it.table.Kind, "s")].(schema.Body); ok {
		fill(it.body, defaults)
	}
	delete(it.body, "_comment")
	delete(it.body, "_ignore")
	for _, tag := range d.SelectTags {
		addTag(it.body, tag)
	}
	for _, c := range children {
		d.readList(it.where+"."+c.name, append(slices.Clone(it.path), c.table.Kind), c.list, c.table, it, c.field)
	}
}

// share gives a plugin the config that it names: what it says itself wins.
func (d *Document) share(it *item) {
	name, said := it.body["_config"]
	if !said || it.table.Kind != "plugins" {
		return
	}
	delete(it.body, "_config")
	shared, ok := d.shared[fmt.Sprint(name)].(schema.Body)
	if !ok {
		d.refuse(it.where, it.path, fmt.Errorf("_config: there is no %q in _plugin_configs", name))
		return
	}
	config := copyBody(shared)
	own, _ := it.body["config"].(schema.Body)
	maps.Copy(config, own)
	it.body["config"] = config
}

// fill gives body what it does not say.
func fill(body, defaults schema.Body) {
	for name, v := range defaults {
		have, said := body[name]
		own, ok := have.(schema.Body)
		more, isRecord := v.(schema.Body)
		switch {
		case !said:
			body[name] = copyValue(v)
		case ok && isRecord:
			fill(own, more)
		}
	}
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
