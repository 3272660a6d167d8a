package schema

import (
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	optionsv1 "github.com/sekifuda/sekifuda/proto/sekifuda/options/v1"
)

// ValueCheck looks at one value that has passed its field's other rules up to "contains". It
// returns the violation, "" when there is none.
type ValueCheck func(v any) string

// RecordCheck looks at several fields of one record. It returns the violation, "" when there
// is none. Fields that did not pass their own rules are kept from it by the caller.
type RecordCheck func(b Body) string

type wholeCheck = RecordCheck

// Expansion turns the value of a shorthand into values of other fields, which replace those
// of data. The value is nil when null was said.
type Expansion func(value any, data Body) Body

// Meaning is what options cannot say of a kind: the Go that stands beside its meaning. Names
// are those of the options; what is not found here is looked for among the checks of this
// package.
type Meaning struct {
	Values  map[string]ValueCheck
	Records map[string]RecordCheck
	Expand  map[string]Expansion
	// Finish derives stored values from a body that passed all rules. It may change Next.
	Finish func(c Change) error
	// Cascade names references with which the entity goes, where /schemas does not say so.
	Cascade []string
	// RouterFlavor decides which fields are there and what variants say.
	RouterFlavor string
	// UnknownName words the refusal of an abstract entity whose name nobody registered.
	UnknownName func(name string) string
}

// Change is one write at the point where all rules have passed.
type Change struct {
	Next  Body // what will be stored
	Given Body // what the request said
	Old   Body // what was stored; nil on an insert
	// Stored says that Given came from a store: what Finish derives is there already.
	Stored bool
}

// LoadTable reads the options of an entity message. meaning holds at most one value.
func LoadTable(d protoreflect.MessageDescriptor, meaning ...Meaning) (*Table, error) {
	ent, _ := proto.GetExtension(d.Options(), optionsv1.E_Entity).(*optionsv1.Entity)
	if ent == nil || ent.Kind == "" {
		return nil, fmt.Errorf("load %s: no entity option", d.FullName())
	}
	t := &Table{
		Kind: ent.Kind, Path: ent.Path, NestedPath: ent.NestedPath, NestedOnly: ent.NestedOnly,
		Key: ent.EndpointKey, Live: ent.Live, TTL: ent.Ttl, message: messageType(d),
	}
	if t.NestedPath == "" {
		t.NestedPath = t.Path
	}
	if len(meaning) > 0 {
		t.meaning = meaning[0]
	}
	l := &loader{meaning: t.meaning}
	rec, err := l.record(d)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", t.Kind, err)
	}
	t.base = &variant{record: rec}
	t.Fields = rec.fields
	for _, name := range t.meaning.Cascade {
		f := rec.byName[name]
		if f == nil {
			return nil, fmt.Errorf("load %s: cascades with unknown field %q", t.Kind, name)
		}
		f.Cascade = true
	}
	for _, f := range rec.fields {
		if f.Abstract {
			t.abstract = f
			t.named = map[string]*variant{}
		}
	}
	for _, u := range ent.Unique {
		t.Unique = append(t.Unique, u.Fields)
	}
	return t, t.loadVariants(l, ent)
}

func (t *Table) loadVariants(l *loader, ent *optionsv1.Entity) error {
	for _, u := range t.Unique {
		for _, name := range u {
			if t.base.byName[name] == nil {
				return fmt.Errorf("load %s: unique names unknown field %q", t.Kind, name)
			}
		}
	}
	if t.Key != "" && t.base.byName[t.Key] == nil {
		return fmt.Errorf("load %s: endpoint key names unknown field %q", t.Kind, t.Key)
	}
	if ent.VariantField == "" {
		return nil
	}
	if t.by = t.base.byName[ent.VariantField]; t.by == nil {
		return fmt.Errorf("load %s: variants by unknown field %q", t.Kind, ent.VariantField)
	}
	for _, o := range ent.Variants {
		v := &variant{record: t.base.record.copy(), values: o.Values}
		for _, vf := range o.Fields {
			if e := vf.ExceptRouterFlavor; e != "" && e == l.meaning.RouterFlavor {
				continue
			}
			if err := l.override(v.record, vf); err != nil {
				return fmt.Errorf("load %s: %w", t.Kind, err)
			}
		}
		var err error
		if v.extra, err = l.checks(v.record, o.Checks); err != nil {
			return fmt.Errorf("load %s: %w", t.Kind, err)
		}
		t.variants = append(t.variants, v)
	}
	return nil
}

