package logentry

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/expression"
	"github.com/sekifuda/sekifuda/plugin/lua"
	"github.com/sekifuda/sekifuda/plugin/payload"
)

// Fields are members that a configuration sets in or removes from entries
// (custom_fields_by_lua). A nil one has none.
type Fields struct {
	all []field
}

type field struct {
	path []string
	expr *expression.Expr // nil: the chunk is more than that
	lua  *lua.Program
}

// Compile reads chunks of Lua by the path of their member ("a.b"; "\." is a dot in a name). One
// "return" of an expression over kong.request, kong.response, kong.client, kong.router and a few
// functions of Lua is read without an interpreter; any other chunk runs in one. The error names
// what is not there.
func Compile(chunks map[string]string, h plugin.Host) (*Fields, error) {
	if len(chunks) == 0 {
		return nil, nil
	}
	f := &Fields{}
	for _, name := range slices.Sorted(maps.Keys(chunks)) {
		program, err := lua.CompileValue("custom_fields_by_lua", chunks[name], h)
		if err != nil {
			return nil, fmt.Errorf("config.custom_fields_by_lua.%s: %w", name, err)
		}
		one := field{path: splitPath(name), lua: program}
		if text, ok := returned(chunks[name]); ok {
			if e, err := expression.Compile(text, "kong", "string", "tonumber", "tostring", "type"); err == nil {
				one.expr, one.lua = e, nil
			}
		}
		f.all = append(f.all, one)
	}
	return f, nil
}

// value is what a member becomes; nil removes it.
func (f *field) value(x *plugin.Exchange) (json.RawMessage, error) {
	if f.lua != nil {
		return f.lua.Value(x)
	}
	v, err := f.expr.Eval(names{x})
	if err != nil || v.Kind() == expression.Nil {
		return nil, err
	}
	return render(v), nil
}

// returned cuts the expression out of "return expression". An empty return is nil.
func returned(chunk string) (string, bool) {
	chunk = strings.TrimSuffix(strings.TrimSpace(chunk), ";")
	rest, ok := strings.CutPrefix(chunk, "return")
	if !ok {
		return "", false
	}
	if rest == "" {
		return "nil", true
	}
	return rest, strings.ContainsAny(rest[:1], " \t\r\n('\"")
}

func splitPath(name string) (path []string) {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		switch {
		case name[i] == '\\' && i+1 < len(name) && name[i+1] == '.':
			i++
			b.WriteByte('.')
		case name[i] == '.':
			path = append(path, b.String())
			b.Reset()
		default:
			b.WriteByte(name[i])
		}
	}
	return append(path, b.String())
}

// Append appends the entry of x with the fields. A field that fails is left out, as in Kong;
// err is the first failure, for the log.
func (f *Fields) Append(b []byte, x *plugin.Exchange) (_ []byte, err error) {
	at := len(b)
	b = Append(b, x)
	if f == nil {
		return b, nil
	}
	entry := json.RawMessage(slices.Clone(b[at:]))
	for i := range f.all {
		one := &f.all[i]
		v, e := one.value(x)
		if e != nil {
			if err == nil {
				err = fmt.Errorf("log field %s: %w", strings.Join(one.path, "."), e)
			}
			continue
		}
		entry = set(entry, one.path, v)
	}
	return append(b[:at], entry...), err
}

// AppendLogged is Append for callers that can only log a field's failure.
func (f *Fields) AppendLogged(b []byte, x *plugin.Exchange, log *slog.Logger) []byte {
	b, err := f.Append(b, x)
	if err != nil {
		log.Warn("render log entry", "error", err)
	}
	return b
}

// set puts a value at a path of a JSON object; nil removes what is there. What stands in the
// way and is no object is replaced.
func set(object json.RawMessage, path []string, v json.RawMessage) json.RawMessage {
	o := payload.ParseObject(object)
	if o == nil {
		if v == nil {
			return object
		}
		o = payload.ParseObject(nil)
	}
	inner, ok := o.Raw(path[0])
	switch {
	case len(path) > 1 && (ok || v != nil):
		o.SetRaw(path[0], set(inner, path[1:], v))
	case len(path) > 1:
	case v == nil:
		o.Remove(path[0])
	default:
		o.SetRaw(path[0], v)
	}
	return o.Bytes()
}

func render(v expression.Value) json.RawMessage {
	switch v.Kind() {
	case expression.Bool, expression.Number:
		return json.RawMessage(v.String())
	}
	return appendString(nil, v.String())
}
