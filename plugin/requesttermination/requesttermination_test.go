package requesttermination

import (
	"encoding/json"
	"reflect"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func build(t testing.TB, c *Config) plugin.RequestFilter {
	t.Helper()
	f, err := New(c, plugintest.NewHost())
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return f.(plugin.RequestFilter)
}

const jsonType = "application/json; charset=utf-8"

// TestAnswers holds the answers of a live Kong 3.9.1 (transcripts 19 and 22) and the texts
// of statuses.
func TestAnswers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		config      *Config
		status      int
		contentType string
		body        string
	}{
		{"bare", &Config{}, 503, jsonType, `{"message":"Service unavailable"}`},
		{"message", &Config{StatusCode: proto.Int64(418), Message: proto.String("teapot")}, 418, jsonType, `{"message":"teapot"}`},
		{"message of default status", &Config{Message: proto.String("m1")}, 503, jsonType, `{"message":"m1"}`},
		{"json body", &Config{StatusCode: proto.Int64(200), Body: proto.String(`{"a":1}`), ContentType: proto.String(jsonType)}, 200, jsonType, `{"a":1}`},
		{"html body", &Config{StatusCode: proto.Int64(200), Body: proto.String("<b>x</b>"), ContentType: proto.String("text/html")}, 200, "text/html", "<b>x</b>"},
		{"body without type", &Config{StatusCode: proto.Int64(403), Body: proto.String("plain")}, 403, "", "plain"},
		{"status without text", &Config{StatusCode: proto.Int64(204)}, 204, "", ""},
		{"unauthorized", &Config{StatusCode: proto.Int64(401)}, 401, jsonType, `{"message":"Unauthorized"}`},
		{"not found", &Config{StatusCode: proto.Int64(404)}, 404, jsonType, `{"message":"Not found"}`},
		{"not allowed", &Config{StatusCode: proto.Int64(405)}, 405, jsonType, `{"message":"Method not allowed"}`},
		{"broken", &Config{StatusCode: proto.Int64(500)}, 500, jsonType, `{"message":"An unexpected error occurred"}`},
		{"bad gateway", &Config{StatusCode: proto.Int64(502)}, 502, jsonType, `{"message":"Bad Gateway"}`},
		{"quotes", &Config{Message: proto.String("a \"b\"\n")}, 503, jsonType, "{\"message\":\"a \\\"b\\\"\\u000a\"}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := build(t, tt.config).OnRequest(plugintest.Request{}.Exchange())
			contentType, body, raw := v.Raw()
			if v.Status() != tt.status || contentType != tt.contentType || body != tt.body || !raw {
				t.Errorf("got %d %q %q, want %d %q %q", v.Status(), contentType, body, tt.status, tt.contentType, tt.body)
			}
		})
	}
}

func TestTrigger(t *testing.T) {
	t.Parallel()
	tests := []struct {
		trigger string
		request plugintest.Request
		hit     bool
	}{
		{"trg", plugintest.Request{}, false},
		{"trg", plugintest.Request{Target: "/a?trg=1"}, true},
		{"trg", plugintest.Request{Target: "/a?trg"}, true},
		{"trg", plugintest.Request{Target: "/a?x=trg"}, false},
		{"trg", plugintest.Request{Target: "/a?TRG=1"}, false},
		{"trg", plugintest.Request{Lines: []string{"TRG: "}}, true},
		{"x_trig", plugintest.Request{Lines: []string{"X-Trig: 1"}}, true},
		{"x_trig", plugintest.Request{Lines: []string{"x_trig: 1"}}, true},
		{"x-trig", plugintest.Request{Lines: []string{"x_trig: 1"}}, false},
	}
	for _, tt := range tests {
		f := build(t, &Config{Trigger: proto.String(tt.trigger)})
		if v := f.OnRequest(tt.request.Exchange()); v.Done() != tt.hit {
			t.Errorf("trigger %q on %+v: answered = %v, want %v", tt.trigger, tt.request, v.Done(), tt.hit)
		}
	}
}

