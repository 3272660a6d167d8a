package aiprompttemplate

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func build(t *testing.T, strict bool) plugin.Filter {
	t.Helper()
	f, err := New(&Config{
		Templates: []*Config_Template{
			{Name: proto.String("chat"), Template: proto.String(`{"messages":[{"role":"user","content":"{{a}} and {{b}} and {{a}}"}]}`)},
			{Name: proto.String("chat"), Template: proto.String(`second of its name`)},
		},
		AllowUntemplatedRequests: proto.Bool(!strict), LogOriginalRequest: proto.Bool(true),
	}, plugintest.NewHost())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	f := build(t, false)
	for called, want := range map[string]string{
		`{"messages":"{template://chat}","properties":{"a":"x","b":"y"}}`:       `{"messages":[{"role":"user","content":"x and y and x"}]}`,
		`{"prompt":"{template://chat}","properties":{"a":"\"},{\"","b":"\\n"}}`: `{"messages":[{"role":"user","content":"\"},{\" and \\n and \"},{\""}]}`,
		`{"messages":[{"role":"user","content":"free"}]}`:                       `{"messages":[{"role":"user","content":"free"}]}`,
	} {
		x := plugintest.Request{Method: "POST", Body: called}.Exchange()
		if v := f.(plugin.RequestFilter).OnRequest(x); v.Done() {
			t.Errorf("OnRequest(%s) = %d", called, v.Status())
		}
		if got := plugintest.Body(x); got != want {
			t.Errorf("OnRequest(%s) makes %s, want %s", called, got, want)
		}
		f.(plugin.LogFilter).OnLog(x)
		if all := x.LogFields(); len(all) != 1 || all[0].Name != "ai" || !strings.Contains(string(all[0].JSON), `{"payload":{"original_request":"{`) {
			t.Errorf("log fields = %s", all)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	f := build(t, true)
	for body, message := range map[string]string{
		`no`:                             "this LLM route only supports application/json requests",
		`{"messages":"a","prompt":""}`:   "cannot run 'messages' and 'prompt' templates at the same time",
		`{"a":1}`:                        "only 'llm/v1/chat' and 'llm/v1/completions' formats are supported for templating",
		`{"prompt":"free"}`:              "this LLM route only supports templated requests",
		`{"prompt":"{template://no}"}`:   "could not find template name [no]",
		`{"prompt":"{template://chat}"}`: "missing template parameters: [a], [b]",
		`{"prompt":"{template://chat}","properties":[]}`:               "properties must be an object",
		`{"prompt":"{template://chat}","properties":{"a":1}}`:          "property values must be a string, got number",
		`{"prompt":"{template://chat}","properties":{"a":{}}}`:         "property values must be a string, got table",
		`{"prompt":"{template://chat}","properties":{"a":"x","c":""}}`: "missing template parameters: [b]",
	} {
		v := f.(plugin.RequestFilter).OnRequest(plugintest.Request{Method: "POST", Body: body}.Exchange())
		if _, got, _ := v.Raw(); v.Status() != 400 || got != `{"error":{"message":"`+message+`"}}` {
			t.Errorf("OnRequest(%s) = %d %s, want %q", body, v.Status(), got, message)
		}
	}
}
