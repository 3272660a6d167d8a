package payload

import (
	"encoding/json"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
)

// Values are named values as Kong's own functions give them: a text, true for an argument
// without a value, a list where a name is there more than once, and what JSON has. Nothing of
// it points into the request.
type Values map[string]any

// Arguments returns the values of a query or a form body.
func Arguments(query string) Values {
	v := Values{}
	for a := range plugin.Arguments(query) {
		if a.Bare {
			v.add(strings.Clone(a.Name), true)
		} else {
			v.add(strings.Clone(a.Name), strings.Clone(a.Value))
		}
	}
	return v
}

// Headers returns the values of header lines, by names in lower case.
func Headers(h *plugin.Header) Values {
	v := Values{}
	for _, line := range h.Fields() {
		v.add(strings.ToLower(line.Name), strings.Clone(line.Value))
	}
	return v
}

// Members returns the values of a body by its type; none when it has none that are named.
func Members(contentType string, body []byte) Values {
	switch KindOf(contentType) {
	case Form:
		return Arguments(string(body))
	case JSON:
		v := Values{}
		if json.Unmarshal(body, &v) == nil && v != nil {
			return v
		}
	case Multipart:
		v := Values{}
		if p := parseParts(contentType, body); p != nil {
			for _, part := range p.parts {
				v.add(part.name, string(part.body))
			}
		}
		return v
	}
	return Values{}
}

// First splits a value into the first and all.
func First(v any) (any, []any) {
	if all, ok := v.([]any); ok && len(all) > 0 {
		return all[0], all
	}
	return v, []any{v}
}

func (v Values) add(name string, value any) {
	switch have := v[name].(type) {
	case nil:
		v[name] = value
	case []any:
		v[name] = append(have, value)
	default:
		v[name] = []any{have, value}
	}
}
