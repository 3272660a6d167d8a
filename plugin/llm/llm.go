// Package llm is what the plugins for language models share: a request's body as they edit it
// one after the other, what a call used, their refusals, and their part of log entries.
//
// It knows JSON and Kong's words; what a provider wants is package aiproxy's. It is no plugin.
// Enter at Read.
package llm

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
)

// DefaultLimit is Kong's default of max_request_body_size.
const DefaultLimit = 8 << 10

// Object is a JSON object. Numbers are json.Number, as they were sent.
type Object = map[string]any

// state is what plugins of one exchange leave to each other.
type state struct {
	request Object // as the last of them left it; nil: the body says
	ours    bool   // the body was made here and has no bound
	metering
}

type key struct{}

var stateKey = &key{}

func stateOf(x *plugin.Exchange) *state {
	if s, ok := x.Value(stateKey).(*state); ok {
		return s
	}
	s := &state{}
	x.Put(stateKey, s)
	return s
}

// Read returns the request, of at most limit bytes, as the plugins before have left it. It is
// nil when the body is larger, or no JSON object by its type and content.
func Read(x *plugin.Exchange, limit int64) Object {
	s := stateOf(x)
	if s.request == nil {
		s.request = Parse(Raw(x, limit), x.Request.Header.Get("Content-Type"))
	}
	return s.request
}

// Raw returns the body as it is now; nil when it is larger than limit.
func Raw(x *plugin.Exchange, limit int64) []byte {
	if stateOf(x).ours {
		limit = 0
	} else if limit <= 0 {
		limit = DefaultLimit
	}
	body, err := x.ReadBody(limit)
	if err != nil {
		return nil
	}
	return body
}

// Parse reads an object; nil when body is none. Without a type it is taken for JSON.
func Parse(body []byte, contentType string) Object {
	if contentType != "" && !strings.Contains(strings.ToLower(contentType), "application/json") {
		return nil
	}
	return Decode(body)
}

// Decode reads an object; nil when data is none.
func Decode(data []byte) Object {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var o Object
	if d.Decode(&o) != nil || d.More() {
		return nil
	}
	return o
}

// Encode writes a value without escaping for HTML.
func Encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil {
		return nil // what was decoded encodes
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

// Store makes o the request for the plugins that follow and the upstream.
func Store(x *plugin.Exchange, o Object) {
	StoreRaw(x, Encode(o))
	stateOf(x).request = o
}

// StoreRaw replaces the body by JSON; it is read anew by the plugins that follow.
func StoreRaw(x *plugin.Exchange, body []byte) {
	Replace(x, body)
	x.Request.Header.Set("Content-Type", "application/json")
}

// Replace replaces the body by one of the same type.
func Replace(x *plugin.Exchange, body []byte) {
	s := stateOf(x)
	s.request, s.ours = nil, true
	x.SetBody(body)
}

// Refuse answers 400 with Kong's body of the AI plugins.
func Refuse(message, reason string) plugin.Verdict {
	return plugin.Exit(http.StatusBadRequest, "application/json; charset=utf-8", string(Problem(message))).Because(reason)
}

// Problem is the body that tells a failure.
func Problem(message string) []byte {
	return Encode(Object{"error": Object{"message": message}})
}

// Messages returns the chat of a request; nil when there is none.
func Messages(o Object) []any {
	m, _ := o["messages"].([]any)
	return m
}

// Text returns a member that is a text.
func Text(o Object, name string) string {
	s, _ := o[name].(string)
	return s
}

// Log adds a value to the exchange's log entry, at a path below "ai".
func Log(x *plugin.Exchange, value any, path ...string) {
	const name = "ai"
	fields := x.LogFields()
	for i := range fields {
		if fields[i].Name != name {
			continue
		}
		if all := Decode(fields[i].JSON); all != nil {
			put(all, value, path)
			fields[i].JSON = Encode(all)
		}
		return
	}
	all := Object{}
	put(all, value, path)
	x.AddLogField(name, Encode(all))
}

func put(o Object, value any, path []string) {
	for ; len(path) > 1; path = path[1:] {
		inner, ok := o[path[0]].(Object)
		if !ok {
			inner = Object{}
			o[path[0]] = inner
		}
		o = inner
	}
	o[path[0]] = value
}

// maxAnswer bounds an answer once it is unpacked.
const maxAnswer = 64 << 20

// Unpacked returns a body without its encoding; as it is when that is not understood.
func Unpacked(encoding string, body []byte) []byte {
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
