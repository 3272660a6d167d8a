package aitokenlimiting

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/counting"
	"github.com/sekifuda/sekifuda/plugin/llm"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func build(t testing.TB, config string, h plugin.Host) *filter {
	t.Helper()
	c := &Config{}
	if err := protojson.Unmarshal([]byte(config), c); err != nil {
		t.Fatalf("config %s: %v", config, err)
	}
	f, err := New(c, h)
	if err != nil {
		t.Fatalf("New(%s): %v", config, err)
	}
	return f.(*filter)
}

const client = "192.0.2.1"

func used(h *plugintest.Host, resource, who string) int64 {
	return h.Counters.Used("ai_tokens:"+counting.Nobody+":"+counting.Nobody+":"+resource, who, plugin.Minute)
}

func post(body string, lines ...string) *plugin.Exchange {
	return plugintest.Request{Method: "POST", Target: "/v1/chat/completions", Body: body, Lines: lines}.Exchange()
}

// answer is what an upstream says. One that is cut ends before its last piece.
type answer struct {
	status int
	kind   string
	body   string
	size   int // of pieces; 0: the length is told and it comes whole
	cut    bool
	lines  []string
}

// serve has f see the answer, and the log phase, and returns what the client got.
func serve(x *plugin.Exchange, f *filter, a answer) string {
	x.Response.Length = -1
	if a.size == 0 {
		x.Response.Length = int64(len(a.body))
	}
	if a.status == 0 {
		a.status = 200
	}
	plugintest.Answer(x, f, plugin.Next, a.status, append(a.lines, "Content-Type: "+a.kind)...)
	got := pass(x, a)
	plugintest.Timed(x, time.Unix(1700000000, 0))
	f.OnLog(x)
	return got
}

func pass(x *plugin.Exchange, a answer) string {
	if len(x.Response.Rewrites()) > 0 {
		body := []byte(a.body)
		for _, edit := range x.Response.Rewrites() {
			body = edit(body)
		}
		return string(body)
	}
	var got strings.Builder
	size := max(1, a.size)
	for at := 0; at < len(a.body); at += size {
		piece := []byte(a.body[at:min(len(a.body), at+size)])
		last := at+size >= len(a.body) && !a.cut
		for _, edit := range x.Response.Edits() {
			piece = edit(piece, last)
		}
		got.Write(piece)
	}
	return got.String()
}

// ask has 40 letters in two words: 10 tokens and 4 for the message.
const ask = `{"model":"m","messages":[{"role":"user","content":"0123456789012345678 01234567890123456789"}],"max_tokens":50}`

const openAI = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"one two three \"}}]}\n\n" +
	"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"four five \"}}]}\n\n"

const openAIUse = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":5,\"total_tokens\":13}}\n\n"

const openAIEnd = "data: [DONE]\n\n"

const streamed = `{"model":"m","stream":true,"messages":[{"role":"user","content":"01234567890123456789"}],"max_tokens":50}`

// estimated is what a test's request is taken for: a role's 1 of 4 letters, the text and the message.
const estimated = 15

