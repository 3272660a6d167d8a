package logentry

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
)

// Custom is the compiled custom_fields_by_lua of a log plugin: members to add, to replace or
// to take out. There is no Lua here: the forms that people use are understood, and anything
// else is refused when it is configured.
type Custom struct {
	fields []custom
}

type custom struct {
	path  []string
	value func(x *plugin.Exchange) (any, bool) // false: the member goes
}

var (
	returns    = regexp.MustCompile(`^\s*return\s+(.*?)\s*;?\s*$`)
	headerCall = regexp.MustCompile(`^kong\.request\.get_header\(\s*["']([A-Za-z0-9_-]+)["']\s*\)$`)
)

// Compile reads the fields: dotted path to a chunk of Lua. nil when there are none.
func Compile(fields map[string]string) (*Custom, error) {
	if len(fields) == 0 {
		return nil, nil
	}
	c := &Custom{}
	for path, chunk := range fields {
		value, err := compile(chunk)
		if err != nil {
			return nil, fmt.Errorf("custom_fields_by_lua: %s: %w", path, err)
		}
		c.fields = append(c.fields, custom{path: strings.Split(path, "."), value: value})
	}
	// Shorter paths first, so that a member of a member finds its owner.
	slices.SortFunc(c.fields, func(a, b custom) int {
		if n := len(a.path) - len(b.path); n != 0 {
			return n
		}
		return slices.Compare(a.path, b.path)
	})
	return c, nil
}

func compile(chunk string) (func(*plugin.Exchange) (any, bool), error) {
	m := returns.FindStringSubmatch(chunk)
	if m == nil {
		return nil, unsupported(chunk)
	}
	expr := m[1]
	if h := headerCall.FindStringSubmatch(expr); h != nil {
		return func(x *plugin.Exchange) (any, bool) { return x.Request.Header.Lookup(h[1]) }, nil
	}
	if v, ok := literal(expr); ok {
		return func(*plugin.Exchange) (any, bool) { return v, v != nil }, nil
	}
	return nil, unsupported(chunk)
}

func literal(expr string) (any, bool) {
	switch expr {
	case "nil":
		return nil, true
	case "true":
		return true, true
	case "false":
		return false, true
	}
	if n := len(expr); n >= 2 && (expr[0] == '"' || expr[0] == '\'') && expr[n-1] == expr[0] && !strings.ContainsAny(expr[1:n-1], expr[:1]+`\`) {
		return expr[1 : n-1], true
	}
	if f, err := strconv.ParseFloat(expr, 64); err == nil {
		return f, true
	}
	return nil, false
}

func unsupported(chunk string) error {
	return fmt.Errorf("%q is not understood: there is no Lua here; "+
		`return nil, a text, a number, true, false, or kong.request.get_header("name")`, chunk)
}

// Append is Append with the fields applied. A nil Custom has none.
func (c *Custom) Append(b []byte, x *plugin.Exchange) []byte {
	if c == nil {
		return Append(b, x)
	}
	var entry map[string]any
	if err := json.Unmarshal(Append(nil, x), &entry); err != nil {
		return Append(b, x)
	}
	for _, f := range c.fields {
		v, keep := f.value(x)
		set(entry, f.path, v, keep)
	}
	raw, err := json.Marshal(entry)
	if err != nil {
		return Append(b, x)
	}
	return append(b, raw...)
}

// set sets or takes out the member at a path; owners that are missing are made.
func set(entry map[string]any, path []string, v any, keep bool) {
	for _, name := range path[:len(path)-1] {
		inner, ok := entry[name].(map[string]any)
		if !ok {
			if !keep {
				return
			}
			inner = map[string]any{}
			entry[name] = inner
		}
		entry = inner
	}
	last := path[len(path)-1]
	if !keep {
		delete(entry, last)
		return
	}
	entry[last] = v
}
