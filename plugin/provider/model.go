package provider

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/llm"
	"github.com/sekifuda/sekifuda/plugin/payload"
)

// model is what one request asks.
type model struct {
	provider string
	name     string
	options  *options
}

// options are the settings of a model, with their words filled in.
type options struct{ *Options }

// merge sets what configuration says over what the client said, as Kong does.
func (o *options) merge(request llm.Object) {
	if o.MaxTokens != nil {
		request["max_tokens"] = o.GetMaxTokens()
	}
	if o.Temperature != nil {
		request["temperature"] = o.GetTemperature()
	}
	if o.TopP != nil {
		request["top_p"] = o.GetTopP()
	}
	if o.TopK != nil {
		request["top_k"] = o.GetTopK()
	}
}

// template is a configured model, whose texts may hold $(headers.x), $(query_params.x) and
// $(uri_captures.x).
type template struct {
	configured *Model
	dynamic    bool
}

func newTemplate(m *Model) template {
	t := template{configured: m}
	for _, text := range texts(m) {
		t.dynamic = t.dynamic || text != nil && strings.Contains(*text, "$(")
	}
	return t
}

// texts are those of a model that may hold words of a request.
func texts(m *Model) []*string {
	all := []*string{m.Name}
	if o := m.Options; o != nil {
		all = append(all, o.AnthropicVersion, o.AzureInstance, o.AzureApiVersion, o.AzureDeploymentId, o.UpstreamUrl, o.UpstreamPath)
	}
	return all
}

// resolve returns the model that a request asks.
func (t template) resolve(x *plugin.Exchange) (*model, error) {
	m := t.configured
	if t.dynamic {
		m = proto.CloneOf(m)
		for _, text := range texts(m) {
			if text == nil {
				continue
			}
			filled, err := fill(x, *text)
			if err != nil {
				return nil, err
			}
			*text = filled
		}
	}
	o := m.GetOptions()
	if o == nil {
		o = &Options{}
	}
	return &model{provider: m.GetProvider(), name: m.GetName(), options: &options{o}}, nil
}

// fill replaces the first $(source.key) of a text.
func fill(x *plugin.Exchange, text string) (string, error) {
	before, rest, ok := strings.Cut(text, "$(")
	word, after, closed := strings.Cut(rest, ")")
	if !ok || !closed {
		return text, nil
	}
	parts := strings.Split(word, ".")
	if len(parts) != 2 {
		return "", fmt.Errorf("cannot parse expression for field '%s'", text)
	}
	var value string
	var found bool
	switch source, key := parts[0], parts[1]; source {
	case "headers":
		if value, found = x.Request.Header.Lookup(key); !found {
			value, found = x.Request.Header.Lookup(strings.ReplaceAll(key, "_", "-"))
		}
	case "query_params":
		var n int
		value, n = payload.ParseArgs(x.Upstream.Query).Lookup(key)
		found = n > 0
	case "uri_captures":
		value, found = x.Captures.Lookup(key)
	default:
		return "", fmt.Errorf("source '%s' is not supported", source)
	}
	if !found {
		return "", fmt.Errorf("%s key %s was not provided", parts[0], parts[1])
	}
	return before + strings.Clone(value) + after, nil
}