// TestUseIsSettled holds what is charged in the end against what answers of many forms tell.
func TestUseIsSettled(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, body string
		a          answer
		want       llm.Usage
	}{
		{"openai", ask, answer{kind: "application/json", body: `{"choices":[{"message":{"content":"x"}}],"usage":{"prompt_tokens":12,"completion_tokens":7}}`}, llm.Usage{Prompt: 12, Completion: 7}},
		{"openai without a length", ask, answer{kind: "application/json; charset=utf-8", size: 9, body: `{"usage":{"prompt_tokens":12,"completion_tokens":7}}`}, llm.Usage{Prompt: 12, Completion: 7}},
		{"embeddings", `{"model":"e","input":["ab","cd"]}`, answer{kind: "application/json", body: `{"data":[],"usage":{"prompt_tokens":2,"total_tokens":2}}`}, llm.Usage{Prompt: 2}},
		{"anthropic", ask, answer{kind: "application/json", body: `{"content":[{"type":"text","text":"x"}],"usage":{"input_tokens":3,"output_tokens":4}}`}, llm.Usage{Prompt: 3, Completion: 4}},
		{"ollama", ask, answer{kind: "application/json", body: `{"message":{"content":"x"},"done":true,"prompt_eval_count":9,"eval_count":2}`}, llm.Usage{Prompt: 9, Completion: 2}},
		{"gemini", ask, answer{kind: "application/json", body: `{"candidates":[],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":4}}`}, llm.Usage{Prompt: 3, Completion: 4}},
		{"no use is told", ask, answer{kind: "application/json", body: `{"choices":[{"message":{"role":"assistant","content":"eight letters ok"}}]}`}, llm.Usage{Prompt: estimated, Completion: 4}},
		{"more than reserved", ask, answer{kind: "application/json", body: `{"usage":{"prompt_tokens":100,"completion_tokens":70}}`}, llm.Usage{Prompt: 100, Completion: 70}},
		{"negative and huge", ask, answer{kind: "application/json", body: `{"usage":{"prompt_tokens":-5,"completion_tokens":1e300}}`}, llm.Usage{Prompt: estimated, Completion: most}},
		{"stream", streamed, answer{kind: "text/event-stream", size: 11, body: openAI + openAIUse + openAIEnd}, llm.Usage{Prompt: 8, Completion: 5}},
		{"stream that tells nothing", streamed, answer{kind: "text/event-stream", size: 11, body: openAI + openAIEnd}, llm.Usage{Prompt: estimated - 5, Completion: 6}},
		{"client gone", streamed, answer{kind: "text/event-stream", size: len(openAI), body: openAI + openAIUse, cut: true}, llm.Usage{Prompt: 8, Completion: 6}},
		{"client gone at once", streamed, answer{kind: "text/event-stream", size: 1, body: "data: {", cut: true}, llm.Usage{Prompt: estimated - 5}},
		{"ollama stream", ask, answer{kind: "application/x-ndjson", size: 5, body: "{\"message\":{\"content\":\"one two \"},\"done\":false}\n{\"done\":true,\"prompt_eval_count\":3,\"eval_count\":4}"}, llm.Usage{Prompt: 3, Completion: 4}},
		{"ollama, client gone", ask, answer{kind: "application/x-ndjson", size: 5, cut: true, body: "{\"message\":{\"content\":\"one two \"},\"done\":false}\n{\"done\":true"}, llm.Usage{Prompt: estimated, Completion: 2}},
		{"anthropic stream", ask, answer{kind: "text/event-stream", size: 6, body: "event: message_start\ndata: {\"message\":{\"usage\":{\"input_tokens\":8,\"output_tokens\":1}}}\n\n" +
			"event: content_block_delta\ndata: {\"delta\":{\"text\":\"one\"}}\n\nevent: message_delta\ndata: {\"delta\":{},\"usage\":{\"output_tokens\":3}}\n\n"}, llm.Usage{Prompt: 8, Completion: 3}},
		{"responses stream", ask, answer{kind: "text/event-stream", size: 6, body: "data: {\"type\":\"response.output_text.delta\",\"delta\":\"one\"}\n\ndata: {\"response\":{\"usage\":{\"input_tokens\":2,\"output_tokens\":9}}}\n\n"}, llm.Usage{Prompt: 2, Completion: 9}},
		{"error", ask, answer{status: 500, kind: "application/json", body: `{"usage":{"prompt_tokens":12,"completion_tokens":7}}`}, llm.Usage{}},
		{"packed", ask, answer{kind: "application/json", body: "\x1f\x8b", lines: []string{"Content-Encoding: gzip"}}, llm.Usage{Prompt: estimated, Completion: 50}},
		{"no JSON", ask, answer{kind: "application/json", body: "oops"}, llm.Usage{Prompt: estimated, Completion: 50}},
		{"another type", ask, answer{kind: "text/html", body: "<html>"}, llm.Usage{Prompt: estimated, Completion: 50}},
		{"a line without an end", streamed, answer{kind: "text/event-stream", size: 1 << 16, body: "data: {" + strings.Repeat("x", 3*maxLine)}, llm.Usage{Prompt: estimated - 5}},
	} {
		h := plugintest.NewHost()
		f := build(t, `{"total":{"minute":100000},"prompt":{"minute":100000},"completion":{"minute":100000},"cost":{"minute":1000000},"input_cost":3,"output_cost":10}`, h)
		x := post(tt.body)
		if v := f.OnRequest(x); v.Done() {
			t.Fatalf("%s: OnRequest = %d", tt.name, v.Status())
		}
		serve(x, f, tt.a)
		for resource, want := range map[string]int64{
			"prompt": tt.want.Prompt, "completion": tt.want.Completion, "total": tt.want.Prompt + tt.want.Completion,
			"cost": 3*tt.want.Prompt + 10*tt.want.Completion,
		} {
			if got := used(h, resource, client); got != want {
				t.Errorf("%s: %s = %d, want %d", tt.name, resource, got, want)
			}
		}
	}
}

