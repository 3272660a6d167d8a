package airequesttransformer

import (
	"encoding/json"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

const prompt = "Multiply all numbers in my JSON request, by 2."

// build makes a filter whose model is m; more are members of the config.
func build(t *testing.T, m *plugintest.Model, more string) *filter {
	t.Helper()
	c := &Config{}
	text := `{"prompt":"` + prompt + `","https_verify":true,"llm":{"route_type":"llm/v1/chat","logging":{"log_statistics":true,"log_payloads":true},` +
		`"auth":{"header_name":"Authorization","header_value":"Bearer key","param_name":"k","param_value":"v","param_location":"query"},` +
		`"model":{"provider":"openai","name":"gpt-4","options":{"max_tokens":512,"input_cost":10,"output_cost":10,"upstream_url":"` + m.URL + `/chat?a=1"}}}` + more + `}`
	if err := protojson.Unmarshal([]byte(text), c); err != nil {
		t.Fatal(err)
	}
	f, err := New(c, plugintest.NewHost())
	if err != nil {
		t.Fatal(err)
	}
	return f.(*filter)
}

func TestBodyIsWhatTheModelSays(t *testing.T) {
	t.Parallel()
	m := plugintest.NewModel(t)
	m.Say(`{"n":84}`)
	f := build(t, m, "")
	x := plugintest.Request{Method: "POST", Body: `{"n":42}`, Lines: []string{"Content-Type: application/xml"}}.Exchange()
	if v := f.OnRequest(x); v.Done() {
		_, body, _ := v.Raw()
		t.Fatalf("OnRequest = %d %s", v.Status(), body)
	}
	if got := plugintest.Body(x); got != `{"n":84}` || x.Request.Length != 8 || x.Request.Header.Get("Content-Type") != "application/xml" {
		t.Errorf("body = %q, length %d, type %q", got, x.Request.Length, x.Request.Header.Get("Content-Type"))
	}
	all := m.Asked()
	if len(all) != 1 {
		t.Fatalf("asked %d times", len(all))
	}
	sent, _ := json.Marshal(all[0].Body)
	want := `{"max_tokens":512,"messages":[{"content":"` + prompt + `","role":"system"},{"content":"{\"n\":42}","role":"user"}],"model":"gpt-4","stream":false}`
	if string(sent) != want || all[0].Header.Get("Authorization") != "Bearer key" || all[0].Query != "a=1&k=v" {
		t.Errorf("asked %s, %q, %q", sent, all[0].Header.Get("Authorization"), all[0].Query)
	}
	f.OnLog(x)
	if n := len(x.LogFields()); n != 1 {
		t.Fatalf("%d log fields", n)
	}
	entry := string(x.LogFields()[0].JSON)
	for _, part := range []string{
		`"ai-request-transformer":{`, `"provider_name":"openai"`, `"request_model":"gpt-4"`, `"response_model":"gpt-4-0613"`,
		`"prompt_tokens":25`, `"completion_tokens":12`, `"cost":0.00037`, `"payload":{`,
	} {
		if !strings.Contains(entry, part) {
			t.Errorf("log entry has no %s: %s", part, entry)
		}
	}
	if x.Model.Provider != "openai" || x.Model.PromptTokens != 25 {
		t.Errorf("metrics are told %+v", x.Model)
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	const one = `{"choices":[{"message":{"content":"say: {\"a\":1}!"}}]}`
	for _, tt := range []struct {
		name, more string
		status     int
		answer     string
		want       string // of the refusal; "": the body
		body       string
	}{
		{"bad request", "", 400, "{}", "failed to introspect request with AI service: status code 400", ""},
		{"server error", "", 500, "<html>", "failed to introspect request with AI service: status code 500", ""},
		{"no JSON", "", 200, "<html>", "failed to convert AI response to Kong format: transformation failed from type openai://llm/v1/chat: failed to decode llm/v1/chat response", ""},
		{"no choices", "", 200, `{"choices":[]}`, "no 'choices' in upstream AI service response", ""},
		{"pattern", `,"transformation_extract_pattern":"\\{((.|\\n)*)\\}"`, 200, one, "", `{"a":1}`},
		{"pattern without regard to case", `,"transformation_extract_pattern":"SAY"`, 200, one, "", `say`},
		{"pattern that finds nothing", `,"transformation_extract_pattern":"nowhere"`, 200, one, "AI response did not match specified regular expression", ""},
		{"large body", `,"max_request_body_size":"1"`, 200, one, "request body is larger than max_request_body_size", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := plugintest.NewModel(t)
			m.Answer(tt.status, tt.answer)
			x := plugintest.Request{Method: "POST", Body: "body"}.Exchange()
			v := build(t, m, tt.more).OnRequest(x)
			if tt.want == "" {
				if got := plugintest.Body(x); v.Done() || got != tt.body {
					t.Errorf("OnRequest = %d, body %q, want %q", v.Status(), got, tt.body)
				}
				return
			}
			told, _ := json.Marshal(map[string]any{"error": map[string]any{"message": tt.want}})
			if _, body, _ := v.Raw(); v.Status() != 400 || body != string(told) {
				t.Errorf("OnRequest = %d %s, want 400 %s", v.Status(), body, told)
			}
			if got := plugintest.Body(x); got != "body" {
				t.Errorf("the body became %q", got)
			}
		})
	}
}

func TestModelAway(t *testing.T) {
	t.Parallel()
	m := plugintest.NewModel(t)
	m.URL = "http://127.0.0.1:1"
	v := build(t, m, "").OnRequest(plugintest.Request{}.Exchange())
	_, body, _ := v.Raw()
	if v.Status() != 400 || !strings.Contains(body, "failed to introspect request with AI service: request to ai service failed") || strings.Contains(body, "k=v") {
		t.Errorf("OnRequest = %d %s", v.Status(), body)
	}
}

// TestProxy sends the request of the model through a forward proxy.
func TestProxy(t *testing.T) {
	t.Parallel()
	m := plugintest.NewModel(t)
	m.Say("changed")
	host, port, _ := strings.Cut(strings.TrimPrefix(m.URL, "http://"), ":")
	f := build(t, &plugintest.Model{URL: "http://model.test"}, `,"http_proxy_host":"`+host+`","http_proxy_port":"`+port+`"`)
	x := plugintest.Request{}.Exchange()
	if v := f.OnRequest(x); v.Done() || plugintest.Body(x) != "changed" {
		t.Errorf("OnRequest = %d, body %q", v.Status(), plugintest.Body(x))
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"llm":{"route_type":"llm/v1/chat","model":{"provider":"bedrock"}}}`:                                        "config.llm.model.provider: bedrock is not supported yet",
		`{"transformation_extract_pattern":"(","llm":{"route_type":"llm/v1/chat","model":{"provider":"openai"}}}`:    "config.transformation_extract_pattern: ",
		`{"llm":{"route_type":"llm/v1/chat","auth":{"gcp_use_service_account":true},"model":{"provider":"gemini"}}}`: "config.llm.auth.gcp_use_service_account: ",
	} {
		c := &Config{}
		if err := protojson.Unmarshal([]byte(text), c); err != nil {
			t.Fatal(err)
		}
		if _, err := New(c, plugintest.NewHost()); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("New(%s) = %v, want %q", text, err, want)
		}
	}
}

var _ plugin.Filter = (*filter)(nil)
