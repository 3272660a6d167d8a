package document

import (
	"fmt"
	"maps"
	"reflect"
	"sort"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/model/schema"
)

// Existing lends what is there already.
type Existing interface {
	// Entities returns every entity of a kind.
	Entities(kind string) ([]proto.Message, error)
}

// Change is what one entity of a document needs.
type Change struct {
	Table  *schema.Table
	ID     string
	Where  string        // place in the document; "" for a removal
	Before proto.Message // nil: it is new
	After  proto.Message // nil: it goes
}

// Same reports whether the entity is already as the document says.
func (c *Change) Same(now time.Time) bool {
	if c.Before == nil || c.After == nil {
		return false
	}
	return reflect.DeepEqual(settings(c.Table, c.Before, now), settings(c.Table, c.After, now))
}

// settings are an entity's members less the dates, which a write sets.
func settings(t *schema.Table, m proto.Message, now time.Time) schema.Body {
	b := maps.Clone(t.RenderOurs(m, now))
	delete(b, "created_at")
	delete(b, "updated_at")
	return b
}

// namespace is where ids of entities that a file names without an id are made.
var namespace = uuid.MustParse("7f145bf9-0dce-4f91-98eb-debbce4b9f6b")

// planner holds what is known while a document is planned.
type planner struct {
	existing Existing
	now      time.Time
	byID     map[string]map[string]proto.Message     // kind, id
	byKey    map[string]map[schema.Key]string        // kind, unique key: id; of what exists
	named    map[string]map[string]map[string]string // kind, unique field, value: id; of the document
	schema   *schema.Schema
}

// Plan finds what the document would change: every entity it names, with ids and references
// resolved, owners before what refers to them. Entities that are already so are included;
// Change.Same tells.
func (d *Document) Plan(existing Existing, now time.Time) ([]Change, error) {
	p := &planner{
		existing: existing, now: now, schema: d.schema,
		byID: map[string]map[string]proto.Message{}, byKey: map[string]map[schema.Key]string{},
		named: map[string]map[string]map[string]string{},
	}
	rank := ranks(d.schema)
	items := append([]*item(nil), d.items...)
	sort.SliceStable(items, func(i, j int) bool { return rank[items[i].table.Kind] < rank[items[j].table.Kind] })
	changes := make([]Change, 0, len(items))
	seen := map[string]string{}
	for _, it := range items {
		c, err := p.plan(it)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", it.where, err)
		}
		name := c.Table.Kind + "/" + c.ID
		if first := seen[name]; first != "" {
			return nil, fmt.Errorf("%s: is the same %s as %s", it.where, c.Table.Kind, first)
		}
		seen[name] = it.where
		changes = append(changes, *c)
	}
	return changes, nil
}

// ranks orders kinds so that what is referred to comes before what refers to it.
func ranks(s *schema.Schema) map[string]int {
	rank := map[string]int{}
	for range s.Tables() {
		for _, t := range s.Tables() {
			for _, f := range t.Fields {
				if f.Type == schema.Foreign && f.Refers != t.Kind {
					rank[t.Kind] = max(rank[t.Kind], rank[f.Refers]+1)
				}
			}
		}
	}
	return rank
}

func (p *planner) plan(it *item) (*Change, error) {
	if err := p.load(it.table); err != nil {
		return nil, err
	}
	if it.owner != nil {
		it.body[it.link] = schema.Body{"id": it.owner.id}
	}
	if err := p.resolve(it); err != nil {
		return nil, err
	}
	m, err := it.table.Insert(copyBody(it.body), p.now)
	if err != nil {
		return nil, err
	}
	it.id = p.identify(it, m)
	before := p.byID[it.table.Kind][it.id]
	it.body["id"] = it.id
	if before != nil {
		p.inherit(it, before)
	}
	if m, err = it.table.Insert(copyBody(it.body), p.now); err != nil {
		return nil, err
	}
	p.remember(it, m)
	return &Change{Table: it.table, ID: it.id, Where: it.where, Before: before, After: m}, nil
}

