package aipromptdecorator

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func TestMessagesAroundAChat(t *testing.T) {
	t.Parallel()
	message := func(role, content string) *Config_Message {
		return &Config_Message{Role: proto.String(role), Content: proto.String(content)}
	}
	f, err := New(&Config{Prompts: &Config_Prompts{
		Prepend: []*Config_Message{message("system", "one"), {Content: proto.String("two")}},
		Append:  []*Config_Message{message("user", "<end>")},
	}}, plugintest.NewHost())
	if err != nil {
		t.Fatal(err)
	}
	x := plugintest.Request{Method: "POST", Body: `{"model":"m","temperature":0.50,"messages":[{"role":"user","content":"hi"}]}`}.Exchange()
	if v := f.(plugin.RequestFilter).OnRequest(x); v.Done() {
		t.Fatalf("OnRequest = %d", v.Status())
	}
	want := `{"messages":[{"content":"one","role":"system"},{"content":"two","role":"system"},{"content":"hi","role":"user"},` +
		`{"content":"<end>","role":"user"}],"model":"m","temperature":0.50}`
	if got := plugintest.Body(x); got != want {
		t.Errorf("body = %s, want %s", got, want)
	}
	if x.Request.Header.Get("Content-Type") != "application/json" {
		t.Errorf("head = %v", x.Request.Header.Fields())
	}
	for body, message := range map[string]string{
		`{"prompt":"x"}`:  "this LLM route only supports llm/chat type requests",
		`{"messages":[]}`: "this LLM route only supports llm/chat type requests",
		`[]`:              "this LLM route only supports application/json requests",
	} {
		v := f.(plugin.RequestFilter).OnRequest(plugintest.Request{Method: "POST", Body: body}.Exchange())
		if _, got, _ := v.Raw(); v.Status() != 400 || !strings.Contains(got, message) {
			t.Errorf("OnRequest(%s) = %d %s, want %q", body, v.Status(), got, message)
		}
	}
}
