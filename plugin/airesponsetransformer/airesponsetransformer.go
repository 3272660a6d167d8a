// Package airesponsetransformer has a language model change the body of answers before they go
// to the client, and their status and headers if it may.
//
// It knows when; how a model is asked is package provider's. Enter at Definition.
package airesponsetransformer

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/llm"
	"github.com/sekifuda/sekifuda/plugin/provider"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// New compiles the way to the model. A provider whose format is not known yet is an error.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	e, err := provider.NewEditor("ai-response-transformer", c, h)
	if err != nil {
		return nil, err
	}
	return &filter{log: h.Logger(), editor: e, instructed: c.GetParseLlmResponseJsonInstructions()}, nil
}

type filter struct {
	log        *slog.Logger
	editor     *provider.Editor
	instructed bool // the model's answer says body, headers and status
}

var (
	_ plugin.ResponseFilter = (*filter)(nil)
	_ plugin.LogFilter      = (*filter)(nil)
)

// OnResponse has the upstream's answer replaced by what the model makes of it. Answers of the
// gate itself stay.
func (f *filter) OnResponse(x *plugin.Exchange) {
	if x.Response.Source != plugin.FromUpstream {
		return
	}
	encoding := x.Response.Header.Get("Content-Encoding")
	x.Response.Header.Del("Content-Encoding")
	x.Response.Rewrite(func(body []byte) []byte { return f.change(x, llm.Unpacked(encoding, body)) })
}

// OnLog tells what the call was.
func (f *filter) OnLog(x *plugin.Exchange) { f.editor.Log(x) }

func (f *filter) change(x *plugin.Exchange, body []byte) []byte {
	changed, err := f.editor.Change(x, body)
	if err != nil {
		return f.fail(x, http.StatusBadRequest, err.Error())
	}
	if !f.instructed {
		return changed
	}
	changed, err = follow(x, changed)
	if err != nil {
		return f.fail(x, http.StatusInternalServerError, "failed to parse JSON response instructions from AI backend: "+err.Error())
	}
	return changed
}

func (f *filter) fail(x *plugin.Exchange, status int, problem string) []byte {
	f.log.Warn("change answer", "plugin", "ai-response-transformer", "error", problem)
	x.Response.Status, x.Reason = status, "model-failed"
	x.Response.Header.Set("Content-Type", "application/json; charset=utf-8")
	return llm.Problem(problem)
}

// instructions are what a model says of an answer.
type instructions struct {
	Headers map[string]any  `json:"headers"`
	Status  *json.Number    `json:"status"`
	Body    json.RawMessage `json:"body"`
}

// follow makes the answer what the model says, and returns its body: the text of the member
// "body", or its JSON; without one all that the model said.
func follow(x *plugin.Exchange, said []byte) ([]byte, error) {
	var i instructions
	if err := json.Unmarshal(said, &i); err != nil {
		return nil, err
	}
	status := int64(http.StatusOK)
	if i.Status != nil {
		n, err := i.Status.Int64()
		if err != nil || n < 200 || n > 599 {
			return nil, errors.New("status is no status of an answer: " + i.Status.String())
		}
		status = n
	}
	headers := make(map[string]string, len(i.Headers))
	for name, value := range i.Headers {
		text, ok := value.(string)
		if !ok {
			text = string(llm.Encode(value))
		}
		if !validName(name) || strings.ContainsAny(text, "\r\n\x00") {
			return nil, errors.New("a header is malformed: " + name)
		}
		headers[name] = text
	}
	for name, text := range headers {
		if !framing[strings.ToLower(name)] {
			x.Response.Header.Set(name, text)
		}
	}
	x.Response.Status = int(status)
	switch body := bytes.TrimSpace(i.Body); {
	case len(body) == 0 || string(body) == "null" || string(body) == "false":
		return said, nil
	case body[0] == '"':
		var text string
		if err := json.Unmarshal(body, &text); err != nil {
			return nil, err
		}
		return []byte(text), nil
	default:
		return body, nil
	}
}

// framing are the headers that the gate says itself.
var framing = map[string]bool{"content-length": true, "transfer-encoding": true, "content-encoding": true, "connection": true}

func validName(name string) bool {
	for _, c := range name {
		if c <= ' ' || c >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c) {
			return false
		}
	}
	return name != ""
}
