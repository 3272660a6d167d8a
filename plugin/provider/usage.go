package provider

import (
	"math"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/llm"
)

// usage counts tokens.
type usage struct{ prompt, completion int64 }

func (u *usage) add(prompt, completion int64) {
	u.prompt += prompt
	u.completion += completion
}

// estimate is Kong's guess at the tokens of a prompt: its words, or 1.8 times as many where no
// count will come.
func estimate(request llm.Object, stream bool) int64 {
	words := 0
	for _, m := range items(request["messages"]) {
		words += len(strings.Fields(plain(m["content"])))
	}
	if prompt, ok := request["prompt"].(string); ok {
		words += len(strings.Fields(prompt))
	}
	if stream {
		return int64(math.Floor(float64(words)*1.8 + 0.5))
	}
	return int64(words)
}

// cost is that of a call by the configured prices of a million tokens; 0 without both.
func (c *Call) cost() float64 {
	o := c.model.options
	if o.InputCost == nil || o.OutputCost == nil {
		return 0
	}
	return (float64(c.usage.prompt)*o.GetInputCost() + float64(c.usage.completion)*o.GetOutputCost()) / 1e6
}

// Log tells logs, under the name of a plugin, and metrics what the call was; payloads has the
// request and the answer told, too.
func (c *Call) Log(x *plugin.Exchange, name, pluginID string, latency time.Duration, payloads bool) {
	if c.named == "" {
		c.named = c.model.name
	}
	x.Model = plugin.ModelUse{
		Provider: c.model.provider, Name: c.model.name, PromptTokens: c.usage.prompt, CompletionTokens: c.usage.completion,
		Cost: c.cost(), Latency: latency,
	}
	llm.Log(x, c.meta(pluginID, latency.Milliseconds()), name, "meta")
	perToken := 0.0
	if c.usage.completion > 0 {
		perToken = float64(latency.Milliseconds()) / float64(c.usage.completion)
	}
	spent := tokens(c.usage.prompt, c.usage.completion)
	spent["time_per_token"], spent["cost"] = perToken, c.cost()
	llm.Log(x, spent, name, "usage")
	if payloads {
		llm.Log(x, llm.Object{"request": string(c.sent), "response": string(c.got)}, name, "payload")
	}
}

func (c *Call) meta(pluginID string, latencyMS int64) llm.Object {
	m := llm.Object{
		"plugin_id": pluginID, "provider_name": c.model.provider, "request_model": c.model.name,
		"response_model": c.named, "llm_latency": latencyMS,
	}
	if o := c.model.options; c.model.provider == "azure" {
		m["azure_instance_id"], m["azure_deployment_id"] = o.GetAzureInstance(), o.GetAzureDeploymentId()
		m["azure_api_version"] = o.GetAzureApiVersion()
	}
	return m
}