// load reads what exists of a kind, once.
func (p *planner) load(t *schema.Table) error {
	if p.byID[t.Kind] != nil {
		return nil
	}
	list, err := p.existing.Entities(t.Kind)
	if err != nil {
		return err
	}
	p.byID[t.Kind], p.byKey[t.Kind] = map[string]proto.Message{}, map[schema.Key]string{}
	for _, m := range list {
		id := t.ID(m)
		p.byID[t.Kind][id] = m
		for _, k := range t.Keys(m) {
			p.byKey[t.Kind][k] = id
		}
	}
	return nil
}

// identify finds an entity's id: the one it says, that of the entity that holds one of its
// unique values, or one made of these values, so that the same file names the same entity.
func (p *planner) identify(it *item, m proto.Message) string {
	if id, ok := it.body["id"].(string); ok {
		return id
	}
	keys := it.table.Keys(m)
	for _, k := range keys {
		if _, said := it.body[k.Index]; !said && it.table.Field(k.Index) != nil {
			continue // made up by the insertion just now
		}
		if id := p.byKey[it.table.Kind][k]; id != "" {
			return id
		}
	}
	name := it.table.Kind + ":" + it.where
	for _, k := range keys {
		if _, said := it.body[k.Index]; said || it.table.Field(k.Index) == nil {
			name = it.table.Kind + ":" + k.Index + ":" + k.Value
			break
		}
	}
	return uuid.NewSHA1(namespace, []byte(name)).String()
}

// inherit keeps what an earlier write made up and the file does not say: dates, generated
// keys.
func (p *planner) inherit(it *item, before proto.Message) {
	old := it.table.Render(before, p.now)
	for _, f := range it.table.Fields {
		if _, said := it.body[f.Name]; f.Auto && !said && f.Name != "updated_at" {
			it.body[f.Name] = old[f.Name]
		}
	}
}

// remember makes an entity of the document known to those that refer to it by name.
func (p *planner) remember(it *item, m proto.Message) {
	for _, k := range it.table.Keys(m) {
		byField := p.named[it.table.Kind]
		if byField == nil {
			byField = map[string]map[string]string{}
			p.named[it.table.Kind] = byField
		}
		if byField[k.Index] == nil {
			byField[k.Index] = map[string]string{}
		}
		byField[k.Index][k.Value] = it.id
	}
}

// resolve turns references by name into references by id.
func (p *planner) resolve(it *item) error {
	for _, f := range it.table.Fields {
		v, said := it.body[f.Name]
		if f.Type != schema.Foreign || !said || v == nil {
			continue
		}
		parent := p.schema.Table(f.Refers)
		if parent == nil {
			continue
		}
		if err := p.load(parent); err != nil {
			return err
		}
		id, err := p.target(parent, v)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		if id != "" {
			it.body[f.Name] = schema.Body{"id": id}
		}
	}
	return nil
}

// target finds the id that a reference means; "" leaves it to the table's own judgement.
func (p *planner) target(parent *schema.Table, v any) (string, error) {
	switch v := v.(type) {
	case string:
		if p.byID[parent.Kind][v] != nil || schema.IsID(v) {
			return v, nil
		}
		return p.lookup(parent, parent.Key, v)
	case schema.Body:
		if _, ok := v["id"]; ok {
			return "", nil
		}
		for _, f := range parent.Fields {
			if s, ok := v[f.Name].(string); ok && f.Unique {
				return p.lookup(parent, f.Name, s)
			}
		}
	}
	return "", nil
}

func (p *planner) lookup(parent *schema.Table, field, value string) (string, error) {
	if id := p.named[parent.Kind][field][value]; id != "" {
		return id, nil
	}
	if id := p.byKey[parent.Kind][schema.Key{Index: field, Value: value}]; id != "" {
		return id, nil
	}
	return "", fmt.Errorf("there is no entity of %s with %s %q", parent.Kind, field, value)
}

// copyBody copies a tree: an insertion may change what it is given.
func copyBody(b schema.Body) schema.Body { return copyValue(b).(schema.Body) }

func copyValue(v any) any {
	switch v := v.(type) {
	case schema.Body:
		m := make(schema.Body, len(v))
		for k, x := range v {
			m[k] = copyValue(x)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, x := range v {
			l[i] = copyValue(x)
		}
		return l
	}
	return v
}
