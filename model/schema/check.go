package schema

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/model/fault"
	optionsv1 "github.com/sekifuda/sekifuda/proto/sekifuda/options/v1"
)

// check is a rule over several fields of one record.
type check struct {
	raw     *optionsv1.Check
	paths   [][]string                         // fields it looks at
	lenient bool                               // runs although some of them did not pass their own rules
	patched string                             // what is said before the text when the entity is updated
	oneOf   *optionsv1.ConditionalAtLeastOneOf // of its kind: raw's, with the fields that are there
	asked   []*Field                           // the fields of its conditions, with the rules that these ask for
	// run returns the text for "@entity", "" when satisfied. It may mark fields in errs.
	run func(b Body, errs fault.Tree) string
}

// checks compiles rules over the fields of r; names may be paths ("config.redis.host").
func (l *loader) checks(r *record, list []*optionsv1.Check) ([]*check, error) {
	var out []*check
	for _, o := range list {
		c, err := l.compile(r, o)
		if err != nil {
			return nil, err
		}
		c.raw = o
		out = append(out, c)
	}
	return out, nil
}

func (l *loader) compile(r *record, o *optionsv1.Check) (*check, error) {
	switch k := o.Check.(type) {
	case *optionsv1.Check_AtLeastOneOf:
		c, paths, err := listCheck(r, k.AtLeastOneOf)
		c.lenient, c.patched = true, "when updating, "
		c.run = counted(paths, "at least one of these fields must be non-empty: "+told(k.AtLeastOneOf),
			func(n, _ int) bool { return n >= 1 })
		return c, err
	case *optionsv1.Check_OnlyOneOf:
		c, paths, err := listCheck(r, k.OnlyOneOf)
		c.lenient = true
		c.run = counted(paths, "exactly one of these fields must be non-empty: "+told(k.OnlyOneOf),
			func(n, _ int) bool { return n == 1 })
		return c, err
	case *optionsv1.Check_MutuallyExclusive:
		c, paths, err := listCheck(r, k.MutuallyExclusive)
		c.run = counted(paths, "only one or none of these fields must be set: "+told(k.MutuallyExclusive),
			func(n, _ int) bool { return n <= 1 })
		return c, err
	case *optionsv1.Check_MutuallyRequired:
		c, paths, err := listCheck(r, k.MutuallyRequired)
		c.run = counted(paths, "all or none of these fields must be set: "+told(k.MutuallyRequired),
			func(n, all int) bool { return n == 0 || n == all })
		return c, err
	case *optionsv1.Check_Distinct:
		c, paths, err := listCheck(r, k.Distinct)
		c.lenient = true
		c.run = distinct(paths, "values of these fields must be distinct: "+told(k.Distinct))
		return c, err
	case *optionsv1.Check_Conditional:
		return l.conditional(r, k.Conditional)
	case *optionsv1.Check_ConditionalAtLeastOneOf:
		return l.conditionalOneOf(r, k.ConditionalAtLeastOneOf)
	case *optionsv1.Check_Custom:
		return l.custom(k.Custom)
	}
	return nil, fmt.Errorf("a check of no kind")
}

func split(name string) []string { return strings.Split(name, ".") }

func splitAll(names []string) [][]string {
	out := make([][]string, len(names))
	for i, n := range names {
		out[i] = split(n)
	}
	return out
}

func told(l *optionsv1.FieldList) string {
	if len(l.Told) > 0 {
		return quoted(l.Told)
	}
	return quoted(l.Fields)
}

func listCheck(r *record, l *optionsv1.FieldList) (*check, [][]string, error) {
	paths := splitAll(l.GetFields())
	for i, p := range paths {
		if r.lookup(p) == nil {
			return &check{}, nil, fmt.Errorf("check names unknown field %q", l.Fields[i])
		}
	}
	return &check{paths: paths}, paths, nil
}

// counted tests how many of the fields are not empty.
func counted(paths [][]string, msg string, ok func(n, all int) bool) func(Body, fault.Tree) string {
	return func(b Body, _ fault.Tree) string {
		n := 0
		for _, p := range paths {
			if !isEmpty(lookup(b, p)) {
				n++
			}
		}
		if ok(n, len(paths)) {
			return ""
		}
		return msg
	}
}

func distinct(paths [][]string, msg string) func(Body, fault.Tree) string {
	return func(b Body, _ fault.Tree) string {
		var seen []any
		for _, p := range paths {
			v := lookup(b, p)
			if isEmpty(v) {
				continue
			}
			if holds(seen, v) {
				return msg
			}
			seen = append(seen, v)
		}
		return ""
	}
}

func (l *loader) conditional(r *record, o *optionsv1.Conditional) (*check, error) {
	ifPath, thenPath := split(o.IfField), split(o.ThenField)
	ifField, err := l.asked(r, o.IfField, o.IfMatch)
	if err != nil {
		return nil, err
	}
	thenField, err := l.asked(r, o.ThenField, o.ThenMatch)
	if err != nil {
		return nil, err
	}
	msg := o.ThenErr
	if msg == "" {
		msg = "failed conditional validation given value of field '" + o.IfField + "'"
	}
	c := &check{paths: [][]string{ifPath, thenPath}, lenient: true, asked: []*Field{ifField, thenField}}
	c.run = func(b Body, errs fault.Tree) string {
		v := lookup(b, ifPath)
		if v == nil {
			if r.element && lookup(b, thenPath) != nil { // where Kong fills in no null
				mark(errs, ifPath, "field required for entity check")
			}
			return "" // null meets no condition
		}
		if _, bad := ifField.validate(clone(v)); bad != nil {
			return ""
		}
		_, bad := thenField.validate(clone(lookup(b, thenPath)))
		if bad == nil {
			return ""
		}
		mark(errs, thenPath, bad)
		return msg
	}
	return c, nil
}

