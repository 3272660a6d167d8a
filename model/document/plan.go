package document

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
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

	item *item
}

// Refuse is the refusal of the document for what is wrong with this entity.
func (c *Change) Refuse(err error) *Refused {
	return &Refused{[]problem{{c.Where, c.item.path, c.item, err}}}
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

// planner holds what is known while a document is planned.
type planner struct {
	existing Existing
	now      time.Time
	whole    bool                                    // the document is all there will be
	byID     map[string]map[string]proto.Message     // kind, id
	byKey    map[string]map[schema.Key]string        // kind, unique key: id; of what exists
	named    map[string]map[string]map[string]string // kind, unique field, value: id; of the document
	declared map[string]map[string]bool              // kind, id; of the document
	schema   *schema.Schema
	insert   func(*schema.Table, schema.Body, time.Time) (proto.Message, error)

	// What is wrong, in the order in which it counts: with no entity refused by itself,
	// references are looked at, and then what is declared twice.
	refused, dangling, twice []problem
}

// Plan finds what the document would change: every entity it names, with ids and references
// resolved, owners before what refers to them. Entities that are already so are included;
// Change.Same tells. A document that cannot be had is a *Refused.
func (d *Document) Plan(existing Existing, now time.Time) ([]Change, error) {
	return d.plan(&planner{existing: existing, now: now}, nil)
}

// PlanWhole is Plan for a document that is all there will be: nothing in it refers to what
// exists already, and it says its version.
func (d *Document) PlanWhole(existing Existing, now time.Time) ([]Change, error) {
	var problems []problem
	if !d.version {
		problems = append(problems, problem{
			where: "_format_version", path: []any{"_format_version"}, err: errors.New("required field missing"),
		})
	}
	d.spreadSNIs()
	return d.plan(&planner{existing: existing, now: now, whole: true}, problems)
}

func (d *Document) plan(p *planner, refused []problem) ([]Change, error) {
	p.schema, p.refused, p.insert = d.schema, append(refused, d.problems...), (*schema.Table).Insert
	for _, u := range d.unknown {
		p.refused = append(p.refused, problem{where: u.Kind, path: []any{u.Kind}, err: errors.New(unknownField)})
	}
	if d.stored {
		p.insert = (*schema.Table).Restore
	}
	p.byID, p.byKey = map[string]map[string]proto.Message{}, map[string]map[schema.Key]string{}
	p.named, p.declared = map[string]map[string]map[string]string{}, map[string]map[string]bool{}
	rank := ranks(d.schema)
	items := slices.Clone(d.items)
	sort.SliceStable(items, func(i, j int) bool { return rank[items[i].table.Kind] < rank[items[j].table.Kind] })
	changes := make([]Change, 0, len(items))
	for _, it := range items {
		c, err := p.plan(it)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", it.where, err)
		}
		if c != nil {
			changes = append(changes, *c)
		}
	}
	for _, problems := range [][]problem{p.refused, p.dangling, p.twice} {
		if len(problems) > 0 {
			return nil, &Refused{problems}
		}
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

// plan makes the change of one entity; nil when something is wrong with it, which is noted.
func (p *planner) plan(it *item) (*Change, error) {
	if err := p.load(it.table); err != nil {
		return nil, err
	}
	key := generatedKey(it)
	if it.owner != nil {
		it.body[it.link] = schema.Body{"id": it.owner.id}
	}
	if err := p.resolve(it); err != nil {
		return nil, err
	}
	m, err := p.insert(it.table, copyBody(it.body), p.now)
	if err != nil {
		it.id = uuid.NewString() // for what stands below it
		p.rememberRefused(it)
		p.refused = append(p.refused, problem{it.where, it.path, it, err})
		return nil, nil
	}
	it.id = p.identify(it, m, key)
	it.body["id"] = it.id
	before := p.byID[it.table.Kind][it.id]
	if before != nil {
		p.inherit(it, before)
	}
	if m, err = p.insert(it.table, copyBody(it.body), p.now); err != nil {
		return nil, err
	}
	if !p.remember(it, m) {
		return nil, nil
	}
	return &Change{Table: it.table, ID: it.id, Where: it.where, Before: before, After: m, item: it}, nil
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
func (p *planner) identify(it *item, m proto.Message, key string) string {
	if id, ok := it.body["id"].(string); ok {
		return schema.CanonicalID(id)
	}
	for _, k := range it.table.Keys(m) {
		if _, said := it.body[k.Index]; !said && it.table.Field(k.Index) != nil {
			continue // made up by the insertion just now
		}
		if id := p.byKey[it.table.Kind][k]; id != "" {
			return id
		}
	}
	if key == "" {
		key = it.table.Kind + ":" + it.where
	}
	return generatedID(it.table.Kind, key)
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

// remember makes an entity of the document known to those that refer to it by name, and
// reports whether it is declared only once.
func (p *planner) remember(it *item, m proto.Message) bool {
	kind := it.table.Kind
	keys := it.table.Keys(m)
	for _, k := range keys {
		if other := p.named[kind][k.Index][k.Value]; other != "" && other != it.id {
			p.twice = append(p.twice, twiceNamed(it, k))
			return false
		}
	}
	if p.declared[kind][it.id] {
		p.twice = append(p.twice, twiceDeclared(it, keys))
		return false
	}
	p.declare(it)
	for _, k := range keys {
		p.name(kind, k.Index, k.Value, it.id)
	}
	return true
}

// rememberRefused makes an entity that is refused known by what it says: what refers to it is
// not wrong for that.
func (p *planner) rememberRefused(it *item) {
	if id, ok := it.body["id"].(string); ok {
		it.id = id
	}
	p.declare(it)
	for _, f := range it.table.Fields {
		if s, ok := it.body[f.Name].(string); ok && f.Unique {
			p.name(it.table.Kind, f.Name, s, it.id)
		}
	}
}

func (p *planner) declare(it *item) {
	if p.declared[it.table.Kind] == nil {
		p.declared[it.table.Kind] = map[string]bool{}
	}
	p.declared[it.table.Kind][it.id] = true
}

func (p *planner) name(kind, index, value, id string) {
	byField := p.named[kind]
	if byField == nil {
		byField = map[string]map[string]string{}
		p.named[kind] = byField
	}
	if byField[index] == nil {
		byField[index] = map[string]string{}
	}
	byField[index][value] = id
}

// twiceNamed says that a unique value of the document has two holders, where Kong says so: by
// place for the endpoint key, else by name.
func twiceNamed(it *item, k schema.Key) problem {
	path := []any{it.table.Kind, it.index()}
	if k.Index != it.table.Key {
		path = []any{it.table.Kind, cmp.Or(textOf(it.body[it.table.Key]), it.id)}
	}
	return problem{it.where, path, it, fmt.Errorf("uniqueness violation: '%s' entity with %s set to '%s' already declared", it.table.Kind, k.Index, k.Value)}
}

// twiceDeclared says that two entities of the document have one id: by the endpoint key if it
// is what made them so.
func twiceDeclared(it *item, keys []schema.Key) problem {
	for _, k := range keys {
		if _, own := it.given["id"]; !own && k.Index == it.table.Key {
			return twiceNamed(it, k)
		}
	}
	path := []any{it.table.Kind, it.index()}
	if it.owner != nil {
		path = append([]any{it.owner.table.Kind, it.owner.index()}, path...)
	}
	return problem{it.where, path, it, fmt.Errorf("uniqueness violation: '%s' entity with primary key set to '%s' already declared", it.table.Kind, it.id)}
}

func textOf(v any) string {
	s, _ := v.(string)
	return s
}

// resolve turns references by name into references by id. One that leads nowhere is noted.
func (p *planner) resolve(it *item) error {
	for _, f := range it.table.Fields {
		v, said := it.body[f.Name]
		if f.Type != schema.Foreign || !said || v == nil || f.Name == it.link {
			continue
		}
		parent := p.schema.Table(f.Refers)
		if parent == nil {
			continue
		}
		if err := p.load(parent); err != nil {
			return err
		}
		id, ok := p.target(parent, v)
		if !ok {
			p.dangling = append(p.dangling, dangles(it, f, v))
			id = uuid.NewString() // so that the rest of the entity is judged
		}
		if id != "" {
			it.body[f.Name] = schema.Body{"id": id}
		}
	}
	return nil
}

// dangles says that a reference leads nowhere, in Kong's words.
func dangles(it *item, f *schema.Field, v any) problem {
	text, ok := v.(string)
	if !ok {
		raw, _ := json.Marshal(v) // it was decoded from such
		text = string(raw)
	}
	at := any(it.index())
	if name := cmp.Or(textOf(it.body[it.table.Key]), textOf(it.body["id"])); name != "" {
		at = name
	}
	return problem{it.where, []any{it.table.Kind, at, 0}, it, fmt.Errorf("invalid reference '%s: %s' (no such entry in '%s')", f.Name, text, f.Refers)}
}

// target finds the id that a reference means; "" leaves it to the table's own judgement. It is
// not ok when the reference leads nowhere.
func (p *planner) target(parent *schema.Table, v any) (id string, ok bool) {
	switch v := v.(type) {
	case string:
		if p.has(parent, v) || schema.IsID(v) && !p.whole {
			return v, true
		}
		return p.lookup(parent, parent.Key, v)
	case schema.Body:
		if id, said := v["id"]; said {
			s, _ := id.(string)
			return "", !p.whole || !schema.IsID(s) || p.has(parent, s)
		}
		for _, f := range parent.Fields {
			if s, ok := v[f.Name].(string); ok && f.Unique {
				return p.lookup(parent, f.Name, s)
			}
		}
	}
	return "", true
}

// has reports whether there is an entity of that id, as far as references may lead to it.
func (p *planner) has(parent *schema.Table, id string) bool {
	return p.declared[parent.Kind][id] || !p.whole && p.byID[parent.Kind][id] != nil
}

func (p *planner) lookup(parent *schema.Table, field, value string) (string, bool) {
	id := p.named[parent.Kind][field][value]
	if id == "" && !p.whole {
		id = p.byKey[parent.Kind][schema.Key{Index: field, Value: value}]
	}
	return id, id != ""
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
