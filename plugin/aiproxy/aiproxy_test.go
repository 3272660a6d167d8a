package aiproxy

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
	"github.com/sekifuda/sekifuda/plugin/provider"
)

func build(t testing.TB, config string) *filter {
	t.Helper()
	c := &Config{}
	if err := protojson.Unmarshal([]byte(config), c); err != nil {
		t.Fatalf("config %s: %v", config, err)
	}
	h := plugintest.NewHost()
	h.In.PluginID = "p1"
	f, err := New(c, h)
	if err != nil {
		t.Fatalf("New(%s): %v", config, err)
	}
	return f.(*filter)
}

// of makes a config of a chat with a provider.
func of(provider, options, more string) string {
	return `{"route_type":"llm/v1/chat","model":{"provider":"` + provider + `","name":"m1","options":{` + options + `}}` + more + `}`
}

func post(body string, lines ...string) *plugin.Exchange {
	return plugintest.Request{Method: "POST", Target: "/talk?a=1", Body: body, Lines: lines}.Exchange()
}

func sameJSON(t *testing.T, name, got, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		t.Errorf("%s: %v in %q", name, err, got)
		return
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
	}
}

const hello = `{"messages":[{"role":"system","content":"be kind"},{"role":"user","content":"hello"}]}`

func TestRequestsByProvider(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, config, body, authority, path, query, sent string }{
		{
			"openai", of("openai", `"max_tokens":5,"temperature":0.5,"top_k":3`, ""), hello, "api.openai.com:443", "/v1/chat/completions", "a=1",
			`{"model":"m1","stream":false,"max_tokens":5,"temperature":0.5,"messages":[{"role":"system","content":"be kind"},{"role":"user","content":"hello"}]}`,
		},
		{
			"what the gate does not know passes", of("openai", "", ""), `{"messages":[{"role":"user","content":[{"type":"image_url"}]}],"seed":7,"model":"m1"}`,
			"api.openai.com:443", "/v1/chat/completions", "a=1", `{"model":"m1","stream":false,"seed":7,"messages":[{"role":"user","content":[{"type":"image_url"}]}]}`,
		},
		{
			"azure", of("azure", `"azure_instance":"inst","azure_deployment_id":"dep","azure_api_version":"2023-05-15"`, ""), hello,
			"inst.openai.azure.com:443", "/openai/deployments/dep/chat/completions", "a=1&api-version=2023-05-15",
			`{"model":"m1","stream":false,"messages":[{"role":"system","content":"be kind"},{"role":"user","content":"hello"}]}`,
		},
		{
			"anthropic", of("anthropic", `"anthropic_version":"2023-06-01","max_tokens":9`, ""),
			`{"messages":[{"role":"system","content":"be kind"},{"role":"user","content":"hello"},{"role":"assistant","tool_calls":[{"id":"c1","function":{"name":"f","arguments":"{\"x\":1}"}}]},{"role":"tool","tool_call_id":"c1","content":"42"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}]}`,
			"api.anthropic.com:443", "/v1/messages", "a=1",
			`{"model":"m1","stream":false,"max_tokens":9,"system":"be kind","messages":[{"role":"user","content":"hello"},{"role":"assistant","content":[{"type":"tool_use","id":"c1","name":"f","input":{"x":1}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":"42"}]}],"tools":[{"name":"f","input_schema":{"type":"object"}}]}`,
		},
		{
			"cohere", of("cohere", `"top_p":0.5`, ""), `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}]}`,
			"api.cohere.com:443", "/v1/chat", "a=1",
			`{"model":"m1","stream":false,"p":0.5,"message":"c","chat_history":[{"role":"USER","message":"a"},{"role":"CHATBOT","message":"b"}]}`,
		},
		{
			"ollama", of("llama2", `"llama2_format":"ollama","upstream_url":"http://ollama.test:11434/api/chat","max_tokens":7`, ""), hello,
			"ollama.test:11434", "/api/chat", "a=1",
			`{"model":"m1","stream":false,"options":{"num_predict":7},"messages":[{"role":"system","content":"be kind"},{"role":"user","content":"hello"}]}`,
		},
		{
			"llama2 raw", of("llama2", `"llama2_format":"raw","upstream_url":"https://llama.test/raw?k=v"`, ""), hello,
			"llama.test:443", "/raw", "a=1&k=v", `{"inputs":"<s>[INST] <<SYS>> be kind <</SYS>> hello [/INST]","parameters":{"stream":false}}`,
		},
		{
			"mistral", of("mistral", `"mistral_format":"openai"`, ""), `{"messages":[{"role":"user","content":"a"}],"stream":true}`,
			"api.mistral.ai:443", "/v1/chat/completions", "a=1", `{"model":"m1","stream":true,"messages":[{"role":"user","content":"a"}]}`,
		},
		{
			"gemini", of("gemini", `"max_tokens":7`, ""), `{"messages":[{"role":"system","content":"be kind"},{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]},{"role":"assistant","content":"b"}],"tools":[{"function":{"name":"f"}}]}`,
			"generativelanguage.googleapis.com:443", "/v1beta/models/m1:generateContent", "a=1",
			`{"systemInstruction":{"parts":[{"text":"be kind"}]},"contents":[{"role":"user","parts":[{"text":"a"},{"inlineData":{"mimeType":"image/png","data":"AAAA"}}]},{"role":"model","parts":[{"text":"b"}]}],"generationConfig":{"maxOutputTokens":7},"tools":[{"function_declarations":[{"name":"f"}]}]}`,
		},
		{
			"gemini on vertex", of("gemini", `"gemini":{"api_endpoint":"eu.test","project_id":"p","location_id":"l"}`, ""), `{"messages":[{"role":"user","content":"a"}],"stream":true}`,
			"eu.test:443", "/v1/projects/p/locations/l/publishers/google/models/m1:streamGenerateContent", "a=1",
			`{"contents":[{"role":"user","parts":[{"text":"a"}]}],"generationConfig":{}}`,
		},
		{
			"huggingface", of("huggingface", `"temperature":0.5,"huggingface":{"use_cache":true}`, ""), `{"messages":[{"role":"user","content":"a"}]}`,
			"api-inference.huggingface.co:443", "/models/m1/v1/chat/completions", "a=1",
			`{"model":"m1","messages":[{"role":"user","content":"a"}],"parameters":{"temperature":0.5},"options":{"use_cache":true,"wait_for_model":false}}`,
		},
		{
			"completions", strings.Replace(of("anthropic", `"anthropic_version":"1"`, ""), "chat", "completions", 1), `{"prompt":"hi","max_tokens":3}`,
			"api.anthropic.com:443", "/v1/complete", "a=1", `{"model":"m1","stream":false,"prompt":"Human: hi\n\nAssistant:","max_tokens_to_sample":3}`,
		},
		{
			"another path", of("openai", `"upstream_path":"own/chat"`, ""), hello, "api.openai.com:443", "/own/chat", "a=1",
			`{"model":"m1","stream":false,"messages":[{"role":"system","content":"be kind"},{"role":"user","content":"hello"}]}`,
		},
		{
			"preserve", `{"route_type":"preserve","model":{"provider":"openai"}}`, `{"input":"embed me","model":"e"}`,
			"api.openai.com:443", "/talk", "a=1", `{"input":"embed me","model":"e"}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x := post(tt.body, "Accept-Encoding: gzip")
			if v := build(t, tt.config).OnRequest(x); v.Done() {
				_, body, _ := v.Raw()
				t.Fatalf("OnRequest = %d %s", v.Status(), body)
			}
			u := &x.Upstream
			if u.Authority != tt.authority || u.Path != tt.path || u.Query != tt.query || !strings.HasPrefix(u.Authority, strings.TrimSuffix(u.Host, ":11434")) {
				t.Errorf("upstream = %+v", u)
			}
			sameJSON(t, "sent", plugintest.Body(x), tt.sent)
			if _, ok := x.Request.Header.Lookup("Accept-Encoding"); ok {
				t.Error("the provider may compress its answer")
			}
		})
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	header := `,"auth":{"header_name":"Authorization","header_value":"Bearer ours"`
	query := `,"auth":{"param_name":"key","param_value":"ours","param_location":"query"`
	body := `,"auth":{"param_name":"key","param_value":"ours","param_location":"body"`
	for _, tt := range []struct{ name, more, target, line, body, want string }{
		{"a header", header + "}", "/", "", hello, "Bearer ours||"},
		{"over the client's", header + "}", "/", "Authorization: mine", hello, "Bearer ours||"},
		{"the client's wins", header + `,"allow_override":true}`, "/", "Authorization: mine", hello, "mine||"},
		{"an argument", query + "}", "/?key=mine", "", hello, "|key=ours|"},
		{"the client's argument wins", query + `,"allow_override":true}`, "/?key=mine", "", hello, "|key=mine|"},
		{"a member", body + "}", "/", "", strings.Replace(hello, "{", `{"key":"mine",`, 1), "||ours"},
		{"the client's member wins", body + `,"allow_override":true}`, "/", "", strings.Replace(hello, "{", `{"key":"mine",`, 1), "||mine"},
	} {
		r := plugintest.Request{Method: "POST", Target: tt.target, Body: tt.body}
		if tt.line != "" {
			r.Lines = []string{tt.line}
		}
		x := r.Exchange()
		if v := build(t, of("openai", "", tt.more)).OnRequest(x); v.Done() {
			t.Fatalf("%s: %d", tt.name, v.Status())
		}
		var sent struct{ Key string }
		if err := json.Unmarshal([]byte(plugintest.Body(x)), &sent); err != nil {
			t.Fatal(err)
		}
		if got := x.Request.Header.Get("Authorization") + "|" + x.Upstream.Query + "|" + sent.Key; got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	unnamed := `{"route_type":"llm/v1/chat","model":{"provider":"openai"}`
	for _, tt := range []struct{ name, config, body, want string }{
		{"broken JSON", of("openai", "", ""), `{"mess`, "content-type header does not match request body, or bad JSON formatting"},
		{"too large", of("openai", "", `,"max_request_body_size":20`), hello, "content-type header does not match request body, or bad JSON formatting"},
		{"no prompt", of("openai", "", ""), `{"messages":[]}`, "request body doesn't contain valid prompts"},
		{"another model", of("openai", "", ""), `{"model":"own","messages":[{"role":"user","content":"a"}]}`, "cannot use own model - must be: m1"},
		{"no model", unnamed + "}", hello, "model parameter not found in request, nor in gateway configuration"},
		{"a prompt on a chat", of("openai", "", ""), `{"prompt":"a"}`, "[llm/v1/completions] message format is not compatible with [llm/v1/chat] route type"},
		{"both", of("openai", "", ""), `{"prompt":"a","messages":[{"role":"user","content":"a"}]}`, "request matches multiple LLM request formats"},
		{"no streams", of("openai", "", `,"response_streaming":"deny"`), `{"stream":true,"messages":[{"role":"user","content":"a"}]}`, "response streaming is not enabled for this LLM"},
		{"a word that is missing", strings.Replace(of("openai", "", ""), "m1", "$(headers.x-model)", 1), hello, "headers key x-model was not provided"},
		{"a word of nowhere", strings.Replace(of("openai", "", ""), "m1", "$(cookies.x)", 1), hello, "source 'cookies' is not supported"},
		{"a word of one part", strings.Replace(of("openai", "", ""), "m1", "$(headers)", 1), hello, "cannot parse expression for field '$(headers)'"},
	} {
		v := build(t, tt.config).OnRequest(post(tt.body))
		if _, body, _ := v.Raw(); v.Status() != 400 || body != `{"error":{"message":"`+tt.want+`"}}` {
			t.Errorf("%s: OnRequest = %d %s, want %q", tt.name, v.Status(), body, tt.want)
		}
	}
}

func TestModelsOfRequests(t *testing.T) {
	t.Parallel()
	f := build(t, `{"route_type":"llm/v1/chat","model":{"provider":"azure","name":"$(headers.x_model)","options":{"azure_instance":"$(query_params.a)","azure_deployment_id":"d-$(uri_captures.id)","azure_api_version":"v"}}}`)
	x := post(hello, "X-Model: gpt")
	x.Captures = plugin.Captures{Names: []string{"id"}, Values: []string{"7"}}
	if v := f.OnRequest(x); v.Done() {
		t.Fatalf("OnRequest = %d", v.Status())
	}
	if x.Upstream.Authority != "1.openai.azure.com:443" || x.Upstream.Path != "/openai/deployments/d-7/chat/completions" {
		t.Errorf("upstream = %+v", x.Upstream)
	}
	x = post(hello, "X-Model: other")
	x.Captures = plugin.Captures{Names: []string{"id"}, Values: []string{"7"}}
	if v := f.OnRequest(x); v.Done() || x.Value(f).(*provider.Call).Label() != "azure/other" {
		t.Errorf("the second request asks %q", x.Value(f).(*provider.Call).Label())
	}
}

// answer leads an exchange through an answer of the provider and returns status and body.
func answer(t *testing.T, f *filter, x *plugin.Exchange, status int, body string, lines ...string) (int, string) {
	t.Helper()
	plugintest.Answer(x, f, plugin.Next, status, lines...)
	out := []byte(body)
	for _, edit := range x.Response.Rewrites() {
		out = edit(out)
	}
	return x.Response.Status, string(out)
}

func TestAnswersByProvider(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, config, answer, want string }{
		{"openai", of("openai", "", ""), `{"choices":[],"x":1}`, `{"choices":[],"x":1}`},
		{
			"anthropic", of("anthropic", "", ""),
			`{"id":"i","model":"claude","content":[{"type":"text","text":"a"},{"type":"text","text":"b"},{"type":"tool_use","id":"c1","name":"f","input":{"x":1}}],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":4}}`,
			`{"id":"i","model":"claude","object":"chat.completion","choices":[{"index":0,"finish_reason":"end_turn","message":{"role":"assistant","content":"a\nb","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]}}],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}`,
		},
		{
			"cohere", of("cohere", "", ""), `{"text":"hi","generation_id":"g","meta":{"billed_units":{"input_tokens":3,"output_tokens":4}}}`,
			`{"id":"g","model":"m1","object":"chat.completion","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"hi"}}],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}`,
		},
		{
			"ollama", of("llama2", `"llama2_format":"ollama","upstream_url":"http://o.test/","max_tokens":4`, ""),
			`{"model":"llama3","created_at":"t","message":{"role":"assistant","content":"hi"},"done":true,"prompt_eval_count":3,"eval_count":4}`,
			`{"model":"llama3","created":"t","object":"chat.completion","choices":[{"index":0,"finish_reason":"length","message":{"role":"assistant","content":"hi"}}],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}`,
		},
		{
			"gemini", of("gemini", "", ""), `{"candidates":[{"content":{"parts":[{"text":"hi"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":4}}`,
			`{"model":"m1","object":"chat.completion","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"hi"}}],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}`,
		},
		{
			"gemini's functions", of("gemini", "", ""), `{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"x":1}}}]},"finishReason":"STOP"}]}`,
			`{"model":"m1","object":"chat.completion","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","tool_calls":[{"type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]}}],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}`,
		},
		{
			"huggingface", of("huggingface", "", ""), `[{"generated_text":"hi"}]`,
			`{"model":"m1","object":"llm/v1/chat","choices":[{"index":0,"finish_reason":"complete","message":{"content":"hi"}}],"usage":{}}`,
		},
		{
			"llama2 raw", of("llama2", `"llama2_format":"raw","upstream_url":"http://o.test/"`, ""), `{"data":[{"generated_text":"<s>[INST] x [/INST]\n hi "}]}`,
			`{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hi"}}]}`,
		},
	} {
		f, x := build(t, tt.config), post(hello)
		f.OnRequest(x)
		status, got := answer(t, f, x, 200, tt.answer, "Content-Type: application/json", "Set-Cookie: a=1")
		if h := &x.Response.Header; status != 200 || !strings.HasSuffix(h.Get("X-Kong-LLM-Model"), "/m1") || h.Count("Set-Cookie") > 0 {
			t.Errorf("%s: %d %v", tt.name, status, h.Fields())
		}
		sameJSON(t, tt.name, got, tt.want)
	}
}

func TestAnswersThatFail(t *testing.T) {
	t.Parallel()
	f := build(t, of("openai", "", ""))
	for given, want := range map[string]string{
		`{"a":1}`: `{"error":{"message":"transformation failed from type openai://llm/v1/chat: 'choices' not in llm/v1/chat response"}}`,
		`<html>`:  `{"error":{"message":"transformation failed from type openai://llm/v1/chat: failed to decode llm/v1/chat response"}}`,
	} {
		x := post(hello)
		f.OnRequest(x)
		if status, got := answer(t, f, x, 200, given); status != 500 || got != want {
			t.Errorf("answer to %s = %d %s, want %s", given, status, got, want)
		}
	}
	x := post(hello)
	f.OnRequest(x)
	if status, got := answer(t, f, x, 401, `{"error":{"code":"invalid_api_key"}}`); status != 401 || got != `{"error":{"code":"invalid_api_key"}}` || x.Response.Header.Get("X-Kong-LLM-Model") != "" {
		t.Errorf("the provider's own word became %d %s", status, got)
	}
}

func TestCompressedAnswersAreRead(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write([]byte(`{"choices":[]}`))
	_ = w.Close()
	f, x := build(t, of("openai", "", "")), post(hello)
	f.OnRequest(x)
	if status, got := answer(t, f, x, 200, packed.String(), "Content-Encoding: gzip"); status != 200 || got != `{"choices":[]}` || x.Response.Header.Get("Content-Encoding") != "" {
		t.Errorf("answer = %d %q %v", status, got, x.Response.Header.Fields())
	}
}

// streamed leads a streamed answer through the filter in pieces of n bytes.
func streamedBy(t *testing.T, f *filter, kind, body string, n int) (*plugin.Exchange, []string) {
	t.Helper()
	x := post(strings.Replace(hello, "{", `{"stream":true,`, 1))
	if v := f.OnRequest(x); v.Done() {
		t.Fatalf("OnRequest = %d", v.Status())
	}
	plugintest.Answer(x, f, plugin.Next, 200, "Content-Type: "+kind)
	edits := x.Response.Edits()
	if len(edits) != 1 {
		t.Fatalf("%d edits", len(edits))
	}
	var out []byte
	for len(body) > 0 {
		k := min(n, len(body))
		out = append(out, edits[0]([]byte(body[:k]), len(body) == k)...)
		body = body[k:]
	}
	if x.Response.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("type = %q", x.Response.Header.Get("Content-Type"))
	}
	return x, strings.Split(strings.TrimSuffix(string(out), "\n\n"), "\n\n")
}

func TestStreamsByProvider(t *testing.T) {
	t.Parallel()
	const logs = `,"logging":{"log_statistics":true,"log_payloads":true}`
	for _, tt := range []struct {
		name, config, kind, body string
		texts                    string
		usage                    string
	}{
		{
			"openai", of("openai", "", logs), "text/event-stream",
			"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"one \"}}],\"model\":\"g\"}\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"two\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
			"one two", `{"completion_tokens":2,"prompt_tokens":5,"total_tokens":7}`,
		},
		{
			"openai with usage", of("openai", "", logs), "text/event-stream; charset=utf-8",
			"data: {\"choices\":[{\"delta\":{\"content\":\"one\"}}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":9}}\n\ndata: [DONE]\n\n",
			"one", `{"completion_tokens":9,"prompt_tokens":8,"total_tokens":17}`,
		},
		{
			"anthropic", of("anthropic", "", logs), "text/event-stream",
			"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"i\",\"role\":\"assistant\",\"usage\":{\"input_tokens\":8,\"output_tokens\":1}}}\n\n" +
				"event: content_block_start\ndata: {\"content_block\":{\"text\":\"\"}}\n\nevent: ping\ndata: {}\n\n" +
				"event: content_block_delta\ndata: {\"delta\":{\"text\":\"one \"}}\n\nevent: content_block_delta\ndata: {\"delta\":{\"text\":\"two\"}}\n\n" +
				"event: message_delta\ndata: {\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":3}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
			"one two", `{"completion_tokens":4,"prompt_tokens":8,"total_tokens":12}`,
		},
		{
			"cohere", of("cohere", "", logs), "application/stream+json",
			"{\"event_type\":\"stream-start\",\"generation_id\":\"g\"}\n{\"event_type\":\"text-generation\",\"text\":\"one \"}\n{\"event_type\":\"text-generation\",\"text\":\"two\"}\n{\"event_type\":\"stream-end\",\"response\":{\"meta\":{\"billed_units\":{\"input_tokens\":3,\"output_tokens\":4}}}}\n",
			"one two", `{"completion_tokens":4,"prompt_tokens":3,"total_tokens":7}`,
		},
		{
			"gemini", of("gemini", "", logs), "application/json",
			"[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"one \"}]}}]}\n,\r\n{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"two\"}]},\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":4}}]\n",
			"one two", `{"completion_tokens":4,"prompt_tokens":3,"total_tokens":7}`,
		},
		{
			"huggingface", of("huggingface", "", logs), "text/event-stream",
			"data: {\"choices\":[{\"delta\":{\"content\":\"one \"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"two\"}}]}\n\ndata: [DONE]\n\n",
			"one two", `{"completion_tokens":2,"prompt_tokens":5,"total_tokens":7}`,
		},
		{
			"ollama", of("llama2", `"llama2_format":"ollama","upstream_url":"http://o.test/"`, logs), "application/x-ndjson",
			"{\"model\":\"l\",\"message\":{\"content\":\"one \"},\"done\":false}\n{\"model\":\"l\",\"message\":{\"content\":\"two\"},\"done\":false}\n{\"done\":true,\"prompt_eval_count\":3,\"eval_count\":4}",
			"one two", `{"completion_tokens":4,"prompt_tokens":3,"total_tokens":7}`,
		},
	} {
		for _, n := range []int{1, 7, 1 << 20} {
			f := build(t, tt.config)
			x, events := streamedBy(t, f, tt.kind, tt.body, n)
			texts := ""
			for _, e := range events[:len(events)-1] {
				var chunk struct {
					Choices []struct{ Delta struct{ Content string } }
				}
				data, ok := strings.CutPrefix(e, "data: ")
				if err := json.Unmarshal([]byte(data), &chunk); err != nil || !ok {
					t.Fatalf("%s: event %q: %v", tt.name, e, err)
				}
				if len(chunk.Choices) > 0 {
					texts += chunk.Choices[0].Delta.Content
				}
			}
			if texts != tt.texts || events[len(events)-1] != "data: [DONE]" {
				t.Errorf("%s in pieces of %d: %q ends with %q", tt.name, n, texts, events[len(events)-1])
			}
			plugintest.Timed(x, time.Unix(1700000000, 0))
			f.OnLog(x)
			var entry struct {
				Proxy struct {
					Usage   map[string]any
					Payload struct{ Response string }
				}
			}
			if err := json.Unmarshal(x.LogFields()[0].JSON, &entry); err != nil {
				t.Fatal(err)
			}
			delete(entry.Proxy.Usage, "cost")
			delete(entry.Proxy.Usage, "time_per_token")
			got, _ := json.Marshal(entry.Proxy.Usage)
			sameJSON(t, tt.name+" usage", string(got), tt.usage)
			if !strings.Contains(entry.Proxy.Payload.Response, `"content":"`+tt.texts+`"`) {
				t.Errorf("%s: logged answer %s", tt.name, entry.Proxy.Payload.Response)
			}
		}
	}
}

