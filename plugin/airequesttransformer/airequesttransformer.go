// Package airequesttransformer has a language model change the body of requests before they go
// upstream.
//
// It knows when; how a model is asked is package provider's. Enter at Definition.
package airequesttransformer

import (
	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/llm"
	"github.com/sekifuda/sekifuda/plugin/provider"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// New compiles the way to the model. A provider whose format is not known yet is an error.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	e, err := provider.NewEditor("ai-request-transformer", c, h)
	if err != nil {
		return nil, err
	}
	f := &filter{editor: e, limit: c.GetMaxRequestBodySize()}
	if f.limit <= 0 {
		f.limit = llm.DefaultLimit
	}
	return f, nil
}

type filter struct {
	editor *provider.Editor
	limit  int64
}

var (
	_ plugin.RequestFilter = (*filter)(nil)
	_ plugin.LogFilter     = (*filter)(nil)
)

// OnRequest replaces the body by what the model makes of it.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	body, err := x.ReadBody(f.limit)
	if err != nil {
		return llm.Refuse("request body is larger than max_request_body_size", "body-too-large")
	}
	changed, err := f.editor.Change(x, body)
	if err != nil {
		return llm.Refuse(err.Error(), "model-failed")
	}
	llm.Replace(x, changed)
	return plugin.Next
}

// OnLog tells what the call was.
func (f *filter) OnLog(x *plugin.Exchange) { f.editor.Log(x) }