func TestReservationsStopWhatWouldPassTheLimit(t *testing.T) {
	t.Parallel()
	h := plugintest.NewHost()
	f := build(t, `{"total":{"minute":100,"hour":1000}}`, h)
	first := post(ask)
	if v := f.OnRequest(first); v.Done() {
		t.Fatalf("the first is refused: %d", v.Status())
	}
	second := post(ask)
	v := f.OnRequest(second)
	if v.Status() != 429 || v.Message() != defaultMessage || v.Reason() != "over-total-minute" {
		t.Errorf("65 of 100 are reserved: OnRequest = %d %q %q", v.Status(), v.Message(), v.Reason())
	}
	want := map[string]string{
		"X-AI-RateLimit-Limit-Total-Minute": "100", "X-AI-RateLimit-Remaining-Total-Minute": "35",
		"X-AI-RateLimit-Limit-Total-Hour": "1000", "X-AI-RateLimit-Remaining-Total-Hour": "935", "Retry-After": "40",
	}
	for name, value := range want {
		if got := second.Early.Get(name); got != value {
			t.Errorf("%s = %q, want %q", name, got, value)
		}
	}
	serve(first, f, answer{kind: "application/json", body: `{"usage":{"prompt_tokens":12,"completion_tokens":7}}`})
	if got := first.Response.Header.Get("X-AI-RateLimit-Remaining-Total-Minute"); got != "81" {
		t.Errorf("after 19 of 100: remaining = %q", got)
	}
	if v := f.OnRequest(post(ask)); v.Done() {
		t.Errorf("19 of 100 are used: OnRequest = %d", v.Status())
	}
}

func TestARefusalGivesBackWhatOtherLimitsReserved(t *testing.T) {
	t.Parallel()
	h := plugintest.NewHost()
	f := build(t, `{"total":{"minute":1000},"completion":{"minute":60}}`, h)
	f.OnRequest(post(ask))
	if v := f.OnRequest(post(ask)); v.Reason() != "over-completion-minute" {
		t.Fatalf("reason = %q", v.Reason())
	}
	if got := used(h, "total", client); got != estimated+50 {
		t.Errorf("total = %d, want one request's %d", got, estimated+50)
	}
}

func TestWhatIsReserved(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, config, body string
		want               int64
	}{
		{"max_tokens", "", ask, 50},
		{"max_completion_tokens", "", `{"max_completion_tokens":20}`, 20},
		{"num_predict", "", `{"options":{"num_predict":30}}`, 30},
		{"none", "", `{}`, 1024},
		{"none, configured", `,"default_max_tokens":"7"`, `{}`, 7},
		{"choices", "", `{"max_tokens":50,"n":3}`, 150},
		{"no number", "", `{"max_tokens":"50"}`, 1024},
		{"negative", "", `{"max_tokens":-1}`, 1024},
		{"nothing", `,"reserve":"nothing"`, ask, 1},
		{"no JSON", "", `max_tokens`, 1024},
	} {
		h := plugintest.NewHost()
		f := build(t, `{"completion":{"minute":100000}`+tt.config+`}`, h)
		if v := f.OnRequest(post(tt.body)); v.Done() {
			t.Errorf("%s: refused with %d", tt.name, v.Status())
		}
		if got := used(h, "completion", client); got != tt.want {
			t.Errorf("%s: %d reserved, want %d", tt.name, got, tt.want)
		}
	}
}