// LoadPlugin reads the options of a plugin's config message.
func LoadPlugin(d protoreflect.MessageDescriptor) (*Plugin, error) {
	o, _ := proto.GetExtension(d.Options(), optionsv1.E_Plugin).(*optionsv1.Plugin)
	if o == nil || o.Name == "" {
		return nil, fmt.Errorf("load %s: no plugin option", d.FullName())
	}
	l := &loader{}
	rec, err := l.record(d)
	if err != nil {
		return nil, fmt.Errorf("load plugin %s: %w", o.Name, err)
	}
	p := &Plugin{
		Name: o.Name, Priority: int(o.Priority), Version: o.Version,
		Protocols: o.Protocols, DefaultProtocols: o.DefaultProtocols,
		NoConsumer: o.NoConsumer, NoService: o.NoService, NoRoute: o.NoRoute, ProtocolsFirst: o.ProtocolsFirst,
		Config:  &Field{Name: "config", Type: Record, Required: true, Fields: rec.fields, record: rec},
		message: messageType(d),
	}
	root := &record{fields: []*Field{p.Config}, byName: map[string]*Field{"config": p.Config}}
	if p.checks, err = l.checks(root, o.Checks); err != nil {
		return nil, fmt.Errorf("load plugin %s: %w", o.Name, err)
	}
	return p, nil
}

// messageType prefers the generated Go type.
func messageType(d protoreflect.MessageDescriptor) protoreflect.MessageType {
	if mt, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName()); err == nil {
		return mt
	}
	return dynamicpb.NewMessageType(d)
}

// register makes a variant of the table for each config.
func (t *Table) register(configs []*Plugin) error {
	for _, p := range configs {
		if t.named[p.Name] != nil {
			return fmt.Errorf("%s: config %q is there twice", t.Kind, p.Name)
		}
		v := &variant{record: t.base.record.copy(), name: p.Name, extra: p.checks, plugin: p}
		config := *p.Config
		config.fd = t.abstract.fd
		v.replace(&config)
		v.restrict("consumer", p.NoConsumer)
		v.restrict("service", p.NoService)
		v.restrict("route", p.NoRoute)
		if f := v.byName["protocols"]; f != nil && len(p.Protocols) > 0 {
			v.replace(withProtocols(f, p))
		}
		t.named[p.Name] = v
	}
	return nil
}

// restrict says that a field must be null.
func (v *variant) restrict(name string, on bool) {
	f := v.byName[name]
	if f == nil || !on {
		return
	}
	g := *f
	g.rule.eqNull = true
	v.replace(&g)
}

func withProtocols(f *Field, p *Plugin) *Field {
	g, e := *f, *f.Elements
	g.Default, g.HasDefault = anyList(p.DefaultProtocols), true
	e.rule.oneOf = anyList(p.Protocols)
	g.Elements = &e
	return &g
}

func anyList(in []string) []any {
	out := make([]any, len(in))
	for i, s := range in {
		out[i] = s
	}
	return out
}

func (r *record) copy() *record {
	c := &record{checks: r.checks, whole: r.whole, shorthands: r.shorthands, absent: r.absent}
	c.fields = append([]*Field(nil), r.fields...)
	c.byName = make(map[string]*Field, len(r.byName))
	for k, f := range r.byName {
		c.byName[k] = f
	}
	return c
}

func (r *record) replace(f *Field) {
	r.byName[f.Name] = f
	for i, old := range r.fields {
		if old.Name == f.Name {
			r.fields[i] = f
		}
	}
}

func flavorOf(fd protoreflect.FieldDescriptor) string {
	o, _ := proto.GetExtension(fd.Options(), optionsv1.E_Field).(*optionsv1.Field)
	return o.GetRouterFlavor()
}

// loader turns descriptors into records; meaning holds the named checks of the kind.
type loader struct {
	meaning Meaning
	depth   int
}

