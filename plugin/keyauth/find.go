package keyauth

import (
	"net/url"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/payload"
)

// name is one configured key name. dashed is another spelling of it as a header, "" if there
// is none: Kong finds api-key for api_key.
type name struct {
	given, dashed string
}

func makeName(given string) name {
	n := name{given: given}
	if dashed := strings.ReplaceAll(given, "_", "-"); dashed != given {
		n.dashed = dashed
	}
	return n
}

// found says how many keys there are at one place.
type found uint8

const (
	none found = iota
	one
	many
)

// find returns the first key, by name and then by place, and takes it away from where the
// upstream would see it if it is to be hidden.
func (f *filter) find(x *plugin.Exchange) (string, found) {
	var body payload.Editor // read once, when first asked
	for _, n := range f.names {
		key, got := f.lookup(x, n, &body)
		if got == one && f.hide {
			f.remove(x, n, body)
		}
		if got != none {
			return key, got
		}
	}
	return "", none
}

func (f *filter) lookup(x *plugin.Exchange, n name, body *payload.Editor) (string, found) {
	if f.inHeader {
		if key, got := inHeader(&x.Request.Header, n); got != none {
			return key, got
		}
	}
	if f.inQuery {
		if key, got := inQuery(x.Upstream.Query, n.given); got != none {
			return key, got
		}
	}
	if !f.inBody {
		return "", none
	}
	if *body == nil {
		*body = readBody(x)
	}
	return inBody(*body, n.given)
}

func inHeader(h *plugin.Header, n name) (string, found) {
	for _, spelling := range [...]string{n.given, n.dashed} {
		if spelling == "" {
			continue
		}
		if key, ok := h.Lookup(spelling); ok {
			if h.Count(spelling) > 1 {
				return "", many
			}
			return key, one
		}
	}
	return "", none
}

// inQuery walks the query without taking it apart: most requests have no key in it. A name
// without "=" is no key.
func inQuery(query, name string) (key string, got found) {
	values := 0
	for query != "" {
		var arg string
		arg, query, _ = strings.Cut(query, "&")
		given, value, ok := strings.Cut(arg, "=")
		if given != name && payload.Unescape(given) != name {
			continue
		}
		if values++; values > 1 {
			return "", many
		}
		if ok {
			key, got = payload.Unescape(value), one
		}
	}
	return key, got
}

// readBody reads the body's values. One that cannot be read has none, as in Kong.
func readBody(x *plugin.Exchange) payload.Editor {
	if x.Request.HasBody {
		if b, err := x.ReadBody(0); err == nil {
			if e := payload.Parse(x.Request.Header.Get("Content-Type"), b); e != nil {
				return e
			}
		}
	}
	return payload.ParseArgs("")
}

func inBody(body payload.Editor, name string) (string, found) {
	switch key, n := body.Lookup(name); {
	case n == 0 || n == 1 && key == "":
		return "", none
	case n == 1:
		return key, one
	default:
		return "", many
	}
}

func (f *filter) remove(x *plugin.Exchange, n name, body payload.Editor) {
	x.Request.Header.Del(n.given)
	if n.dashed != "" {
		x.Request.Header.Del(n.dashed)
	}
	x.Upstream.Query = withoutArgument(x.Upstream.Query, n.given)
	if !f.inBody {
		return
	}
	if body == nil {
		body = readBody(x)
	}
	if body.Remove(n.given); body.Changed() {
		x.SetBody(body.Bytes())
	}
}

// withoutArgument takes an argument out of a query. The others are written anew, as a form's
// values are: so does Kong 3.9.1, whether the argument was there or not.
func withoutArgument(query, name string) string {
	if plain(query) {
		if _, got := inQuery(query, name); got == none {
			return query
		}
	}
	var b strings.Builder
	for a := range plugin.Arguments(query) {
		if a.Name == name {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(formEscape(a.Name))
		b.WriteByte('=')
		b.WriteString(formEscape(a.Value))
	}
	return b.String()
}

// formSpelling turns net/url's spelling into that of the URL standard, which spares "*" and
// not "~".
var formSpelling = strings.NewReplacer("~", "%7E", "%2A", "*")

func formEscape(s string) string { return formSpelling.Replace(url.QueryEscape(s)) }

// plain tells whether a query would be written anew as it stands, so that most are not.
func plain(query string) bool {
	equals := 0
	for i := range len(query) {
		switch c := query[i]; {
		case c == '&':
			if equals != 1 {
				return false
			}
			equals = 0
		case c == '=':
			equals++
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '*', c == '-', c == '.', c == '_':
		default:
			return false
		}
	}
	return equals == 1 || query == ""
}