func TestMoreThanTheLimitIsSaid(t *testing.T) {
	t.Parallel()
	f := build(t, `{"completion":{"minute":100,"hour":200}}`, plugintest.NewHost())
	for _, n := range []string{"101", "1e300", "9223372036854775807"} {
		x := post(`{"max_tokens":` + n + `,"n":1000000}`)
		v := f.OnRequest(x)
		if v.Status() != 429 || v.Reason() != "more-than-limit" || !strings.Contains(v.Message(), "more than is allowed in a minute: 100") {
			t.Errorf("max_tokens %s: OnRequest = %d %q %q", n, v.Status(), v.Reason(), v.Message())
		}
		if x.Early.Get("Retry-After") != "" {
			t.Error("Retry-After for what never passes")
		}
	}
}

func TestTheUsualIsLearned(t *testing.T) {
	t.Parallel()
	h := plugintest.NewHost()
	f := build(t, `{"completion":{"minute":100000000},"reserve":"usual"}`, h)
	reserved := func(body string) int64 {
		before := used(h, "completion", client)
		x := post(body)
		f.OnRequest(x)
		got := used(h, "completion", client) - before
		serve(x, f, answer{kind: "application/json", body: `{"usage":{"prompt_tokens":1,"completion_tokens":30}}`})
		return got
	}
	if got := reserved(ask); got != 50 {
		t.Errorf("before anything is known: %d, want 50", got)
	}
	for range 50 {
		reserved(ask)
	}
	if got := reserved(ask); got < 28 || got > 33 {
		t.Errorf("after answers of 30: %d", got)
	}
	if got := reserved(strings.Replace(ask, `"m"`, `"other"`, 1)); got != 50 {
		t.Errorf("another model: %d, want 50", got)
	}
	if got := reserved(strings.Replace(ask, `50}`, `5}`, 1)); got != 5 {
		t.Errorf("a lower bound of the request: %d, want 5", got)
	}
}

func TestModelsAreCountedApart(t *testing.T) {
	t.Parallel()
	h := plugintest.NewHost()
	f := build(t, `{"total":{"minute":1000},"by_model":true,"limit_by":"header","header_name":"X-Team"}`, h)
	f.OnRequest(post(ask, "X-Team: a"))
	f.OnRequest(post(strings.Replace(ask, `"m"`, `"n"`, 1), "X-Team: a"))
	for _, who := range []string{"a m", "a n"} {
		if got := used(h, "total", who); got != estimated+50 {
			t.Errorf("%q = %d", who, got)
		}
	}
}

// TestUsageIsAskedFor sees that what a client did not ask for does not reach it.
func TestUsageIsAskedFor(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		body, config string
		asked        bool
		got          string
	}{
		{streamed, "", true, openAI + openAIEnd},
		{strings.Replace(streamed, `"stream":true`, `"stream":true,"stream_options":{"include_usage":true}`, 1), "", true, openAI + openAIUse + openAIEnd},
		{strings.Replace(streamed, `"stream":true`, `"stream":true,"stream_options":{"include_usage":false}`, 1), "", false, openAI + openAIUse + openAIEnd},
		{streamed, `,"ask_usage":false`, false, openAI + openAIUse + openAIEnd},
		{ask, "", false, openAI + openAIUse + openAIEnd},
	} {
		for _, size := range []int{1, 7, 1 << 20} {
			f := build(t, `{"total":{"minute":1000}`+tt.config+`}`, plugintest.NewHost())
			x := post(tt.body, "Accept-Encoding: gzip")
			f.OnRequest(x)
			if sent := strings.Contains(plugintest.Body(x), `"include_usage":true`); sent != tt.asked {
				t.Errorf("%s: sent %s", tt.body, plugintest.Body(x))
			}
			if x.Request.Header.Get("Accept-Encoding") != "" {
				t.Error("a packed answer is asked for")
			}
			if got := serve(x, f, answer{kind: "text/event-stream", size: size, body: openAI + openAIUse + openAIEnd}); got != tt.got {
				t.Errorf("%s in pieces of %d: the client gets %q, want %q", tt.body, size, got, tt.got)
			}
		}
	}
}