// maxDepth bounds nesting: deeper is a message that contains itself, which no table can be.
const maxDepth = 16

func (l *loader) record(d protoreflect.MessageDescriptor) (*record, error) {
	if l.depth++; l.depth > maxDepth {
		return nil, fmt.Errorf("%s: nested deeper than %d", d.FullName(), maxDepth)
	}
	defer func() { l.depth-- }()
	r := &record{byName: map[string]*Field{}}
	fds := d.Fields()
	for i := range fds.Len() {
		if flavor := flavorOf(fds.Get(i)); flavor != "" && flavor != l.meaning.RouterFlavor {
			r.absent = append(r.absent, string(fds.Get(i).Name()))
			continue
		}
		f, err := l.field(fds.Get(i))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", fds.Get(i).FullName(), err)
		}
		r.fields = append(r.fields, f)
		r.byName[f.Name] = f
	}
	o, _ := proto.GetExtension(d.Options(), optionsv1.E_Record).(*optionsv1.Record)
	if o == nil {
		return r, nil
	}
	var err error
	if r.checks, err = l.checks(r, o.Checks); err != nil {
		return nil, err
	}
	if o.Check != "" {
		if r.whole = l.recordCheck(o.Check); r.whole == nil {
			return nil, fmt.Errorf("%s: unknown check %q", d.FullName(), o.Check)
		}
	}
	return r, l.shorthands(r, o.Shorthands)
}

func (l *loader) shorthands(r *record, list []*optionsv1.Shorthand) error {
	for _, o := range list {
		f := &Field{Name: o.Name, Type: Type(o.Type)}
		var err error
		if f.rule, err = l.rule(f.Type, o.Rule); err != nil {
			return fmt.Errorf("shorthand %s: %w", o.Name, err)
		}
		if f.Type == Array || f.Type == Set {
			if f.Elements, err = l.element(String, o.Elements); err != nil {
				return fmt.Errorf("shorthand %s: %w", o.Name, err)
			}
		}
		f.said.encrypted, f.said.refable = o.Rule.GetEncrypted(), o.Rule.GetReferenceable()
		s := &shorthand{field: f, path: o.Path, dep: loadDeprecation(o.Deprecation)}
		if len(o.Path) == 0 {
			if s.expand = l.expansion(o.Name); s.expand == nil {
				return fmt.Errorf("shorthand %s: neither a path nor an expansion", o.Name)
			}
		}
		r.shorthands = append(r.shorthands, s)
	}
	return nil
}

// override applies what a variant says of one field.
func (l *loader) override(r *record, o *optionsv1.VariantField) error {
	f := r.byName[o.Name]
	if f == nil {
		return fmt.Errorf("variant of unknown field %q", o.Name)
	}
	g := *f
	if o.Default != nil {
		v, err := parseDefault(f.Type, *o.Default)
		if err != nil {
			return fmt.Errorf("variant of %s: %w", o.Name, err)
		}
		g.Default, g.HasDefault = v, true
	}
	if o.Rule != nil {
		merged := &optionsv1.Rule{}
		if f.rule.raw != nil {
			proto.Merge(merged, f.rule.raw)
		}
		proto.Merge(merged, o.Rule)
		var err error
		if g.rule, err = l.rule(f.Type, merged); err != nil {
			return fmt.Errorf("variant of %s: %w", o.Name, err)
		}
	}
	r.replace(&g)
	return nil
}

func parseDefault(t Type, text string) (any, error) {
	if t == String {
		return text, nil
	}
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return nil, fmt.Errorf("read default %q: %w", text, err)
	}
	return v, nil
}

func loadDeprecation(o *optionsv1.Deprecation) *deprecation {
	if o == nil {
		return nil
	}
	d := &deprecation{message: o.Message, removal: o.RemovalInVersion}
	if o.OldDefault != nil {
		// A text that is no JSON stands for itself.
		if v, err := parseDefault(Number, *o.OldDefault); err == nil {
			d.oldDefault = v
		} else {
			d.oldDefault = *o.OldDefault
		}
		d.hasDefault = true
	}
	for _, p := range o.ReplacedWith {
		d.replaced = append(d.replaced, p.Fields)
	}
	return d
}
