package aiproxy

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/llm"
)

// maxAnswer bounds an answer once it is unpacked.
const maxAnswer = 64 << 20

// streamed are the types of streams that are understood.
var streamed = map[string]bool{
	"text/event-stream": true, "application/json": true, "application/stream+json": true, "application/x-ndjson": true,
}

// OnResponse has the provider's answer translated. What is not 200 is the provider's own word
// and stays.
func (f *filter) OnResponse(x *plugin.Exchange) {
	c, ok := x.Value(f).(*call)
	if !ok || x.Response.Source != plugin.FromUpstream {
		return
	}
	h := &x.Response.Header
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	if c.stream && f.route != preserve {
		h.Set("Content-Type", "text/event-stream")
	}
	if x.Response.Status != http.StatusOK {
		return
	}
	if f.nameHeader {
		h.Set("X-Kong-LLM-Model", c.model.provider+"/"+c.model.name)
	}
	switch {
	case f.route == preserve:
		if f.statistics && !c.stream {
			x.Response.Rewrite(func(body []byte) []byte {
				c.read(unpacked(h.Get("Content-Encoding"), body), f.payloads)
				return body
			})
		}
	case c.stream:
		kind = strings.TrimSpace(kind)
		s := &stream{call: c, x: x, format: f.format, route: f.route, log: f.log, keep: f.payloads, known: streamed[kind], kind: kind}
		x.Response.Edit(s.edit)
	default:
		h.Del("Set-Cookie") // the provider's own session
		encoding := h.Get("Content-Encoding")
		h.Del("Content-Encoding")
		x.Response.Rewrite(func(body []byte) []byte { return f.translate(x, c, unpacked(encoding, body)) })
	}
}

// translate returns the answer in OpenAI's form. One that is not understood is 500.
func (f *filter) translate(x *plugin.Exchange, c *call, body []byte) []byte {
	x.Response.Header.Set("Content-Type", "application/json")
	o, err := f.format.answer(body, c.model, f.route)
	if err != nil {
		problem := fmt.Sprintf("transformation failed from type %s://%s: %v", c.model.provider, f.route, err)
		f.log.Error("translate answer", "plugin", "ai-proxy", "error", problem)
		x.Response.Status, x.Reason = http.StatusInternalServerError, "answer-not-understood"
		return llm.Problem(problem)
	}
	out := body
	if _, same := f.format.(openAI); !same {
		out = llm.Encode(o)
	}
	c.read(out, f.payloads)
	llm.Report(x, llm.Usage{Prompt: c.usage.prompt, Completion: c.usage.completion}, true)
	return out
}

// read notes what an answer of OpenAI's form tells.
func (c *call) read(body []byte, keep bool) {
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

// unpacked returns a body without its encoding; as it is when that is not understood.
func unpacked(encoding string, body []byte) []byte {
	if encoding != "gzip" {
		return body
	}
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return body
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxAnswer))
	if err != nil {
		return body
	}
	return plain
}
