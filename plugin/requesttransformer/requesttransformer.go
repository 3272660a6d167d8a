// Package requesttransformer changes requests on their way: path, method, headers, body and
// query, in this order.
//
// It knows Kong's rules and templates; encodings are package payload's, and expressions
// package expression's. Enter at Definition.
package requesttransformer

import (
	"log/slog"
	"net/http"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/payload"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// New compiles the rules. A rule or a template that is not understood is an error.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	t := &texts{}
	f := &filter{log: h.Logger(), method: strings.ToUpper(c.GetHttpMethod()), uri: -1}
	if c.Replace != nil && c.Replace.Uri != nil {
		i, err := t.add("config.replace.uri", c.Replace.GetUri())
		if err != nil {
			return nil, err
		}
		f.uri = i
	}
	var err error
	if f.headers, err = compileHeaders(t, c); err != nil {
		return nil, err
	}
	if f.body, err = compileBody(t, c); err != nil {
		return nil, err
	}
	if f.query, err = compileQuery(t, c); err != nil {
		return nil, err
	}
	f.texts = *t
	return f, nil
}

type filter struct {
	log                  *slog.Logger
	texts                texts
	uri                  int // index of a text; -1: the path stays
	method               string
	headers, body, query rules
}

var _ plugin.RequestFilter = (*filter)(nil)

// OnRequest evaluates all templates against the request as it came, then changes it. A
// template that fails is 500, as in Kong, and nothing was changed.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	values, err := f.texts.eval(x)
	if err != nil {
		f.log.Error("evaluate template", "plugin", "request-transformer", "error", err)
		return plugin.Deny(http.StatusInternalServerError, "").Because("template-failed")
	}
	if f.uri >= 0 {
		replacePath(x, values[f.uri])
	}
	if f.method != "" {
		f.changeMethod(x)
	}
	f.headers.editHeaders(x, values)
	if v := f.editBody(x, values); v.Done() {
		return v
	}
	f.editQuery(x, values)
	return plugin.Next
}

// replacePath takes the whole path of the upstream; arguments in it come before the client's.
func replacePath(x *plugin.Exchange, uri string) {
	path, query, ok := strings.Cut(uri, "?")
	x.Upstream.Path = path
	switch {
	case !ok:
	case x.Upstream.Query == "":
		x.Upstream.Query = query
	default:
		x.Upstream.Query = query + "&" + x.Upstream.Query
	}
}

// changeMethod also copies a form into the query when the new method has no body to speak
// of, as Kong does.
func (f *filter) changeMethod(x *plugin.Exchange) {
	x.Upstream.Method = f.method
	switch f.method {
	case http.MethodGet, http.MethodHead, http.MethodTrace:
	default:
		return
	}
	if !x.Request.HasBody || payload.KindOf(x.Request.Header.Get("Content-Type")) != payload.Form {
		return
	}
	body, err := x.ReadBody(0)
	if err != nil {
		f.log.Warn("read form", "plugin", "request-transformer", "error", err)
		return
	}
	query := payload.ParseArgs(x.Upstream.Query)
	payload.ParseArgs(string(body)).Texts(func(name, text string) bool {
		query.Append(name, text)
		return true
	})
	if query.Changed() {
		x.Upstream.Query = string(query.Bytes())
	}
}

func (f *filter) editBody(x *plugin.Exchange, values []string) plugin.Verdict {
	contentType := x.Request.Header.Get("Content-Type")
	if f.body.empty() || payload.KindOf(contentType) == payload.Other {
		return plugin.Next
	}
	body, err := x.ReadBody(0)
	if err != nil {
		// What has to be changed, perhaps removed, must not pass as it is.
		f.log.Warn("read body", "plugin", "request-transformer", "error", err)
		return plugin.Deny(http.StatusRequestEntityTooLarge, "").Because("body-unreadable")
	}
	e := payload.Parse(contentType, body)
	if e == nil {
		return plugin.Next
	}
	if f.body.edit(e, values); e.Changed() {
		x.SetBody(e.Bytes())
	}
	return plugin.Next
}

func (f *filter) editQuery(x *plugin.Exchange, values []string) {
	if f.query.empty() {
		return
	}
	query := payload.ParseArgs(x.Upstream.Query)
	if f.query.edit(query, values); query.Changed() {
		x.Upstream.Query = string(query.Bytes())
	}
}
