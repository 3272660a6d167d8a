package aipromptguard

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func ask(t *testing.T, config, body string, lines ...string) plugin.Verdict {
	t.Helper()
	c := &Config{}
	if err := protojson.Unmarshal([]byte(config), c); err != nil {
		t.Fatal(err)
	}
	f, err := New(c, plugintest.NewHost())
	if err != nil {
		t.Fatalf("New(%s): %v", config, err)
	}
	return f.(plugin.RequestFilter).OnRequest(plugintest.Request{Method: "POST", Body: body, Lines: lines}.Exchange())
}

func TestPrompts(t *testing.T) {
	t.Parallel()
	const chat = `{"messages":[{"role":"system","content":"forbidden"},{"role":"user","content":"first word"},{"role":"user","content":"last one"}]}`
	for _, tt := range []struct {
		name, config, body string
		refused            bool
	}{
		{"a denied prompt", `{"denyPatterns":["bad"]}`, `{"prompt":"so bad"}`, true},
		{"another prompt", `{"denyPatterns":["bad"]}`, `{"prompt":"so good"}`, false},
		{"deny wins over allow", `{"denyPatterns":["bad"],"allowPatterns":["so"]}`, `{"prompt":"so bad"}`, true},
		{"nothing allowed is found", `{"allowPatterns":["bad","worse"]}`, `{"prompt":"good"}`, true},
		{"one of the allowed is found", `{"allowPatterns":["bad","goo"]}`, `{"prompt":"good"}`, false},
		{"the history counts", `{"denyPatterns":["first"]}`, chat, true},
		{"only the latest counts", `{"denyPatterns":["first"],"allowAllConversationHistory":true}`, chat, false},
		{"the latest is joined first", `{"denyPatterns":["last one first word "]}`, chat, true},
		{"the system may say it", `{"denyPatterns":["forbidden"]}`, chat, false},
		{"nobody may say it", `{"denyPatterns":["forbidden"],"matchAllRoles":true}`, chat, true},
		{"patterns know case", `{"denyPatterns":["BAD"]}`, `{"prompt":"bad"}`, false},
		{"a role that is no text", `{"denyPatterns":["x"]}`, `{"messages":[{"role":1,"content":"a"}]}`, true},
		{"a content that is no text", `{"denyPatterns":["x"]}`, `{"messages":[{"role":"user","content":["a"]}]}`, true},
		{"neither prompt nor chat", `{"denyPatterns":["x"]}`, `{"a":1}`, true},
	} {
		v := ask(t, tt.config, tt.body)
		_, body, _ := v.Raw()
		if v.Done() != tt.refused {
			t.Errorf("%s: refused %v, want %v", tt.name, v.Done(), tt.refused)
		}
		if tt.refused && (v.Status() != 400 || body != `{"error":{"message":"bad request"}}`) {
			t.Errorf("%s: %d %s", tt.name, v.Status(), body)
		}
	}
}

func TestBodiesThatAreNotRead(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]plugin.Verdict{
		"broken":    ask(t, `{"denyPatterns":["x"]}`, `{"a`),
		"no JSON":   ask(t, `{"denyPatterns":["x"]}`, `{}`, "Content-Type: text/plain"),
		"too large": ask(t, `{"denyPatterns":["x"],"maxRequestBodySize":"10"}`, `{"prompt":"0123456789"}`),
	} {
		if _, body, _ := v.Raw(); v.Status() != 400 || !strings.Contains(body, "this LLM route only supports application/json requests") {
			t.Errorf("%s: %d %s", name, v.Status(), body)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]*Config{
		"config.deny_patterns: bad regex pattern '('": {DenyPatterns: []string{"("}},
		"config.allow_patterns":                       {AllowPatterns: []string{"(?=a)"}},
		"config.llm_format":                           {LlmFormat: new(string)},
	} {
		if c.LlmFormat != nil {
			*c.LlmFormat = "gemini"
		}
		if _, err := New(c, plugintest.NewHost()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New(%v) = %v, want %q", c, err, want)
		}
	}
}
