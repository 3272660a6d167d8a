package document

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sekifuda/sekifuda/model/fault"
	"github.com/sekifuda/sekifuda/model/schema"
)

// problem is one thing that is wrong with a document.
type problem struct {
	where string
	path  []any // in the mirror: kinds and indexes
	item  *item // whose it is, nil: nobody's
	err   error // a *fault.Error with fields, or a text
}

// Refused is why a document cannot be had: everything that is wrong with it.
type Refused struct{ problems []problem }

func (r *Refused) Error() string {
	p := r.problems[0]
	text := p.where + ": " + p.err.Error()
	if n := len(r.problems) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more)", n)
	}
	return text
}

// Fault is the refusal in Kong's words: its fields mirror the document.
func (r *Refused) Fault() *fault.Error { return schema.InvalidDeclarative(mirror(r.problems)) }

func mirror(problems []problem) fault.Tree {
	tree := fault.Tree{}
	for _, p := range problems {
		put(tree, p.path, said(p.err))
	}
	return tree
}

// said is what a mirror shows of an error.
func said(err error) any {
	var f *fault.Error
	if errors.As(err, &f) && f.Fields != nil {
		return f.Fields
	}
	return err.Error()
}

// put returns node with v at the end of path.
func put(node any, path []any, v any) any {
	if len(path) == 0 {
		tree, had := node.(fault.Tree)
		more, is := v.(fault.Tree)
		if !had {
			return v
		}
		for name, x := range more { // of an entity that has something wrong below it too
			tree[name] = x
		}
		if !is {
			tree[atEntity] = []any{v}
		}
		return tree
	}
	switch step := path[0].(type) {
	case string:
		tree, ok := node.(fault.Tree)
		if !ok {
			tree = fault.Tree{}
		}
		tree[step] = put(tree[step], path[1:], v)
		return tree
	case int:
		list, _ := node.([]any)
		for len(list) <= step {
			list = append(list, nil)
		}
		list[step] = put(list[step], path[1:], v)
		return list
	}
	return node
}

// atEntity is the member of a mirror for what concerns an entity as a whole.
const atEntity = "@entity"

// Flat is what is wrong with one entity, its fields named by their paths.
type Flat struct {
	Type   string      `json:"entity_type"`
	ID     string      `json:"entity_id,omitempty"`
	Name   string      `json:"entity_name,omitempty"`
	Tags   []any       `json:"entity_tags,omitempty"`
	Entity schema.Body `json:"entity"`
	Errors []FlatError `json:"errors"`
}

// FlatError is one text; Type is "field" or "entity".
type FlatError struct {
	Type    string `json:"type"`
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
}

// Flatten is Fault with what is wrong with entities taken out of the mirror and listed: the
// last ones first, what stands below an entity before it.
func (r *Refused) Flatten() (*fault.Error, []Flat) {
	problems := slices.Clone(r.problems)
	slices.SortStableFunc(problems, func(a, b problem) int { return comparePaths(b.path, a.path) })
	flat := []Flat{}
	var rest []problem
	for _, p := range problems {
		if p.item == nil {
			rest = append(rest, p)
			continue
		}
		flat = append(flat, p.flat())
	}
	return schema.InvalidDeclarative(mirror(rest)), flat
}

func comparePaths(a, b []any) int {
	for i := range min(len(a), len(b)) {
		var c int
		if n, ok := a[i].(int); ok {
			m, _ := b[i].(int)
			c = cmp.Compare(n, m)
		} else {
			s, _ := b[i].(string)
			c = cmp.Compare(a[i].(string), s)
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

func (p *problem) flat() Flat {
	f := Flat{Type: strings.TrimSuffix(p.item.table.Kind, "s"), Entity: p.item.shown()}
	if id, _ := f.Entity["id"].(string); schema.IsID(id) {
		f.ID = id
	}
	f.Name, _ = f.Entity["name"].(string)
	f.Tags = texts(f.Entity["tags"])
	switch bad := said(p.err).(type) {
	case fault.Tree:
		f.Errors = flatErrors(nil, "", bad)
	case string:
		f.Errors = []FlatError{{Type: "entity", Message: bad}}
	}
	return f
}

// shown is the entity as the file says it, with the id of what it stands below.
func (it *item) shown() schema.Body {
	if it.owner == nil || it.given[it.link] != nil {
		return it.given
	}
	if id, _ := it.owner.given["id"].(string); schema.IsID(id) {
		it.given[it.link] = schema.Body{"id": id}
	}
	return it.given
}

// texts returns a list that holds nothing but texts, else nil.
func texts(v any) []any {
	list, _ := v.([]any)
	for _, x := range list {
		if _, ok := x.(string); !ok {
			return nil
		}
	}
	return list
}

// flatErrors adds the texts of a tree, the last name first.
func flatErrors(list []FlatError, at string, tree fault.Tree) []FlatError {
	names := make([]string, 0, len(tree))
	for name := range tree {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range slices.Backward(names) {
		if name == atEntity {
			list = entityErrors(list, tree[name])
			continue
		}
		list = fieldErrors(list, strings.TrimPrefix(at+"."+name, "."), tree[name])
	}
	return list
}

func entityErrors(list []FlatError, v any) []FlatError {
	switch v := v.(type) {
	case string:
		list = append(list, FlatError{Type: "entity", Message: v})
	case []any:
		for _, x := range v {
			list = entityErrors(list, x)
		}
	}
	return list
}

func fieldErrors(list []FlatError, field string, v any) []FlatError {
	switch v := v.(type) {
	case string:
		list = append(list, FlatError{Type: "field", Field: field, Message: v})
	case fault.Tree:
		list = flatErrors(list, field, v)
	case []any:
		for i, x := range slices.Backward(v) {
			list = fieldErrors(list, fmt.Sprintf("%s.%d", field, i+1), x)
		}
	}
	return list
}
