package schema

import (
	"encoding/json"
	"math"

	"github.com/sekifuda/sekifuda/model/fault"
)

// clone copies a body deeply and brings numbers to float64, the only kind a Body has.
func clone(v any) any {
	switch v := v.(type) {
	case Body:
		return cloneBody(v)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = clone(e)
		}
		return out
	case []string:
		return anyList(v)
	case int:
		return float64(v)
	case int64:
		return float64(v)
	case uint64:
		return float64(v)
	case json.Number:
		n, err := v.Float64()
		if err != nil {
			return math.NaN() // refused as no number
		}
		return n
	}
	return v
}

func cloneBody(b Body) Body {
	out := make(Body, len(b)+4)
	for k, v := range b {
		out[k] = clone(v)
	}
	return out
}

// fill gives absent fields their default. A record that must be there is made, and filled
// when it is validated; what may be absent becomes null.
func (r *record) fill(b Body) {
	for _, f := range r.fields {
		if f.Internal {
			continue
		}
		if _, present := b[f.Name]; present {
			continue
		}
		switch {
		case f.HasDefault:
			b[f.Name] = clone(f.Default)
		case f.Required && f.Type == Record && !f.Abstract:
			b[f.Name] = Body{}
		case !f.Required:
			b[f.Name] = nil
		}
	}
}

// expand replaces shorthands by what they stand for, here and in nested records. Violations
// of shorthands stand at the top whatever their depth, as in Kong 3.9.1.
func (r *record) expand(b Body) fault.Tree {
	errs := fault.Tree{}
	for _, s := range r.shorthands {
		v, present := b[s.field.Name]
		if !present {
			continue
		}
		next, bad := s.field.validate(v)
		if bad == nil {
			if s.expand == nil {
				bad = s.move(b, next)
			} else {
				s.spread(b, next)
			}
		}
		if bad != nil {
			errs[s.field.Name] = bad
		}
	}
	if len(errs) > 0 {
		return errs
	}
	for _, f := range r.fields {
		if f.record == nil || f.Type != Record {
			continue
		}
		if m, ok := b[f.Name].(Body); ok {
			if errs := f.record.expand(m); errs != nil {
				return errs
			}
		}
	}
	return nil
}

// spread runs the Go of a shorthand and takes over what it says.
func (s *shorthand) spread(b Body, v any) {
	delete(b, s.field.Name)
	for k, n := range s.expand(v, b) {
		b[k] = n
	}
}

// move writes the value at its new place. The new spelling wins when both are said; two that
// differ are refused.
func (s *shorthand) move(b Body, v any) any {
	delete(b, s.field.Name)
	m := b
	for _, name := range s.path[:len(s.path)-1] {
		next, present := m[name]
		if !present || next == nil {
			next = Body{}
			m[name] = next
		}
		inner, ok := next.(Body)
		if !ok {
			return nil // refused when it is validated
		}
		m = inner
	}
	last := s.path[len(s.path)-1]
	old, present := m[last]
	if !present || old == nil {
		m[last] = v
		return nil
	}
	if v == nil || same(old, v) {
		return nil
	}
	name, path := s.field.Name, joinPath(s.path)
	return "both deprecated and new field are used but their values mismatch: " +
		name + " = " + luaString(v) + " vs " + path + " = " + luaString(old)
}

func joinPath(path []string) string {
	out := path[0]
	for _, p := range path[1:] {
		out += "." + p
	}
	return out
}

// same compares plain values; lists and maps count as different from everything.
func same(a, b any) bool {
	return holds([]any{a}, b)
}

// merge lays the members of a PATCH over the stored state: records are merged, everything
// else is replaced.
func (r *record) merge(patch, old Body) Body {
	out := make(Body, len(old)+len(patch))
	for k, v := range old {
		out[k] = v
	}
	for k, v := range patch {
		f := r.byName[k]
		out[k] = v
		if f == nil || f.Type != Record || f.record == nil {
			continue
		}
		next, ok := asBody(v)
		prev, had := old[k].(Body)
		if ok && had {
			out[k] = f.record.merge(next, prev)
		}
	}
	return out
}
