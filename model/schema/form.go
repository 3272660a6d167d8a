package schema

import (
	"net/url"
	"sort"
	"strconv"
	"strings"
)

// Form gives a decoded form the types that the table asks for. A plugin's config is read by
// the name in the form; when the form has none, use FormNamed.
func (t *Table) Form(values url.Values) Body { return t.FormNamed(values, "") }

// FormNamed is Form for an entity whose name is stored: a PATCH need not repeat it.
func (t *Table) FormNamed(values url.Values, name string) Body {
	b := nestForm(values)
	if _, said := b["name"].(string); !said && name != "" {
		b["name"] = name
		defer delete(b, "name")
	}
	v, _ := t.variantFor(b)
	if v == nil {
		v = t.base
	}
	v.infer(b)
	if t.TTL {
		if s, ok := b["ttl"].(string); ok {
			b["ttl"] = inferNumber(s)
		}
	}
	return b
}

// FormUntyped nests a form by the older rules, which know no table: "true", "false" and the
// empty text become what they say, everything else stays a text. Kong's /schemas/*/validate
// reads forms so.
func FormUntyped(values url.Values) Body {
	b := nestForm(values)
	return plainTypes(b).(Body)
}

func plainTypes(v any) any {
	switch v := v.(type) {
	case Body:
		for k, e := range v {
			v[k] = plainTypes(e)
		}
	case []any:
		for i, e := range v {
			v[i] = plainTypes(e)
		}
	case string:
		switch v {
		case "true":
			return true
		case "false":
			return false
		case "":
			return nil
		}
	}
	return v
}

// infer types the members of a nested form; unknown ones stay texts.
func (r *record) infer(b Body) {
	for k, v := range b {
		f := r.byName[k]
		if f == nil {
			f = r.shorthand(k)
		}
		if f != nil {
			b[k] = f.infer(v)
		}
	}
}

func (r *record) shorthand(name string) *Field {
	for _, s := range r.shorthands {
		if s.field.Name == name {
			return s.field
		}
	}
	return nil
}

func (f *Field) infer(v any) any {
	if v == "" {
		return nil
	}
	switch f.Type {
	case Integer, Number:
		if s, ok := v.(string); ok {
			return inferNumber(s)
		}
	case Boolean:
		switch v {
		case "true":
			return true
		case "false":
			return false
		}
	case Array, Set:
		return f.inferList(v)
	case Map:
		if m, ok := v.(Body); ok {
			for k, e := range m {
				m[k] = f.Values.infer(e)
			}
		}
	case Record:
		if m, ok := v.(Body); ok && f.record != nil {
			f.record.infer(m)
		}
	case Foreign:
		if m, ok := v.(Body); ok {
			for k, e := range m {
				if e == "" {
					m[k] = nil
				}
			}
		}
	}
	return v
}

// inferList makes a list of a single value. What came as a map stays one and is refused.
func (f *Field) inferList(v any) any {
	list, ok := v.([]any)
	if !ok {
		if _, isMap := v.(Body); isMap && f.Elements.Type != Record {
			return v
		}
		list = []any{v}
	}
	for i, e := range list {
		list[i] = f.Elements.infer(e)
	}
	return list
}

// inferNumber reads what Lua's tonumber reads; other texts stay as they are and are refused
// as no number.
func inferNumber(s string) any {
	t := strings.TrimSpace(s)
	body := strings.TrimLeft(t, "+-")
	if strings.HasPrefix(body, "0x") || strings.HasPrefix(body, "0X") {
		if n, err := strconv.ParseUint(body[2:], 16, 64); err == nil && len(t)-len(body) <= 1 {
			if t[0] == '-' {
				return -float64(n)
			}
			return float64(n)
		}
		return s
	}
	// Go also reads "inf", "nan" and "1_000", which no field wants.
	if strings.Trim(t, "0123456789+-.eE") != "" {
		return s
	}
	n, err := strconv.ParseFloat(t, 64)
	if err != nil {
		return s
	}
	return n
}

// The bounds of a form's shape: names deeper or indices higher than any field needs are
// refused by leaving the name as it is, which no table knows.
const (
	maxFormDepth = 32
	maxFormIndex = 1000
)