// TestWhatAnotherPluginReadsIsBelieved has a plugin like ai-proxy report.
func TestWhatAnotherPluginReadsIsBelieved(t *testing.T) {
	t.Parallel()
	for _, final := range []bool{true, false} {
		h := plugintest.NewHost()
		f := build(t, `{"total":{"minute":1000}}`, h)
		x := post(ask)
		f.OnRequest(x)
		llm.Meter(x)
		plugintest.Answer(x, f, plugin.Next, 200, "Content-Type: application/json")
		if len(x.Response.Rewrites())+len(x.Response.Edits()) > 0 {
			t.Error("the answer is read twice")
		}
		llm.Report(x, llm.Usage{Prompt: 3, Completion: 4}, final)
		if left := x.Response.Header.Get("X-AI-RateLimit-Remaining-Total-Minute"); final && left != "993" {
			t.Errorf("remaining = %q, want 993", left)
		}
		plugintest.Timed(x, time.Unix(1700000000, 0))
		f.OnLog(x)
		if got := used(h, "total", client); got != 7 {
			t.Errorf("final %v: total = %d, want 7", final, got)
		}
	}
}

// TestAnAnswerThatAnotherHasWholeIsSettledAsReserved has a plugin rewrite what would be read in
// pieces, which pieces do not come of then.
func TestAnAnswerThatAnotherHasWholeIsSettledAsReserved(t *testing.T) {
	t.Parallel()
	h := plugintest.NewHost()
	f := build(t, `{"total":{"minute":1000}}`, h)
	x := post(ask)
	f.OnRequest(x)
	x.Response.Length = -1
	plugintest.Answer(x, f, plugin.Next, 200, "Content-Type: application/json")
	x.Response.Rewrite(func(body []byte) []byte { return body })
	plugintest.Timed(x, time.Unix(1700000000, 0))
	f.OnLog(x)
	if got := used(h, "total", client); got != estimated+50 {
		t.Errorf("total = %d, want the %d that were reserved", got, estimated+50)
	}
}

func TestAGateThatAnswersUsesNothing(t *testing.T) {
	t.Parallel()
	h := plugintest.NewHost()
	f := build(t, `{"total":{"minute":1000}}`, h)
	x := post(ask)
	f.OnRequest(x)
	plugintest.Answer(x, f, plugin.Deny(503, ""), 0)
	if got := used(h, "total", client); got != 0 {
		t.Errorf("total = %d before the log phase, want 0", got)
	}
	if got := x.Response.Header.Get("X-AI-RateLimit-Remaining-Total-Minute"); got != "1000" {
		t.Errorf("remaining = %q, want 1000", got)
	}
	f.OnLog(x)
	if x := (plugintest.Request{Method: "GET"}).Exchange(); f.OnRequest(x).Done() || used(h, "total", client) != 0 || x.Early.Len() != 0 {
		t.Error("a request without a body is counted")
	}
}

func TestOutages(t *testing.T) {
	t.Parallel()
	for outage, want := range map[string]int{"open": 0, "closed": 500} {
		h := plugintest.NewHost()
		f := build(t, `{"total":{"minute":1000},"outage":"`+outage+`"}`, h)
		h.Counters.Fail(errors.New("away"))
		x := post(ask)
		v := f.OnRequest(x)
		if v.Status() != want || x.Early.Len() != 0 {
			t.Errorf("%s: OnRequest = %d with %v", outage, v.Status(), x.Early.Fields())
		}
		if want == 0 {
			serve(x, f, answer{kind: "application/json", body: "{}"})
		}
	}
}

