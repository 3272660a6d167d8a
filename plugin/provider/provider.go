// Package provider is how models of many providers are asked in one format, OpenAI's: their
// forms of requests and answers, streamed ones too, their addresses and keys, and what they
// cost.
//
// It knows providers; whose request is asked, and what becomes of the answer, is a plugin's.
// It is no plugin. Enter at New.
package provider

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/llm"
)

// The operations of a model.
const (
	Chat        = "llm/v1/chat"
	Completions = "llm/v1/completions"
	Preserve    = "preserve"
)

// Provider is a way to a model. It is immutable.
type Provider struct {
	route  string
	auth   *Auth
	model  template
	format format
}

// New compiles the way to a model by one of its operations. A provider whose format is not
// known yet is an error, which names the field below prefix ("config").
func New(prefix, route string, auth *Auth, m *Model) (*Provider, error) {
	p := &Provider{route: route, auth: auth, model: newTemplate(m)}
	var err error
	if p.format, err = formatOf(m); err != nil {
		return nil, fmt.Errorf("%s.model.provider: %w", prefix, err)
	}
	if auth.GetGcpUseServiceAccount() {
		return nil, fmt.Errorf("%s.auth.gcp_use_service_account: service accounts are not supported yet", prefix)
	}
	if route != Preserve && !p.format.offers(route) {
		return nil, fmt.Errorf("%s.route_type: %s has no %s", prefix, m.GetProvider(), route)
	}
	return p, nil
}

// Call is one request to a model. It belongs to one exchange.
type Call struct {
	Stream bool // the answer is streamed

	provider *Provider
	model    *model
	usage    usage
	sent     []byte // what went to the provider, for logs
	got      []byte // what the client got, for logs
	named    string // the model that the answer names
	length   int    // of all texts of a streamed answer
}

// Call begins a call for what a request says. The error is for the client.
func (p *Provider) Call(x *plugin.Exchange) (*Call, error) {
	m, err := p.model.resolve(x)
	if err != nil {
		return nil, err
	}
	return &Call{provider: p, model: m}, nil
}

// Model is the name of the model; "" when nobody said one yet.
func (c *Call) Model() string { return c.model.name }

// Choose says the name of the model.
func (c *Call) Choose(name string) { c.model.name = name }

// Label is the provider and the model, as clients are told them.
func (c *Call) Label() string { return c.model.provider + "/" + c.model.name }

// Count guesses at the tokens of a request whose provider does not tell them.
func (c *Call) Count(request llm.Object) {
	if !c.provider.format.counts() {
		c.usage.prompt = estimate(request, c.Stream)
	}
}

// Sent notes what goes to the provider, for logs.
func (c *Call) Sent(body []byte) { c.sent = body }

// Translate returns the provider's form of a request, with the settings of the model and the
// key where it is wanted in the body. It may change request. The error is a text for the
// client.
func (c *Call) Translate(request llm.Object, log *slog.Logger) (out llm.Object, problem string) {
	if c.Stream {
		request["stream"] = true
	}
	c.model.options.merge(request)
	out, err := c.provider.format.request(request, c.model, c.provider.route)
	if err != nil {
		log.Warn("translate request", "provider", c.model.provider, "error", err)
		var told *refusal
		if errors.As(err, &told) {
			return nil, told.message
		}
		return nil, "error transforming to " + c.model.provider + "://" + c.provider.route
	}
	c.signBody(out)
	c.sent = llm.Encode(out)
	return out, ""
}

// refusal is a mistake of the client in words that it is told.
type refusal struct{ message string }

func (r *refusal) Error() string { return r.message }

// Answer returns an answer in OpenAI's form.
func (c *Call) Answer(body []byte) ([]byte, error) {
	o, err := c.provider.format.answer(body, c.model, c.provider.route)
	if err != nil {
		return nil, fmt.Errorf("transformation failed from type %s://%s: %w", c.model.provider, c.provider.route, err)
	}
	if _, same := c.provider.format.(openAI); same {
		return body, nil
	}
	return llm.Encode(o), nil
}

// Read notes what an answer of OpenAI's form tells; keep has it kept for logs.
func (c *Call) Read(body []byte, keep bool) {
	o := llm.Decode(body)
	c.named = llm.Text(o, "model")
	if n := inner(o, "usage", "prompt_tokens"); n != nil {
		c.usage.prompt = number(n)
	}
	c.usage.completion = number(inner(o, "usage", "completion_tokens"))
	if keep {
		c.got = body
	}
}

// Report tells other plugins what the call used, all in all.
func (c *Call) Report(x *plugin.Exchange) {
	llm.Report(x, llm.Usage{Prompt: c.usage.prompt, Completion: c.usage.completion}, true)
}
