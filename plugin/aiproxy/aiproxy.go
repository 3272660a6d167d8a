// Package aiproxy lets clients speak to models of many providers in one format, OpenAI's: it
// translates requests and answers, streamed ones too, and tells what they cost.
//
// It knows what a client may ask; package provider knows the providers, the gate makes the
// connection, and package llm reads bodies. Enter at Definition.
package aiproxy

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/llm"
	"github.com/sekifuda/sekifuda/plugin/provider"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// New compiles the way to the model. A provider whose format is not known yet is an error.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	if format := c.GetLlmFormat(); format != "" && format != "openai" {
		return nil, fmt.Errorf("config.llm_format: %s is not supported yet", format)
	}
	p, err := provider.New("config", c.GetRouteType(), c.GetAuth(), c.GetModel())
	if err != nil {
		return nil, err
	}
	return &filter{
		log: h.Logger(), pluginID: h.Scope().PluginID, route: c.GetRouteType(), provider: p,
		limit: c.GetMaxRequestBodySize(), streaming: c.GetResponseStreaming(),
		nameHeader: c.ModelNameHeader == nil || c.GetModelNameHeader(),
		statistics: c.GetLogging().GetLogStatistics(), payloads: c.GetLogging().GetLogPayloads(),
	}, nil
}

type filter struct {
	log        *slog.Logger
	pluginID   string
	route      string
	provider   *provider.Provider
	limit      int64
	streaming  string // allow, deny, always
	nameHeader bool
	statistics bool // are logged
	payloads   bool // with them
}

var (
	_ plugin.RequestFilter  = (*filter)(nil)
	_ plugin.ResponseFilter = (*filter)(nil)
	_ plugin.LogFilter      = (*filter)(nil)
)

// OnRequest turns the request to the model's provider, in its format.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	c, err := f.provider.Call(x)
	if err != nil {
		return llm.Refuse(err.Error(), "no-model")
	}
	request := llm.Read(x, f.limit)
	if request == nil && !f.upload(x) {
		return llm.Refuse("content-type header does not match request body, or bad JSON formatting", "no-json")
	}
	if problem := f.admit(request, c); problem != "" {
		return llm.Refuse(problem, "bad-request")
	}
	if request != nil {
		if problem := f.send(x, request, c); problem != "" {
			return llm.Refuse(problem, "bad-request")
		}
	}
	if err := c.Turn(x); err != nil {
		f.log.Error("find model", "plugin", "ai-proxy", "error", err)
		return plugin.Deny(500, "").Because("no-address")
	}
	x.Put(f, c)
	if f.route != provider.Preserve {
		llm.Meter(x)
	}
	return plugin.Next
}

// upload reports whether the body is a file that goes through unread.
func (f *filter) upload(x *plugin.Exchange) bool {
	return f.route == provider.Preserve && strings.Contains(x.Request.Header.Get("Content-Type"), "multipart/form-data")
}

// admit holds a request against what the operation takes, and names the model.
func (f *filter) admit(request llm.Object, c *provider.Call) (problem string) {
	asked := llm.Text(request, "model")
	_, hasPrompt := request["prompt"].(string)
	hasChat := len(llm.Messages(request)) > 0
	if f.route != provider.Preserve && !hasPrompt && !hasChat {
		return "request body doesn't contain valid prompts"
	}
	if c.Model() == "" {
		c.Choose(asked)
	}
	switch {
	case asked != "" && asked != c.Model():
		return "cannot use own model - must be: " + c.Model()
	case c.Model() == "" && f.route != provider.Preserve:
		return "model parameter not found in request, nor in gateway configuration"
	case f.route == provider.Preserve:
	case hasPrompt && hasChat:
		return "request matches multiple LLM request formats"
	case hasChat && f.route != provider.Chat:
		return "[llm/v1/chat] message format is not compatible with [" + f.route + "] route type"
	case hasPrompt && f.route != provider.Completions:
		return "[llm/v1/completions] message format is not compatible with [" + f.route + "] route type"
	}
	wants := request["stream"] != nil && request["stream"] != false
	if wants && f.streaming == "deny" {
		return "response streaming is not enabled for this LLM"
	}
	c.Stream = wants || f.streaming == "always"
	return ""
}

// send puts the provider's form of the request in the place of the body.
func (f *filter) send(x *plugin.Exchange, request llm.Object, c *provider.Call) (problem string) {
	c.Count(request)
	if f.route == provider.Preserve {
		body, _ := x.ReadBody(0) // it was read
		c.Sent(body)
		return ""
	}
	out, problem := c.Translate(request, f.log)
	if problem == "" {
		llm.Store(x, out)
	}
	return problem
}
