package requesttransformer

import (
	"fmt"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/expression"
	"github.com/sekifuda/sekifuda/plugin/payload"
)

// texts are the values of one part of a configuration. Those without a template are ready.
type texts struct {
	ready     []string
	templates []*expression.Template // nil: ready
	dynamic   bool
	broken    error // why a text can never be rendered
}

// add reads a text. The error says what is not understood of it.
func (t *texts) add(text string) (int, error) {
	tmpl, err := expression.CompileTemplate(text)
	if err != nil {
		return 0, fmt.Errorf("value '%s' is not in supported format, error:%w", text, err)
	}
	literal, ok := tmpl.Literal()
	if ok {
		tmpl = nil
	} else {
		t.dynamic = true
	}
	t.ready, t.templates = append(t.ready, literal), append(t.templates, tmpl)
	return len(t.ready) - 1, nil
}

func (t *texts) eval(x *plugin.Exchange) ([]string, error) {
	if t.broken != nil || !t.dynamic {
		return t.ready, t.broken
	}
	values := append([]string(nil), t.ready...)
	for i, tmpl := range t.templates {
		if tmpl == nil {
			continue
		}
		var err error
		if values[i], err = tmpl.Eval(names{x}); err != nil {
			return nil, err
		}
		values[i] = oneLine(values[i])
	}
	return values, nil
}

// oneLine keeps what a client sent from becoming a header of its own.
func oneLine(s string) string {
	if strings.ContainsAny(s, "\r\n\x00") {
		return strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ").Replace(s)
	}
	return s
}

// names is what templates may speak of.
type names struct{ x *plugin.Exchange }

// Name implements expression.Env.
func (n names) Name(name string) expression.Value {
	switch name {
	case "headers":
		return expression.OfTable(headers(n))
	case "query_params":
		return expression.OfTable(query{payload.ParseArgs(n.x.Upstream.Query)})
	case "uri_captures":
		return expression.OfTable(captures(n))
	case "type":
		return expression.TypeOf
	case "shared":
		// Nothing here shares values between plugins.
		return expression.OfTable(nothing{})
	}
	return expression.Value{}
}

type nothing struct{}

func (nothing) Index(expression.Value) expression.Value { return expression.Value{} }

type headers struct{ x *plugin.Exchange }

// Index finds a header by its name, or by its name with "-" for "_".
func (h headers) Index(key expression.Value) expression.Value {
	name := key.String()
	if host(name) {
		return expression.Of(h.x.Request.Host)
	}
	for _, spelling := range [...]string{name, strings.ReplaceAll(name, "_", "-")} {
		if v, ok := h.x.Request.Header.Lookup(spelling); ok {
			if h.x.Request.Header.Count(spelling) > 1 {
				return expression.OfTable(list(collect(h.x, spelling)))
			}
			return expression.Of(v)
		}
	}
	return expression.Value{}
}

func collect(x *plugin.Exchange, name string) (all []string) {
	for v := range x.Request.Header.Values(name) {
		all = append(all, v)
	}
	return all
}

// list is a value that was sent more than once: values are found from 1 on.
type list []string

// Len is what "#" counts.
func (l list) Len() int { return len(l) }

func (l list) Index(key expression.Value) expression.Value {
	if n := int(key.Number()); key.Kind() == expression.Number && float64(n) == key.Number() && 1 <= n && n <= len(l) {
		return expression.Of(l[n-1])
	}
	return expression.Value{}
}

type query struct{ args *payload.Args }

func (q query) Index(key expression.Value) expression.Value {
	name := key.String()
	text, count := q.args.Lookup(name)
	switch {
	case count == 0:
		return expression.Value{}
	case count == 1 && text == "" && q.args.Flag(name):
		return expression.OfBool(true)
	case count == 1:
		return expression.Of(text)
	}
	var all list
	q.args.Texts(func(n, text string) bool {
		if n == name {
			all = append(all, text)
		}
		return true
	})
	return expression.OfTable(all)
}

type captures struct{ x *plugin.Exchange }

// Index finds a group by its number, 0 for all that matched, or by its name. One that took no part in the
// match is nil.
func (c captures) Index(key expression.Value) expression.Value {
	v, ok := "", false
	if key.Kind() == expression.Number {
		v, ok = c.x.Captures.Group(int(key.Number()))
	} else {
		v, ok = c.x.Captures.Lookup(key.String())
	}
	if !ok {
		return expression.Value{}
	}
	return expression.Of(v)
}
