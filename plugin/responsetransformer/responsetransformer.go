// Package responsetransformer changes the headers and JSON bodies of answers.
//
// It knows lists of changes and the order of their kinds; it does not know who made the
// answer. Enter at Definition.
package responsetransformer

import (
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// New reads the lists.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	f := &filter{
		headers: headers{
			remove:  pairs(c.GetRemove().GetHeaders()),
			rename:  pairs(c.GetRename().GetHeaders()),
			replace: pairs(c.GetReplace().GetHeaders()),
			add:     pairs(c.GetAdd().GetHeaders()),
			append:  pairs(c.GetAppend().GetHeaders()),
		},
		body: &body{
			remove:  pairs(c.GetRemove().GetJson()),
			rename:  pairs(c.GetRename().GetJson()),
			replace: members(c.GetReplace().GetJson(), c.GetReplace().GetJsonTypes()),
			add:     members(c.GetAdd().GetJson(), c.GetAdd().GetJsonTypes()),
			append:  members(c.GetAppend().GetJson(), c.GetAppend().GetJsonTypes()),
			log:     h.Logger(),
		},
	}
	f.edit = f.body.edit
	return f, nil
}

type filter struct {
	headers headers
	body    *body
	edit    func([]byte) []byte // body.edit, made once
}

var _ plugin.ResponseFilter = (*filter)(nil)

// OnResponse changes the head, and has the body changed when it is JSON and there is
// something to change in it.
func (f *filter) OnResponse(x *plugin.Exchange) {
	h := &x.Response.Header
	f.headers.apply(h)
	if !f.body.idle() && isJSON(h.Get("Content-Type")) {
		h.Del("Content-Length")
		x.Response.Rewrite(f.edit)
	}
}

// isJSON reads the first media type that is said, without its parameters.
func isJSON(contentType string) bool {
	for one := range strings.SplitSeq(contentType, ",") {
		kind, _, _ := strings.Cut(one, ";")
		if strings.EqualFold(strings.TrimSpace(kind), "application/json") {
			return true
		}
	}
	return false
}

// pair is one line of a list, "name:value".
type pair struct{ name, value string }

func pairs(lines []string) []pair {
	out := make([]pair, 0, len(lines))
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		// Kong 3.9.1 takes any number of colons after the name.
		out = append(out, pair{name, strings.TrimLeft(value, ":")})
	}
	return out
}