// nestForm turns names like "a.b", "a[b]", "a[]" and "a[1]" into nested bodies and lists.
// Names are taken in sorted order, so equal forms give equal bodies.
func nestForm(values url.Values) Body {
	names := make([]string, 0, len(values))
	for n := range values {
		names = append(names, n)
	}
	sort.Strings(names)
	root := &formNode{}
	for _, n := range names {
		vals := values[n]
		if len(vals) == 0 {
			continue
		}
		var v any = vals[0]
		if len(vals) > 1 {
			v = anyList(vals)
		}
		root.put(formPath(n), v)
	}
	b, _ := root.value().(Body)
	if b == nil {
		b = Body{}
	}
	return b
}

// nextIndex is the index of "[]": behind all others.
const nextIndex = -1

// formStep is one part of a name: a member, an index, or "[]".
type formStep struct {
	name   string
	index  int
	isList bool
}

// formPath takes a name apart. What is malformed is one member of that very name.
func formPath(name string) []formStep {
	name = strings.NewReplacer("%5B", "[", "%5b", "[", "%5D", "]", "%5d", "]").Replace(name)
	whole := []formStep{{name: name}}
	if strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") {
		// Kong 3.9.1 stores the value under the word "name", whatever the name was.
		return []formStep{{name: "name"}}
	}
	var path []formStep
	for rest := name; rest != ""; {
		step, after, ok := nextStep(rest, len(path) == 0)
		if !ok || len(path) == maxFormDepth {
			return whole
		}
		path = append(path, step)
		rest = after
	}
	if len(path) == 0 || path[0].isList {
		return whole
	}
	return path
}

func nextStep(rest string, first bool) (formStep, string, bool) {
	if rest[0] == '[' {
		inside, after, found := strings.Cut(rest[1:], "]")
		if !found {
			return formStep{}, "", false
		}
		after = strings.TrimPrefix(after, ".")
		if inside == "" {
			return formStep{isList: true, index: nextIndex}, after, true
		}
		if n, err := strconv.Atoi(inside); err == nil {
			return formStep{isList: true, index: n}, after, n >= 0 && n <= maxFormIndex
		}
		return formStep{name: inside}, after, true
	}
	end := strings.IndexAny(rest, ".[")
	switch {
	case end < 0:
		return formStep{name: rest}, "", true
	case end == 0:
		return formStep{}, "", false
	case rest[end] == '.':
		return formStep{name: rest[:end]}, rest[end+1:], true
	}
	return formStep{name: rest[:end]}, rest[end:], true
}

// formNode is a body or a list that is being put together.
type formNode struct {
	leaf    any
	members map[string]*formNode
	items   map[int]*formNode
	tail    []any // of "[]", behind the items
	isList  bool
}

func (n *formNode) put(path []formStep, v any) {
	if len(path) == 0 {
		n.leaf = v
		return
	}
	step := path[0]
	if !step.isList {
		if n.members == nil {
			n.members = map[string]*formNode{}
		}
		if n.members[step.name] == nil {
			n.members[step.name] = &formNode{}
		}
		n.members[step.name].put(path[1:], v)
		return
	}
	n.isList = true
	if step.index == nextIndex {
		item := &formNode{}
		item.put(path[1:], v)
		n.push(item.value())
		return
	}
	if step.index == 0 {
		return // lists of Lua begin at 1; the list itself is there all the same
	}
	if n.items == nil {
		n.items = map[int]*formNode{}
	}
	if n.items[step.index] == nil {
		n.items[step.index] = &formNode{}
	}
	n.items[step.index].put(path[1:], v)
}

func (n *formNode) push(v any) {
	if list, ok := v.([]any); ok {
		n.tail = append(n.tail, list...)
		return
	}
	n.tail = append(n.tail, v)
}

// value returns what was put together; members win over items, and those over a leaf.
func (n *formNode) value() any {
	switch {
	case n.members != nil:
		b := make(Body, len(n.members))
		for k, m := range n.members {
			b[k] = m.value()
		}
		return b
	case n.isList:
		indices := make([]int, 0, len(n.items))
		for i := range n.items {
			indices = append(indices, i)
		}
		sort.Ints(indices)
		list := make([]any, 0, len(indices)+len(n.tail))
		for _, i := range indices {
			list = append(list, n.items[i].value())
		}
		return append(list, n.tail...)
	}
	return n.leaf
}
