package jwt

import (
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
)

// sources are the places where a token may stand.
type sources struct {
	arguments, cookies, headers []string
}

// unrecognizable stands for an argument without "=", which Kong reads as true: no token has a
// NUL.
const unrecognizable = "\x00"

// find returns a token and how many different ones there are. One that stands in two places
// is one.
func (s *sources) find(x *plugin.Exchange) (token string, count int) {
	add := func(text string) {
		switch {
		case text == "" || count > 0 && text == token:
		default:
			count++
			if count == 1 {
				token = text
			}
		}
	}
	for _, name := range s.arguments {
		for a := range plugin.Arguments(x.Upstream.Query) {
			switch {
			case a.Name != name:
			case a.Bare:
				add(unrecognizable)
			default:
				add(a.Value)
			}
		}
	}
	for _, name := range s.cookies {
		add(cookie(&x.Request.Header, name))
	}
	for _, name := range s.headers {
		add(bearer(header(&x.Request.Header, name)))
	}
	return token, count
}

// header looks for a name as it is, then with dashes for underscores, as Kong does.
func header(h *plugin.Header, name string) string {
	if v, ok := h.Lookup(name); ok {
		return v
	}
	return h.Get(strings.ReplaceAll(name, "_", "-"))
}

// cookie returns the first cookie of that name.
func cookie(h *plugin.Header, name string) string {
	for line := range h.Values("Cookie") {
		for one := range strings.SplitSeq(line, ";") {
			k, v, _ := strings.Cut(strings.TrimSpace(one), "=")
			if plugin.EqualName(k, name) {
				return v
			}
		}
	}
	return ""
}

// bearer cuts the scheme off. What stands before it is passed over.
func bearer(value string) string {
	for rest := value; ; {
		i := strings.Index(rest, "earer")
		if i < 0 {
			return ""
		}
		before, after := rest[:i], rest[i+len("earer"):]
		token := strings.TrimLeft(after, " \t")
		if (strings.HasSuffix(before, "B") || strings.HasSuffix(before, "b")) && token != after {
			return token
		}
		rest = after
	}
}
