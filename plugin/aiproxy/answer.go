package aiproxy

import (
	"net/http"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/llm"
	"github.com/sekifuda/sekifuda/plugin/provider"
)

// OnResponse has the provider's answer translated. What is not 200 is the provider's own word
// and stays.
func (f *filter) OnResponse(x *plugin.Exchange) {
	c, ok := x.Value(f).(*provider.Call)
	if !ok || x.Response.Source != plugin.FromUpstream {
		return
	}
	h := &x.Response.Header
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	if c.Stream && f.route != provider.Preserve {
		h.Set("Content-Type", "text/event-stream")
	}
	if x.Response.Status != http.StatusOK {
		return
	}
	if f.nameHeader {
		h.Set("X-Kong-LLM-Model", c.Label())
	}
	switch {
	case f.route == provider.Preserve:
		if f.statistics && !c.Stream {
			x.Response.Rewrite(func(body []byte) []byte {
				c.Read(llm.Unpacked(h.Get("Content-Encoding"), body), f.payloads)
				return body
			})
		}
	case c.Stream:
		x.Response.Edit(c.Edit(x, strings.TrimSpace(kind), f.payloads, f.log))
	default:
		h.Del("Set-Cookie") // the provider's own session
		encoding := h.Get("Content-Encoding")
		h.Del("Content-Encoding")
		x.Response.Rewrite(func(body []byte) []byte { return f.translate(x, c, llm.Unpacked(encoding, body)) })
	}
}

// translate returns the answer in OpenAI's form. One that is not understood is 500.
func (f *filter) translate(x *plugin.Exchange, c *provider.Call, body []byte) []byte {
	x.Response.Header.Set("Content-Type", "application/json")
	out, err := c.Answer(body)
	if err != nil {
		f.log.Error("translate answer", "plugin", "ai-proxy", "error", err)
		x.Response.Status, x.Reason = http.StatusInternalServerError, "answer-not-understood"
		return llm.Problem(err.Error())
	}
	c.Read(out, f.payloads)
	c.Report(x)
	return out
}

// OnLog tells logs and metrics what the call was.
func (f *filter) OnLog(x *plugin.Exchange) {
	if c, ok := x.Value(f).(*provider.Call); ok && f.statistics {
		c.Log(x, "proxy", f.pluginID, x.Times.End.Sub(x.Times.Start), f.payloads)
	}
}