// asked makes a field of the type of r's field, with other rules.
func (l *loader) asked(r *record, name string, o *optionsv1.Rule) (*Field, error) {
	f := r.lookup(split(name))
	if f == nil {
		return nil, fmt.Errorf("check names unknown field %q", name)
	}
	g := &Field{Type: f.Type, Required: o.GetRequired(), Abstract: f.Abstract, record: f.record, Fields: f.Fields}
	var err error
	if g.rule, err = l.rule(f.Type, o); err != nil {
		return nil, err
	}
	// The condition says all that is asked: not what the field itself implies.
	g.rule.impliedEmpty = false
	g.Keys, g.Values, g.Elements = f.Keys, f.Values, f.Elements
	if o.GetElements() != nil && f.Elements != nil {
		g.Elements, err = l.element(f.Elements.Type, o.Elements)
	}
	return g, err
}

func (l *loader) conditionalOneOf(r *record, o *optionsv1.ConditionalAtLeastOneOf) (*check, error) {
	ifField, err := l.asked(r, o.IfField, o.IfMatch)
	if err != nil {
		return nil, err
	}
	var elseField *Field
	if o.ElseMatch != nil {
		if elseField, err = l.asked(r, o.IfField, o.ElseMatch); err != nil {
			return nil, err
		}
	}
	o = proto.CloneOf(o)
	o.ThenAtLeastOneOf, o.ElseThenAtLeastOneOf = r.present(o.ThenAtLeastOneOf), r.present(o.ElseThenAtLeastOneOf)
	then := oneOf(o.ThenAtLeastOneOf, o.ThenErr)
	other := oneOf(o.ElseThenAtLeastOneOf, o.ElseThenErr)
	ifPath := split(o.IfField)
	c := &check{oneOf: o, paths: append([][]string{ifPath}, splitAll(o.ThenAtLeastOneOf)...), lenient: true, asked: []*Field{ifField, elseField}}
	c.run = func(b Body, errs fault.Tree) string {
		v := lookup(b, ifPath)
		if v == nil {
			return ""
		}
		if _, bad := ifField.validate(clone(v)); bad == nil {
			return then(b, errs)
		}
		if elseField == nil {
			return ""
		}
		if _, bad := elseField.validate(clone(v)); bad != nil {
			return ""
		}
		return other(b, errs)
	}
	return c, nil
}

// present leaves out fields that are not there under this router_flavor.
func (r *record) present(names []string) []string {
	return slices.DeleteFunc(names, func(n string) bool { return slices.Contains(r.absent, n) })
}

func oneOf(names []string, format string) func(Body, fault.Tree) string {
	return counted(splitAll(names), strings.Replace(format, "%s", quoted(names), 1),
		func(n, _ int) bool { return n >= 1 })
}

func (l *loader) custom(o *optionsv1.Custom) (*check, error) {
	fn := l.recordCheck(o.Name)
	if fn == nil {
		return nil, fmt.Errorf("unknown check %q", o.Name)
	}
	c := &check{paths: splitAll(o.FieldSources)}
	c.run = func(b Body, _ fault.Tree) string { return fn(b) }
	return c, nil
}

// lookup finds a field by its path, nil if there is none.
func (r *record) lookup(path []string) *Field {
	f := r.byName[path[0]]
	for _, name := range path[1:] {
		if f == nil || f.record == nil {
			return nil
		}
		f = f.record.byName[name]
	}
	return f
}

// lookup returns the value at a path, nil where there is none.
func lookup(b Body, path []string) any {
	var v any = b
	for _, name := range path {
		m, ok := v.(Body)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

// faulty tells whether errs speaks of the field at a path, or of something around it.
func faulty(errs fault.Tree, path []string) bool {
	var v any = errs
	for _, name := range path {
		m, ok := v.(fault.Tree)
		if !ok {
			// Kong 3.9.1 looks inside a text and finds nothing there.
			return false
		}
		if v = m[name]; v == nil {
			return false
		}
	}
	return true
}

// mark writes a violation at a path.
func mark(errs fault.Tree, path []string, bad any) {
	for _, name := range path[:len(path)-1] {
		next, ok := errs[name].(fault.Tree)
		if !ok {
			if errs[name] != nil {
				return // the whole record is refused already
			}
			next = fault.Tree{}
			errs[name] = next
		}
		errs = next
	}
	errs[path[len(path)-1]] = bad
}

// isEmpty is Kong's notion: null, an empty text, list, map or record.
func isEmpty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case Body:
		return len(v) == 0
	}
	return false
}

// runChecks runs checks over b and returns the texts for "@entity".
func runChecks(list []*check, b Body, errs fault.Tree, update bool) []any {
	var texts []any
	for _, c := range list {
		if c.skip(b, errs) {
			continue
		}
		text := c.run(b, errs)
		if text == "" {
			continue
		}
		if update {
			text = c.patched + text
		}
		texts = append(texts, text)
	}
	return texts
}

// skip tells whether a check cannot say anything: a field is wrong in itself, or stands for
// a value that a vault holds.
func (c *check) skip(b Body, errs fault.Tree) bool {
	for _, p := range c.paths {
		if !c.lenient && faulty(errs, p) {
			return true
		}
		if s, ok := lookup(b, p).(string); ok && IsReference(s) {
			return true
		}
	}
	return false
}

// IsReference tells a vault reference from a value.
func IsReference(s string) bool {
	return strings.HasPrefix(s, "{vault://") && strings.HasSuffix(s, "}")
}