func TestStreamsOfAnotherType(t *testing.T) {
	t.Parallel()
	_, events := streamedBy(t, build(t, of("openai", "", "")), "text/html", "<html>...</html>", 4)
	if len(events) != 1 || events[0] != `data: {"error": true, "message": "empty or unsupported transformer response"}` {
		t.Errorf("events = %q", events)
	}
}

func TestStatistics(t *testing.T) {
	t.Parallel()
	f := build(t, of("openai", `"input_cost":1000000,"output_cost":2000000`, `,"logging":{"log_statistics":true}`))
	x := post(hello)
	f.OnRequest(x)
	answer(t, f, x, 200, `{"choices":[],"model":"m1-0613","usage":{"prompt_tokens":25,"completion_tokens":12}}`)
	plugintest.Timed(x, time.Unix(1700000000, 0))
	f.OnLog(x)
	if u := x.Model; u.Provider != "openai" || u.Name != "m1" || u.PromptTokens != 25 || u.CompletionTokens != 12 || u.Cost != 49 {
		t.Errorf("use = %+v", u)
	}
	sameJSON(t, "log", string(x.LogFields()[0].JSON), `{"proxy":{
		"meta":{"plugin_id":"p1","provider_name":"openai","request_model":"m1","response_model":"m1-0613","llm_latency":28},
		"usage":{"prompt_tokens":25,"completion_tokens":12,"total_tokens":37,"cost":49,"time_per_token":2.3333333333333335}}}`)
	quiet := build(t, of("openai", "", ""))
	x = post(hello)
	quiet.OnRequest(x)
	quiet.OnLog(x)
	if len(x.LogFields()) > 0 || x.Model.Provider != "" {
		t.Error("statistics are told though nobody asked")
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		of("gemini", "", `,"auth":{"gcp_use_service_account":true}`):    "config.auth.gcp_use_service_account: service accounts are not supported yet",
		strings.Replace(of("gemini", "", ""), "chat", "completions", 1): "config.route_type: gemini has no llm/v1/completions",
		of("openai", "", `,"llm_format":"bedrock"`):                     "config.llm_format: bedrock is not supported yet",
		of("bedrock", "", ""): "config.model.provider: bedrock is not supported yet",
	} {
		c := &Config{}
		if err := protojson.Unmarshal([]byte(config), c); err != nil {
			t.Fatal(err)
		}
		if _, err := New(c, plugintest.NewHost()); err == nil || err.Error() != want {
			t.Errorf("New(%s) = %v, want %q", config, err, want)
		}
	}
}
