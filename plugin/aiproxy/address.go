package aiproxy

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/llm"
	"github.com/sekifuda/sekifuda/plugin/payload"
)

// origins are where providers are when configuration does not say.
var origins = map[string]string{
	"openai": "https://api.openai.com", "anthropic": "https://api.anthropic.com", "cohere": "https://api.cohere.com",
	"mistral": "https://api.mistral.ai", "gemini": "https://generativelanguage.googleapis.com",
}

// paths are the operations of providers.
var paths = map[string]map[string]string{
	"openai":      {chat: "/v1/chat/completions", completions: "/v1/completions"},
	"azure":       {chat: "/chat/completions", completions: "/completions"},
	"anthropic":   {chat: "/v1/messages", completions: "/v1/complete"},
	"cohere":      {chat: "/v1/chat", completions: "/v1/generate"},
	"mistral":     {chat: "/v1/chat/completions"},
	"huggingface": {chat: "/v1/chat/completions"},
}

// address turns the exchange to the provider, with the gate's key.
func (f *filter) address(x *plugin.Exchange, c *call) error {
	m := c.model
	u, err := f.target(x, c)
	if err != nil {
		return err
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80"}[u.Scheme]
	}
	if port == "" {
		port = "443"
	}
	if u.Hostname() == "" {
		return fmt.Errorf("model.options.upstream_url has no host: %q", u)
	}
	up := &x.Upstream
	up.Scheme, up.Authority, up.Host, up.Path = u.Scheme, net.JoinHostPort(u.Hostname(), port), u.Host, u.EscapedPath()
	f.headers(x, m)
	f.query(x, m, u.RawQuery)
	return nil
}

func (f *filter) target(x *plugin.Exchange, c *call) (*url.URL, error) {
	o := c.model.options
	address := o.GetUpstreamUrl()
	if address == "" {
		path := o.GetUpstreamPath()
		if path == "" {
			path = operation(c, f.route)
		}
		address = origin(c.model) + "/" + strings.TrimLeft(path, "/")
	} else if c.model.provider == "huggingface" && f.route == chat {
		address += paths["huggingface"][chat]
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("parse address of model: %w", err)
	}
	if f.route == preserve && o.GetUpstreamPath() == "" {
		u.Path, u.RawPath = x.Request.Path, ""
	}
	u.Path = "/" + strings.TrimLeft(u.Path, "/")
	return u, nil
}

func origin(m *model) string {
	switch o := m.options; m.provider {
	case "azure":
		return "https://" + o.GetAzureInstance() + ".openai.azure.com/openai/deployments/" + o.GetAzureDeploymentId()
	case "gemini":
		if v := o.GetGemini(); v.GetApiEndpoint() != "" {
			return "https://" + v.GetApiEndpoint()
		}
	case "huggingface":
		return "https://api-inference.huggingface.co/models/" + m.name
	}
	return origins[m.provider]
}

// operation is the path of what is asked, below the origin.
func operation(c *call, route string) string {
	if c.model.provider != "gemini" {
		return paths[c.model.provider][route]
	}
	path := "/v1beta/models/"
	if v := c.model.options.GetGemini(); v.GetApiEndpoint() != "" {
		path = "/v1/projects/" + v.GetProjectId() + "/locations/" + v.GetLocationId() + "/publishers/google/models/"
	}
	if c.stream {
		return path + c.model.name + ":streamGenerateContent"
	}
	return path + c.model.name + ":generateContent"
}

func (f *filter) headers(x *plugin.Exchange, m *model) {
	h := &x.Request.Header
	h.Del("Accept-Encoding") // answers are read here
	if m.provider == "anthropic" {
		h.Set("anthropic-version", m.options.GetAnthropicVersion())
	}
	name := f.auth.GetHeaderName()
	if name == "" || f.auth.GetHeaderValue() == "" {
		return
	}
	if h.Count(name) == 0 || !f.auth.GetAllowOverride() {
		h.Set(name, f.auth.GetHeaderValue())
	}
}

func (f *filter) query(x *plugin.Exchange, m *model, own string) {
	q := payload.ParseArgs(x.Upstream.Query)
	payload.ParseArgs(own).Texts(func(name, text string) bool {
		q.Add(name, text)
		return true
	})
	if m.provider == "azure" {
		q.Add("api-version", m.options.GetAzureApiVersion())
	}
	if name := f.auth.GetParamName(); name != "" && f.auth.GetParamLocation() == "query" {
		if !f.auth.GetAllowOverride() {
			q.Remove(name)
		}
		q.Add(name, f.auth.GetParamValue())
	}
	if q.Changed() {
		x.Upstream.Query = string(q.Bytes())
	}
}

// signBody puts the key into a body, where configuration wants it there.
func (f *filter) signBody(request llm.Object) {
	name := f.auth.GetParamName()
	if name == "" || f.auth.GetParamLocation() != "body" {
		return
	}
	if request[name] == nil || !f.auth.GetAllowOverride() {
		request[name] = f.auth.GetParamValue()
	}
}
