// Package requesttransformer changes requests on their way: path, method, headers, body and
// query, in this order.
//
// It knows Kong's rules and templates; encodings are package payload's, and expressions
// package expression's. Enter at Definition.
package requesttransformer

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/payload"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// New compiles the rules. A rule or a template of an argument that is not understood is an
// error; one of the path or of a header fails when it is rendered, as in Kong.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	f := &filter{log: h.Logger(), method: strings.ToUpper(c.GetHttpMethod())}
	if uri := c.GetReplace().GetUri(); uri != "" {
		_, f.uri.broken = f.uri.add(uri)
		f.replacesURI = true
	}
	var err error
	if f.headers, err = compileHeaders(c); err != nil {
		return nil, err
	}
	if f.body, err = compileBody(c); err != nil {
		return nil, err
	}
	if f.query, err = compileQuery(c); err != nil {
		return nil, err
	}
	return f, nil
}

type filter struct {
	log                  *slog.Logger
	uri                  texts
	replacesURI          bool
	method               string
	headers, body, query rules
}

var _ plugin.RequestFilter = (*filter)(nil)

// OnRequest evaluates all templates against the request as it came, then changes it. A
// template that fails is 500, as in Kong, and nothing was changed; those of the body count
// only where there is one to edit.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	uri, err := f.uri.eval(x)
	if err == nil && f.replacesURI && !strings.HasPrefix(uri[0], "/") {
		err = fmt.Errorf("config.replace.uri: path must start with /: %q", uri[0])
	}
	headers, headersErr := f.headers.texts.eval(x)
	query, queryErr := f.query.texts.eval(x)
	if err = errors.Join(err, headersErr, queryErr); err != nil {
		return f.failed(err)
	}
	body, bodyErr := f.body.texts.eval(x)
	if f.replacesURI {
		replacePath(x, uri[0])
	}
	if f.method != "" {
		f.changeMethod(x)
	}
	f.headers.editHeaders(x, headers)
	if f.editsBody(x) {
		if bodyErr != nil {
			return f.failed(bodyErr)
		}
		if v := f.editBody(x, body); v.Done() {
			return v
		}
	}
	f.editQuery(x, query)
	return plugin.Next
}

func (f *filter) failed(err error) plugin.Verdict {
	f.log.Error("evaluate template", "plugin", "request-transformer", "error", err)
	return plugin.Deny(http.StatusInternalServerError, "").Because("template-failed")
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

func (f *filter) editsBody(x *plugin.Exchange) bool {
	return !f.body.empty() && payload.KindOf(x.Request.Header.Get("Content-Type")) != payload.Other
}

func (f *filter) editBody(x *plugin.Exchange, values []string) plugin.Verdict {
	body, err := x.ReadBody(0)
	if err != nil {
		// What has to be changed, perhaps removed, must not pass as it is.
		f.log.Warn("read body", "plugin", "request-transformer", "error", err)
		return plugin.Deny(http.StatusRequestEntityTooLarge, "").Because("body-unreadable")
	}
	e := payload.Parse(x.Request.Header.Get("Content-Type"), body)
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