// TestEcho is the recorded answer "term echo trig" of transcript 19, less what differs from
// run to run.
func TestEcho(t *testing.T) {
	t.Parallel()
	f := build(t, &Config{Echo: proto.Bool(true), Trigger: proto.String("x-trig")})
	x := plugintest.Request{
		Method: "POST", Target: "/q4?z=1", Body: "hello",
		Lines: []string{"Host: gw.test", "X-Trig: 1", "User-Agent: curl/8.5.0", "Content-Length: 5"},
	}.Exchange()
	x.Route = &plugin.Route{JSON: []byte(`{"name":"r4","paths":["/q4"]}`)}
	x.Service = &plugin.Service{JSON: []byte(`{"name":"svc1"}`)}
	v := f.OnRequest(x)
	contentType, body, _ := v.Raw()
	if v.Status() != 503 || contentType != jsonType {
		t.Errorf("answer = %d %q", v.Status(), contentType)
	}
	got := decode(t, body)
	id := got["kong"].(map[string]any)
	if id["node_id"] != "node-1" || id["worker_pid"].(float64) <= 0 || id["hostname"] == "" {
		t.Errorf("kong = %v", id)
	}
	delete(got, "kong")
	want := decode(t, `{
		"message": "Service unavailable",
		"matched_route": {"name": "r4", "paths": ["/q4"]},
		"matched_service": {"name": "svc1"},
		"request": {"query": {"z": "1"}, "method": "POST", "uri_captures": {"unnamed": [], "named": {}},
			"path": "/q4", "port": 8080, "host": "gw.test", "raw_body": "hello",
			"headers": {"host": "gw.test", "x-trig": "1", "user-agent": "curl/8.5.0", "content-length": "5"},
			"scheme": "http"}}`)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("echo = %v\nwant   %v", got, want)
	}
}

func TestEchoShowsBodiesAndCaptures(t *testing.T) {
	t.Parallel()
	form := "--b\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\nv\r\n--b--\r\n"
	tests := []struct{ contentType, body, want string }{
		{"application/json", `{"a":[1,2.50]}`, `{"a":[1,2.5]}`},
		{"application/json; charset=utf-8", `{"a":`, `null`},
		{"application/x-www-form-urlencoded", "a=1&a=2&b&c=%41", `{"a":["1","2"],"b":true,"c":"A"}`},
		{"multipart/form-data; boundary=b", form, `{"f":"v"}`},
		{"text/plain", "x", `null`},
		{"", "x", `null`},
	}
	f := build(t, &Config{Echo: proto.Bool(true), StatusCode: proto.Int64(200)})
	for _, tt := range tests {
		x := plugintest.Request{Method: "POST", Body: tt.body, Lines: []string{"Content-Type: " + tt.contentType}}.Exchange()
		x.Captures = plugin.Captures{Names: []string{"", "id"}, Values: []string{"v1", "7"}}
		_, text, _ := f.OnRequest(x).Raw()
		got := decode(t, text)["request"].(map[string]any)
		var want any
		if err := json.Unmarshal([]byte(tt.want), &want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got["body"], want) {
			t.Errorf("body of %q = %v, want %v", tt.body, got["body"], want)
		}
		if c := got["uri_captures"]; !reflect.DeepEqual(c, map[string]any{"unnamed": []any{"v1", "7"}, "named": map[string]any{"id": "7"}}) {
			t.Errorf("captures = %v", c)
		}
	}
}

func decode(t *testing.T, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("decode %q: %v", text, err)
	}
	return m
}

func TestOnRequestDoesNotAllocate(t *testing.T) {
	miss := build(t, &Config{Trigger: proto.String("x-trig")})
	hit := build(t, &Config{})
	x := plugintest.Request{Target: "/a?b=1&c=2", Lines: []string{"Accept: */*"}}.Exchange()
	if n := testing.AllocsPerRun(100, func() { miss.OnRequest(x); hit.OnRequest(x) }); n != 0 {
		t.Errorf("OnRequest allocates %v times, want 0", n)
	}
}

func FuzzEcho(f *testing.F) {
	f.Add("/a?b=1&c", "application/json", `{"a":1}`)
	f.Add("/?%zz=&&", "multipart/form-data; boundary=", "--")
	f.Add("/", "application/x-www-form-urlencoded", "a=%ff&\xff")
	f.Fuzz(func(t *testing.T, target, contentType, body string) {
		g := build(t, &Config{Echo: proto.Bool(true)})
		x := plugintest.Request{Target: target, Body: body, Lines: []string{"Content-Type: " + contentType}}.Exchange()
		if _, text, ok := g.OnRequest(x).Raw(); !ok || !json.Valid([]byte(text)) {
			t.Errorf("answer to %q is not JSON: %q", body, text)
		}
	})
}
