// Package aiproxy lets clients speak to models of many providers in one format, OpenAI's: it
// translates requests and answers, streamed ones too, and tells what they cost.
//
// It knows formats, addresses and keys of providers; the gate makes the connection, and
// package llm reads bodies. Enter at Definition.
package aiproxy

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/llm"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// The operations of a model.
const (
	chat        = "llm/v1/chat"
	completions = "llm/v1/completions"
	preserve    = "preserve"
)

// New compiles the way to the model. A provider whose format is not known yet is an error.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	f := &filter{
		log: h.Logger(), pluginID: h.Scope().PluginID, route: c.GetRouteType(), auth: c.GetAuth(),
		model: newTemplate(c.GetModel()), limit: c.GetMaxRequestBodySize(), streaming: c.GetResponseStreaming(),
		nameHeader: c.ModelNameHeader == nil || c.GetModelNameHeader(),
		statistics: c.GetLogging().GetLogStatistics(), payloads: c.GetLogging().GetLogPayloads(),
	}
	if format := c.GetLlmFormat(); format != "" && format != "openai" {
		return nil, fmt.Errorf("config.llm_format: %s is not supported yet", format)
	}
	var err error
	if f.format, err = formatOf(c.GetModel()); err != nil {
		return nil, err
	}
	if f.auth.GetGcpUseServiceAccount() {
		return nil, errors.New("config.auth.gcp_use_service_account: service accounts are not supported yet")
	}
	if f.route != preserve && !f.format.offers(f.route) {
		return nil, fmt.Errorf("config.route_type: %s has no %s", c.GetModel().GetProvider(), f.route)
	}
	return f, nil
}

type filter struct {
	log        *slog.Logger
	pluginID   string
	route      string
	auth       *Config_Auth
	model      template
	format     format
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

// call is one request to a model.
type call struct {
	model  *model
	stream bool
	usage  usage
	sent   []byte // what went upstream, for logs
	got    []byte // what the client got, for logs
	named  string // the model that the answer names
	length int    // of all texts of a streamed answer
}

// OnRequest turns the request to the model's provider, in its format.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	m, err := f.model.resolve(x)
	if err != nil {
		return llm.Refuse(err.Error(), "no-model")
	}
	request := llm.Read(x, f.limit)
	if request == nil && !f.upload(x) {
		return llm.Refuse("content-type header does not match request body, or bad JSON formatting", "no-json")
	}
	c := &call{model: m}
	if problem := f.admit(request, c); problem != "" {
		return llm.Refuse(problem, "bad-request")
	}
	if request != nil {
		if problem := f.send(x, request, c); problem != "" {
			return llm.Refuse(problem, "bad-request")
		}
	}
	if err := f.address(x, c); err != nil {
		f.log.Error("find model", "plugin", "ai-proxy", "error", err)
		return plugin.Deny(500, "").Because("no-address")
	}
	x.Put(f, c)
	if f.route != preserve {
		llm.Meter(x)
	}
	return plugin.Next
}

// upload reports whether the body is a file that goes through unread.
func (f *filter) upload(x *plugin.Exchange) bool {
	return f.route == preserve && strings.Contains(x.Request.Header.Get("Content-Type"), "multipart/form-data")
}

// admit holds a request against what the operation takes, and names the model.
func (f *filter) admit(request llm.Object, c *call) (problem string) {
	asked := llm.Text(request, "model")
	_, hasPrompt := request["prompt"].(string)
	hasChat := len(llm.Messages(request)) > 0
	if f.route != preserve && !hasPrompt && !hasChat {
		return "request body doesn't contain valid prompts"
	}
	if c.model.name == "" {
		c.model.name = asked
	}
	switch {
	case asked != "" && asked != c.model.name:
		return "cannot use own model - must be: " + c.model.name
	case c.model.name == "" && f.route != preserve:
		return "model parameter not found in request, nor in gateway configuration"
	case f.route == preserve:
	case hasPrompt && hasChat:
		return "request matches multiple LLM request formats"
	case hasChat && f.route != chat:
		return "[llm/v1/chat] message format is not compatible with [" + f.route + "] route type"
	case hasPrompt && f.route != completions:
		return "[llm/v1/completions] message format is not compatible with [" + f.route + "] route type"
	}
	wants := request["stream"] != nil && request["stream"] != false
	if wants && f.streaming == "deny" {
		return "response streaming is not enabled for this LLM"
	}
	c.stream = wants || f.streaming == "always"
	return ""
}

// send puts the provider's form of the request in the place of the body.
func (f *filter) send(x *plugin.Exchange, request llm.Object, c *call) (problem string) {
	if !f.format.counts() {
		c.usage.prompt = estimate(request, c.stream)
	}
	if f.route == preserve {
		c.sent, _ = x.ReadBody(0) // it was read
		return ""
	}
	if c.stream {
		request["stream"] = true
	}
	c.model.options.merge(request)
	out, err := f.format.request(request, c.model, f.route)
	if err != nil {
		f.log.Warn("translate request", "plugin", "ai-proxy", "error", err)
		var told *refusal
		if errors.As(err, &told) {
			return told.message
		}
		return "error transforming to " + c.model.provider + "://" + f.route
	}
	f.signBody(out)
	llm.Store(x, out)
	c.sent = llm.Encode(out)
	return ""
}

// refusal is a mistake of the client in words that it is told.
type refusal struct{ message string }

func (r *refusal) Error() string { return r.message }
