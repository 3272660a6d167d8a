package schema

import (
	"fmt"
	"math"
	"sort"
	"unicode/utf8"

	"github.com/sekifuda/sekifuda/model/fault"
)

// atEntity is where violations stand that concern several fields.
const atEntity = "@entity"

// validate checks a whole record, in Kong's order: fields, then checks over several of them,
// then the record as a whole. It brings values into their stored form as it goes. The result
// is nil, a fault.Tree or a text.
func (r *record) validate(b Body, extra []*check, update bool) any {
	errs := fault.Tree{}
	r.validateFields(b, errs)
	texts := runChecks(r.checks, b, errs, update)
	texts = append(texts, runChecks(extra, b, errs, update)...)
	if len(texts) > 0 {
		if s, ok := errs[atEntity].(string); ok {
			texts = append([]any{s}, texts...) // a client sent a member of that name
		}
		errs[atEntity] = texts
	}
	if len(errs) > 0 {
		return errs
	}
	if r.whole != nil {
		if msg := r.whole(b); msg != "" {
			return msg
		}
	}
	return nil
}

func (r *record) validateFields(b Body, errs fault.Tree) {
	for k := range b {
		if f := r.byName[k]; f == nil || f.Internal {
			errs[k] = msgUnknown
		}
	}
	for _, f := range r.fields {
		v, present := b[f.Name]
		if f.Internal || !present && !f.Required {
			continue
		}
		next, bad := f.validate(v)
		if bad != nil {
			errs[f.Name] = bad
			continue
		}
		if present {
			b[f.Name] = next
		}
	}
}

// validate checks one value and returns it in its stored form. The second result is nil, a
// text, a []any with nil at valid positions, or a fault.Tree.
func (f *Field) validate(v any) (any, any) {
	if v == nil {
		if f.Required && !f.rule.eqNull {
			return nil, msgRequired
		}
		return nil, nil
	}
	if f.rule.eqNull {
		if f.rule.err != "" {
			return nil, f.rule.err
		}
		return nil, msgNull
	}
	next, bad := f.validateType(v)
	if bad != nil {
		return nil, bad
	}
	if s, ok := next.(string); ok && f.said.refable && IsReference(s) {
		return next, nil
	}
	if msg := f.rule.apply(next); msg != "" {
		return nil, msg
	}
	return next, nil
}

func (f *Field) validateType(v any) (any, any) {
	switch f.Type {
	case String:
		return f.validateString(v)
	case Integer, Number:
		return f.validateNumber(v)
	case Boolean:
		if _, ok := v.(bool); !ok {
			return nil, "expected a boolean"
		}
		return v, nil
	case Array, Set:
		return f.validateList(v)
	case Map:
		return f.validateMap(v)
	case Foreign:
		return f.validateForeign(v)
	}
	return f.validateRecord(v)
}

func (f *Field) validateString(v any) (any, any) {
	s, ok := v.(string)
	if !ok {
		return nil, "expected a string"
	}
	if msg := invalidUTF8(s); msg != "" {
		return nil, msg
	}
	if f.rule.uuid && isUUID(s) {
		return lower(s), nil
	}
	return s, nil
}

// invalidUTF8 refuses what protobuf, PostgreSQL and JSON cannot carry.
func invalidUTF8(s string) string {
	if utf8.ValidString(s) {
		return ""
	}
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return fmt.Sprintf("invalid utf-8 character sequence detected at position %d", i+1)
			}
		}
	}
	return ""
}

// lower is for ASCII; ids are kept as PostgreSQL prints them.
func lower(s string) string {
	for i := range len(s) {
		if s[i] >= 'A' && s[i] <= 'Z' {
			b := []byte(s)
			for j := i; j < len(b); j++ {
				if b[j] >= 'A' && b[j] <= 'Z' {
					b[j] |= 0x20
				}
			}
			return string(b)
		}
	}
	return s
}

func (f *Field) validateNumber(v any) (any, any) {
	n, ok := v.(float64)
	if f.Type == Number {
		if !ok || math.IsNaN(n) || math.IsInf(n, 0) {
			return nil, "expected a number"
		}
		return n, nil
	}
	// Beyond 2^63 a float has no int64.
	if !ok || n != math.Trunc(n) || math.Abs(n) >= 1<<63 {
		return nil, "expected an integer"
	}
	return n + 0, nil // -0 becomes 0
}

