package provider

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
	"openai":      {Chat: "/v1/chat/completions", Completions: "/v1/completions"},
	"azure":       {Chat: "/chat/completions", Completions: "/completions"},
	"anthropic":   {Chat: "/v1/messages", Completions: "/v1/complete"},
	"cohere":      {Chat: "/v1/chat", Completions: "/v1/generate"},
	"mistral":     {Chat: "/v1/chat/completions"},
	"huggingface": {Chat: "/v1/chat/completions"},
}

// Turn sends the exchange to the provider, with the gate's key.
func (c *Call) Turn(x *plugin.Exchange) error {
	u, err := c.target(x.Request.Path)
	if err != nil {
		return err
	}
	up := &x.Upstream
	up.Scheme, up.Authority, up.Host, up.Path = u.Scheme, authority(u), u.Host, u.EscapedPath()
	c.headers(&x.Request.Header)
	up.Query = c.query(up.Query, u.RawQuery)
	return nil
}

func authority(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80"}[u.Scheme]
	}
	if port == "" {
		port = "443"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// target is where the provider's operation is; path is what the client asked.
func (c *Call) target(path string) (*url.URL, error) {
	o := c.model.options
	address := o.GetUpstreamUrl()
	if address == "" {
		path := o.GetUpstreamPath()
		if path == "" {
			path = c.operation()
		}
		address = origin(c.model) + "/" + strings.TrimLeft(path, "/")
	} else if c.model.provider == "huggingface" && c.provider.route == Chat {
		address += paths["huggingface"][Chat]
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("parse address of model: %w", err)
	}
	if u.Hostname() == "" {
		return nil, fmt.Errorf("model.options.upstream_url has no host: %q", u)
	}
	if c.provider.route == Preserve && o.GetUpstreamPath() == "" {
		u.Path, u.RawPath = path, ""
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
func (c *Call) operation() string {
	if c.model.provider != "gemini" {
		return paths[c.model.provider][c.provider.route]
	}
	path := "/v1beta/models/"
	if v := c.model.options.GetGemini(); v.GetApiEndpoint() != "" {
		path = "/v1/projects/" + v.GetProjectId() + "/locations/" + v.GetLocationId() + "/publishers/google/models/"
	}
	if c.Stream {
		return path + c.model.name + ":streamGenerateContent"
	}
	return path + c.model.name + ":generateContent"
}

func (c *Call) headers(h *plugin.Header) {
	h.Del("Accept-Encoding") // answers are read here
	if c.model.provider == "anthropic" {
		h.Set("anthropic-version", c.model.options.GetAnthropicVersion())
	}
	auth := c.provider.auth
	name := auth.GetHeaderName()
	if name == "" || auth.GetHeaderValue() == "" {
		return
	}
	if h.Count(name) == 0 || !auth.GetAllowOverride() {
		h.Set(name, auth.GetHeaderValue())
	}
}

// query adds what the provider wants to a query; own is that of its address.
func (c *Call) query(query, own string) string {
	q, auth := payload.ParseArgs(query), c.provider.auth
	payload.ParseArgs(own).Texts(func(name, text string) bool {
		q.Add(name, text)
		return true
	})
	if c.model.provider == "azure" {
		q.Add("api-version", c.model.options.GetAzureApiVersion())
	}
	if name := auth.GetParamName(); name != "" && auth.GetParamLocation() == "query" {
		if !auth.GetAllowOverride() {
			q.Remove(name)
		}
		q.Add(name, auth.GetParamValue())
	}
	if !q.Changed() {
		return query
	}
	return string(q.Bytes())
}

// signBody puts the key into a body, where configuration wants it there.
func (c *Call) signBody(request llm.Object) {
	auth := c.provider.auth
	name := auth.GetParamName()
	if name == "" || auth.GetParamLocation() != "body" {
		return
	}
	if request[name] == nil || !auth.GetAllowOverride() {
		request[name] = auth.GetParamValue()
	}
}
