package plugin

import (
	"iter"
	"net/url"
	"strings"
)

// Argument is one query argument. Bare is one without "=".
type Argument struct {
	Name  string
	Value string
	Bare  bool
}

// Arguments yields the arguments of a query in order, with escapes undone. What is not
// well escaped is yielded as it stands. It allocates only for escapes.
func Arguments(query string) iter.Seq[Argument] {
	return func(yield func(Argument) bool) {
		for rest := query; rest != ""; {
			var pair string
			pair, rest, _ = strings.Cut(rest, "&")
			if pair == "" {
				continue
			}
			name, value, equals := strings.Cut(pair, "=")
			if !yield(Argument{Name: unescape(name), Value: unescape(value), Bare: !equals}) {
				return
			}
		}
	}
}

func unescape(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

// AddLogText is AddLogField of a text.
func (x *Exchange) AddLogText(name, text string) {
	from := len(x.text)
	x.text = appendJSON(x.text, text)
	x.AddLogField(name, x.text[from:len(x.text):len(x.text)])
}