func TestHiddenAndToldModes(t *testing.T) {
	t.Parallel()
	f := build(t, `{"total":{"minute":1},"hide_client_headers":true,"tell_mode":true,"error_code":"402","error_message":"pay"}`, plugintest.NewHost())
	x := post(`{"max_tokens":1}`, "Sekifuda-Debug: limits")
	if v := f.OnRequest(x); v.Done() || x.Early.Len() != 1 || x.Early.Get("Sekifuda-Limit-Mode") != "local" {
		t.Errorf("OnRequest = %d with %v", v.Status(), x.Early.Fields())
	}
	x = post(`{"max_tokens":1}`)
	if v := f.OnRequest(x); v.Status() != 402 || v.Message() != "pay" || x.Early.Len() != 0 {
		t.Errorf("OnRequest = %d %q with %v", v.Status(), v.Message(), x.Early.Fields())
	}
}

func TestCostsAreShownAsConfigured(t *testing.T) {
	t.Parallel()
	f := build(t, `{"cost":{"minute":0.5},"input_cost":2.5,"output_cost":10}`, plugintest.NewHost())
	x := post(ask)
	f.OnRequest(x)
	if got := x.Early.Get("X-AI-RateLimit-Limit-Cost-Minute"); got != "0.5" {
		t.Errorf("limit = %q", got)
	}
	// 15 tokens for 2.5 and 50 for 10 are 537.5 millionths; parts of one count as one.
	if got := x.Early.Get("X-AI-RateLimit-Remaining-Cost-Minute"); got != "0.499462" {
		t.Errorf("remaining = %q", got)
	}
}

func TestLogsAndMetricsTellTheUse(t *testing.T) {
	t.Parallel()
	f := build(t, `{"total":{"minute":1000},"cost":{"minute":9},"input_cost":1000,"output_cost":1000}`, plugintest.NewHost())
	x := post(ask)
	x.Service = &plugin.Service{ID: "s", Name: "models"}
	f.OnRequest(x)
	serve(x, f, answer{kind: "application/json", body: `{"usage":{"prompt_tokens":12,"completion_tokens":7}}`})
	if m := x.Model; m.Provider != "models" || m.Name != "m" || m.PromptTokens != 12 || m.CompletionTokens != 7 || m.Cost != 0.019 {
		t.Errorf("Model = %+v", m)
	}
	const want = `{"token_limiting":{"usage":{"completion_tokens":7,"prompt_tokens":12,"reserved_completion_tokens":50,"reserved_prompt_tokens":15}}}`
	if got := string(x.LogFields()[0].JSON); got != want {
		t.Errorf("log = %s, want %s", got, want)
	}
}

func TestNewRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		`{}`:                        "at least one of these fields must be non-empty",
		`{"total":{}}`:              "config.total: at least one of",
		`{"total":{"minute":0}}`:    "config.total.minute: value must be greater than 0",
		`{"cost":{"minute":1}}`:     "config.input_cost: required field missing",
		`{"total":{"minute":1e17}}`: "at most 2^53",
		`{"total":{"minute":5},"limit_by":"header"}`: "config.header_name: required field missing",
		`{"total":{"minute":5},"policy":"moon"}`:     "config.policy",
		`{"total":{"minute":5},"outage":"moon"}`:     "config.outage",
	} {
		c := &Config{}
		if err := protojson.Unmarshal([]byte(config), c); err != nil {
			t.Fatal(err)
		}
		if _, err := New(c, plugintest.NewHost()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New(%s) = %v, want %q", config, err, want)
		}
	}
}

// TestLargeBodiesAreReservedByLength has bodies above what is read.
func TestLargeBodiesAreReservedByLength(t *testing.T) {
	t.Parallel()
	for _, unknown := range []bool{false, true} {
		h := plugintest.NewHost()
		f := build(t, `{"prompt":{"minute":1000000},"max_request_body_size":"1000"}`, h)
		x := plugintest.Request{Method: "POST", Body: `{"messages":"` + strings.Repeat("x", 8000) + `"}`, Unknown: unknown}.Exchange()
		f.OnRequest(x)
		want := x.Request.Length / 4
		if unknown {
			want = 250
		}
		if got := used(h, "prompt", client); got != want {
			t.Errorf("unknown %v: %s reserved, want %d", unknown, strconv.FormatInt(got, 10), want)
		}
	}
}