func (f *Field) validateList(v any) (any, any) {
	list, ok := asList(v)
	if !ok {
		if f.Type == Set {
			return nil, "expected a set"
		}
		return nil, "expected an array"
	}
	var bad []any
	for i, e := range list {
		next, err := f.Elements.validate(e)
		if err == nil && next == nil {
			err = msgRequired // a list of protobuf holds no null
		}
		if err != nil {
			for len(bad) < i {
				bad = append(bad, nil)
			}
			bad = append(bad, err)
			continue
		}
		list[i] = next
	}
	if bad != nil {
		return nil, bad
	}
	if f.Type == Set {
		return unique(list), nil
	}
	return list, nil
}

// asList takes {} for []: Lua cannot tell them apart.
func asList(v any) ([]any, bool) {
	switch v := v.(type) {
	case []any:
		return v, true
	case Body:
		if len(v) == 0 {
			return []any{}, true
		}
	}
	return nil, false
}

// asBody takes [] for {}.
func asBody(v any) (Body, bool) {
	switch v := v.(type) {
	case Body:
		return v, true
	case []any:
		if len(v) == 0 {
			return Body{}, true
		}
	}
	return nil, false
}

// unique drops later duplicates of plain values; records are never alike.
func unique(list []any) []any {
	if len(list) < 2 {
		return list
	}
	seen := make(map[any]struct{}, len(list))
	out := list[:0]
	for _, v := range list {
		switch v.(type) {
		case string, float64, bool:
			if _, dup := seen[v]; dup {
				continue
			}
			seen[v] = struct{}{}
		}
		out = append(out, v)
	}
	return out
}

// validateMap returns the first violation, of keys in sorted order, without its key: so does
// Kong 3.9.1, in no order.
func (f *Field) validateMap(v any) (any, any) {
	m, ok := asBody(v)
	if !ok {
		return nil, "expected a map"
	}
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		if _, bad := f.Keys.validate(k); bad != nil {
			return nil, bad
		}
		next, bad := f.Values.validate(m[k])
		if bad == nil && next == nil {
			bad = msgRequired // a map of protobuf holds no null
		}
		if bad != nil {
			return nil, bad
		}
		m[k] = next
	}
	return m, nil
}

// validateForeign keeps only the id. What is no record lacks it. Where the id is no good, the
// other members are looked at, and what is wrong with them is said instead, as Kong 3.9.1 does.
func (f *Field) validateForeign(v any) (any, any) {
	m, _ := v.(Body)
	id, bad := foreignID(m["id"])
	if bad == "" {
		return Body{"id": id}, nil
	}
	if f.refers != nil {
		if errs := f.refers.base.validateGiven(m); len(errs) > 0 {
			return nil, errs
		}
	}
	return nil, fault.Tree{"id": bad}
}

// foreignID is an id in its stored form, or what is wrong with it.
func foreignID(v any) (id, bad string) {
	switch v := v.(type) {
	case nil:
		return "", msgNoID
	case string:
		if !isUUID(v) {
			return "", msgUUID
		}
		return lower(v), ""
	}
	return "", "expected a string"
}

// validateGiven checks the members that b has, and misses none.
func (r *record) validateGiven(b Body) fault.Tree {
	errs := fault.Tree{}
	for k, v := range b {
		f := r.byName[k]
		if f == nil || f.Internal {
			errs[k] = msgUnknown
		} else if _, bad := f.validate(clone(v)); bad != nil {
			errs[k] = bad
		}
	}
	return errs
}

func (f *Field) validateRecord(v any) (any, any) {
	m, ok := asBody(v)
	if !ok {
		return nil, "expected a record"
	}
	if f.Abstract || f.record == nil {
		return nil, "error in schema definition: abstract field was not specialized"
	}
	f.record.fill(m)
	if bad := f.record.validate(m, nil, false); bad != nil {
		return nil, bad
	}
	return m, nil
}
