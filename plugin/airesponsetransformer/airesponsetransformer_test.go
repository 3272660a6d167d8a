package airesponsetransformer

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func build(t *testing.T, m *plugintest.Model, more string) *filter {
	t.Helper()
	c := &Config{}
	text := `{"prompt":"p","llm":{"route_type":"llm/v1/chat","logging":{"log_statistics":true},` +
		`"model":{"provider":"openai","name":"gpt-4","options":{"upstream_url":"` + m.URL + `/chat"}}}` + more + `}`
	if err := protojson.Unmarshal([]byte(text), c); err != nil {
		t.Fatal(err)
	}
	f, err := New(c, plugintest.NewHost())
	if err != nil {
		t.Fatal(err)
	}
	return f.(*filter)
}

// answer leads an upstream's answer through the filter.
func answer(f *filter, body string, lines ...string) (*plugin.Exchange, string) {
	x := plugintest.Request{}.Exchange()
	plugintest.Answer(x, f, plugin.Next, 202, lines...)
	out := []byte(body)
	for _, edit := range x.Response.Rewrites() {
		out = edit(out)
	}
	f.OnLog(x)
	return x, string(out)
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	const instructed = `,"parse_llm_response_json_instructions":true`
	for _, tt := range []struct {
		name, more, says string
		status           int
		body, kind       string
	}{
		{"body alone", "", `<n>2</n>`, 202, `<n>2</n>`, "text/plain"},
		{"instructions", instructed, `{"status":209,"headers":{"content-type":"application/xml"},"body":"<n>2</n>"}`, 209, "<n>2</n>", "application/xml"},
		{"body as an object", instructed, `{"body":{"n":2}}`, 200, `{"n":2}`, "text/plain"},
		{"no body", instructed, `{"n":2}`, 200, `{"n":2}`, "text/plain"},
		{"framing stays", instructed, `{"headers":{"Content-Length":"1"},"body":"abc"}`, 200, "abc", "text/plain"},
		{"no JSON", instructed, `{"status`, 500, `{"error":{"message":"failed to parse JSON response instructions from AI backend: unexpected end of JSON input"}}`, "application/json; charset=utf-8"},
		{"no status", instructed, `{"status":99}`, 500, `{"error":{"message":"failed to parse JSON response instructions from AI backend: status is no status of an answer: 99"}}`, "application/json; charset=utf-8"},
		{"a header that is two", instructed, `{"headers":{"a":"b\r\nc: d"}}`, 500, `{"error":{"message":"failed to parse JSON response instructions from AI backend: a header is malformed: a"}}`, "application/json; charset=utf-8"},
		{"pattern", `,"transformation_extract_pattern":"\\d+"`, `it is 84.`, 202, `84`, "text/plain"},
		{"nothing found", `,"transformation_extract_pattern":"\\d+"`, `it is.`, 400, `{"error":{"message":"AI response did not match specified regular expression"}}`, "application/json; charset=utf-8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := plugintest.NewModel(t)
			m.Say(tt.says)
			x, body := answer(build(t, m, tt.more), "one", "Content-Type: text/plain")
			if x.Response.Status != tt.status || body != tt.body || x.Response.Header.Get("Content-Type") != tt.kind {
				t.Errorf("answer = %d %q %s, want %d %q %s", x.Response.Status, x.Response.Header.Get("Content-Type"), body, tt.status, tt.kind, tt.body)
			}
			if !strings.Contains(string(x.LogFields()[0].JSON), `"ai-response-transformer":{"meta"`) {
				t.Errorf("log entry = %s", x.LogFields()[0].JSON)
			}
		})
	}
}

func TestPackedAnswer(t *testing.T) {
	t.Parallel()
	m := plugintest.NewModel(t)
	m.Say("two")
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte("one")) // a buffer takes it
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	x, body := answer(build(t, m, ""), b.String(), "Content-Encoding: gzip")
	messages := m.Asked()[0].Body["messages"].([]any)
	if asked := messages[1].(map[string]any)["content"]; asked != "one" || body != "two" || x.Response.Header.Count("Content-Encoding") != 0 {
		t.Errorf("asked %q, answer %q, encoding %q", asked, body, x.Response.Header.Get("Content-Encoding"))
	}
}

func TestModelFails(t *testing.T) {
	t.Parallel()
	m := plugintest.NewModel(t)
	m.Answer(500, "")
	x, body := answer(build(t, m, ""), "one")
	if x.Response.Status != 400 || body != `{"error":{"message":"failed to introspect request with AI service: status code 500"}}` {
		t.Errorf("answer = %d %s", x.Response.Status, body)
	}
}

// TestOwnAnswersStay: what the gate itself answers is not the model's to change.
func TestOwnAnswersStay(t *testing.T) {
	t.Parallel()
	m := plugintest.NewModel(t)
	f := build(t, m, "")
	x := plugintest.Request{}.Exchange()
	plugintest.Answer(x, f, plugin.Deny(401, "no"), 0)
	if len(x.Response.Rewrites()) != 0 {
		t.Error("a refusal is rewritten")
	}
}
