package lua

import (
	"encoding/json"
	"math"
	"sort"

	"github.com/yuin/gopher-lua"

	"github.com/sekifuda/sekifuda/plugin/payload"
)

// maxDepth bounds nested tables: deeper is one that holds itself.
const maxDepth = 64

// null is cjson.null and ngx.null.
type nullValue struct{ _ byte }

var theNull = &nullValue{}

// push makes a value of Lua of one of Go: what JSON has, and lists and maps of it.
func (s *state) push(v any) lua.LValue {
	switch v := v.(type) {
	case nil:
		return lua.LNil
	case bool:
		return lua.LBool(v)
	case string:
		return lua.LString(v)
	case int:
		return lua.LNumber(v)
	case int64:
		return lua.LNumber(v)
	case float64:
		return lua.LNumber(v)
	case *nullValue:
		return s.null()
	case []any:
		t := s.l.CreateTable(len(v), 0)
		for _, one := range v {
			t.Append(s.push(one))
		}
		return t
	case payload.Values:
		return s.push(map[string]any(v))
	case map[string]any:
		t := s.l.CreateTable(0, len(v))
		for name, one := range v {
			t.RawSetString(name, s.push(one))
		}
		return t
	}
	return lua.LNil
}

// pull makes a value of Go; functions and what is nested too deep are nil. A table that is a
// sequence is a list; an empty one is an object, as for cjson.
func pull(v lua.LValue, depth int) any {
	switch v := v.(type) {
	case lua.LBool:
		return bool(v)
	case lua.LString:
		return string(v)
	case lua.LNumber:
		return float64(v)
	case *lua.LUserData:
		if v.Value == theNull {
			return theNull
		}
	case *lua.LTable:
		if depth >= maxDepth {
			return nil
		}
		return pullTable(v, depth)
	}
	return nil
}

func pullTable(t *lua.LTable, depth int) any {
	n, all := t.Len(), 0
	t.ForEach(func(lua.LValue, lua.LValue) { all++ })
	if n > 0 && n == all {
		list := make([]any, 0, n)
		for i := 1; i <= n; i++ {
			list = append(list, pull(t.RawGetInt(i), depth+1))
		}
		return list
	}
	o := make(map[string]any, all)
	t.ForEach(func(k, v lua.LValue) { o[lua.LVAsString(keyText(k))] = pull(v, depth+1) })
	return o
}

func keyText(k lua.LValue) lua.LValue {
	if b, ok := k.(lua.LBool); ok {
		return lua.LString(b.String())
	}
	return k
}

// encode is cjson.encode.
func encode(v any) ([]byte, error) { return json.Marshal(plain(v)) }

// plain brings numbers without a fraction to integers, so that they are written as such, and null
// to nil.
func plain(v any) any {
	switch v := v.(type) {
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int64(v)
		}
	case *nullValue:
		return nil
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plain(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for name := range v {
			out[name] = plain(v[name])
		}
		return out
	}
	return v
}

// nulls makes null of what JSON calls so: nil would not be there at all.
func nulls(v any) any {
	switch v := v.(type) {
	case nil:
		return theNull
	case []any:
		for i := range v {
			v[i] = nulls(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = nulls(v[name])
		}
	}
	return v
}

// texts are the values of an argument of a function that sets headers or arguments: a text, a
// number, a boolean, or a list of them.
func texts(v lua.LValue) []string {
	if t, ok := v.(*lua.LTable); ok {
		var all []string
		for i := 1; i <= t.Len(); i++ {
			all = append(all, lua.LVAsString(keyText(t.RawGetInt(i))))
		}
		return all
	}
	return []string{lua.LVAsString(keyText(v))}
}

// names are the text keys of a table, in order.
func names(t *lua.LTable) []string {
	var all []string
	t.ForEach(func(k, _ lua.LValue) {
		if name, ok := k.(lua.LString); ok {
			all = append(all, string(name))
		}
	})
	sort.Strings(all)
	return all
}
