package requesttransformer

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/payload"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func build(t testing.TB, config string) plugin.RequestFilter {
	t.Helper()
	c := &Config{}
	if err := protojson.Unmarshal([]byte(config), c); err != nil {
		t.Fatalf("config %s: %v", config, err)
	}
	f, err := New(c, plugintest.NewHost())
	if err != nil {
		t.Fatalf("New(%s): %v", config, err)
	}
	return f.(plugin.RequestFilter)
}

// sent is a request as the upstream would get it, as the vectors have it.
type sent struct {
	Headers map[string]any `json:"headers"`
	Method  string         `json:"method"`
	Query   map[string]any `json:"query"`
	Body    string         `json:"body,omitempty"`
}

func view(x *plugin.Exchange) sent {
	s := sent{Headers: map[string]any{}, Query: map[string]any{}, Method: x.Request.Method, Body: plugintest.Body(x)}
	if x.Upstream.Method != "" {
		s.Method = x.Upstream.Method
	}
	for _, f := range x.Request.Header.Fields() {
		gather(s.Headers, strings.ToLower(f.Name), f.Value)
	}
	s.Headers["host"] = x.Request.Host
	if x.Upstream.Host != "" {
		s.Headers["host"] = x.Upstream.Host
	}
	payload.ParseArgs(x.Upstream.Query).Texts(func(name, text string) bool {
		gather(s.Query, name, text)
		return true
	})
	return s
}

func gather(into map[string]any, name, value string) {
	switch old := into[name].(type) {
	case nil:
		into[name] = value
	case string:
		into[name] = []any{old, value}
	case []any:
		into[name] = append(old, value)
	}
}

func TestRecordedTransformations(t *testing.T) {
	t.Parallel()
	for _, v := range plugintest.Vectors(t, "request-transformer") {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			var in struct {
				Config  json.RawMessage
				Request struct {
					Headers map[string]string
					Method  string
					Query   map[string]string
					Body    string
				}
			}
			var want struct {
				sent
				Status int
			}
			plugintest.Decode(t, v.Input, &in)
			plugintest.Decode(t, v.Result, &want)
			r := plugintest.Request{Method: in.Request.Method, Body: in.Request.Body, Host: in.Request.Headers["host"]}
			for _, name := range slices.Sorted(maps.Keys(in.Request.Headers)) {
				if name != "host" {
					r.Lines = append(r.Lines, name+": "+in.Request.Headers[name])
				}
			}
			var args []string
			for _, name := range slices.Sorted(maps.Keys(in.Request.Query)) {
				args = append(args, name+"="+in.Request.Query[name])
			}
			r.Target = "/?" + strings.Join(args, "&")
			x := r.Exchange()
			verdict := build(t, string(in.Config)).OnRequest(x)
			if verdict.Status() != want.Status {
				t.Fatalf("OnRequest = %d, want %d", verdict.Status(), want.Status)
			}
			if want.Status != 0 {
				return
			}
			got := view(x)
			if n, ok := want.Headers["content-length"]; ok {
				// The length is the exchange's; the gate writes the line.
				got.Headers["content-length"] = strconv.FormatInt(x.Request.Length, 10)
				if n != got.Headers["content-length"] {
					t.Errorf("length = %v, want %v", got.Headers["content-length"], n)
				}
			}
			if !reflect.DeepEqual(got, want.sent) {
				t.Errorf("sent %+v, want %+v", got, want.sent)
			}
		})
	}
}

// TestRecordedOfALiveGateway holds requests as an upstream behind Kong 3.9.1 got them.
func TestRecordedOfALiveGateway(t *testing.T) {
	t.Parallel()
	const (
		form  = "Content-Type: application/x-www-form-urlencoded"
		query = "/q?q1=orig&qr=1&qo=2&qp=3&qa=4&a=b&a=c&e="
	)
	tests := []struct {
		name, config string
		request      plugintest.Request
		check        func(x *plugin.Exchange) (got, want string)
	}{
		{"added arguments are escaped", `{"add":{"querystring":["q1:v1","q2:v 2"]}}`, plugintest.Request{}, queryIs("q1=v1&q2=v%202")},
		{"removed arguments", `{"remove":{"querystring":["qr"]}}`, plugintest.Request{Target: query}, queryIs("q1=orig&qo=2&qp=3&qa=4&a=b&a=c&e=")},
		{"renamed arguments", `{"rename":{"querystring":["qo:qn"]}}`, plugintest.Request{Target: query}, queryIs("q1=orig&qr=1&qn=2&qp=3&qa=4&a=b&a=c&e=")},
		{"appended arguments", `{"append":{"querystring":["qa:more"]}}`, plugintest.Request{Target: query}, queryIs("q1=orig&qr=1&qo=2&qp=3&qa=4&qa=more&a=b&a=c&e=")},
		{"a renamed field of a form", `{"rename":{"body":["bo:bn"]}}`, plugintest.Request{Method: "POST", Body: "br=1&bo=2&z=%20y", Lines: []string{form}}, bodyIs("br=1&bn=2&z=%20y")},
		{"a number is replaced by a list", `{"append":{"body":["ba:more"]}}`, plugintest.Request{Method: "POST", Body: `{"ba":4,"bo":2}`, Lines: []string{"Content-Type: application/json"}}, bodyIs(`{"ba":["more"],"bo":2}`)},
		{"a dot in a name is a dot", `{"add":{"body":["n:1","o.p:2"]}}`, plugintest.Request{Method: "POST", Body: `{"b":1}`, Lines: []string{"Content-Type: application/json"}}, bodyIs(`{"b":1,"n":"1","o.p":"2"}`)},
		{"other types stay", `{"add":{"body":["n:1"]}}`, plugintest.Request{Method: "POST", Body: "plain", Lines: []string{"Content-Type: text/plain"}}, bodyIs("plain")},
		{"broken JSON stays", `{"add":{"body":["n:1"]}}`, plugintest.Request{Method: "POST", Body: "{bad", Lines: []string{"Content-Type: application/json"}}, bodyIs("{bad")},
		{"the path is replaced", `{"replace":{"uri":"/replaced"}}`, plugintest.Request{Target: "/q4/z?a=1"}, func(x *plugin.Exchange) (string, string) {
			return x.Upstream.Path + "?" + x.Upstream.Query, "/replaced?a=1"
		}},
		{"the method", `{"http_method":"PUT"}`, plugintest.Request{Method: "POST"}, func(x *plugin.Exchange) (string, string) { return x.Upstream.Method, "PUT" }},
		{"a form moves to the query of a GET", `{"http_method":"GET"}`, plugintest.Request{Method: "POST", Target: "/?a=1", Body: "a=2&b=%203", Lines: []string{form}}, queryIs("a=1&a=2&b=%203")},
		{"Host is not added, other headers are", `{"add":{"headers":["host:add.test","content-type:x/y"]}}`, plugintest.Request{}, func(x *plugin.Exchange) (string, string) {
			return x.Upstream.Host + x.Request.Header.Get("content-type"), "x/y"
		}},
		{"templates of the request", `{"add":{"headers":["x-ip:$(headers.host)","x-q:$(query_params.a)","x-p:$(uri_captures[1] or 'none')"]}}`, plugintest.Request{Target: query}, func(x *plugin.Exchange) (string, string) {
			h := &x.Request.Header
			return h.Get("x-ip") + " " + h.Get("x-q")[:9] + " " + h.Get("x-p"), "gw.test table: 0x none"
		}},
		{"nothing is an empty header", `{"add":{"headers":["x-consumer-id:$(headers['x-z'])"]}}`, plugintest.Request{}, func(x *plugin.Exchange) (string, string) {
			v, ok := x.Request.Header.Lookup("x-consumer-id")
			return v + strconv.FormatBool(ok), "true"
		}},
		{"a header spelt anew", `{"rename":{"headers":["x-old:X-OLD"]}}`, plugintest.Request{Lines: []string{"x-old: o"}}, func(x *plugin.Exchange) (string, string) {
			return x.Request.Header.Fields()[0].Name, "X-OLD"
		}},
		{"templates see the request as it came", `{"remove":{"headers":["x-a"]},"add":{"headers":["x-b:$(headers.x_a)"]}}`, plugintest.Request{Lines: []string{"x-a: 1"}}, func(x *plugin.Exchange) (string, string) {
			return x.Request.Header.Get("x-a") + x.Request.Header.Get("x-b"), "1"
		}},
		{"a client adds no line", `{"add":{"headers":["x-b:$(query_params.a)"]}}`, plugintest.Request{Target: "/?a=1%0d%0aevil:%201"}, func(x *plugin.Exchange) (string, string) {
			return x.Request.Header.Get("x-b"), "1  evil: 1"
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x := tt.request.Exchange()
			if v := build(t, tt.config).OnRequest(x); v.Done() {
				t.Fatalf("OnRequest = %d", v.Status())
			}
			if got, want := tt.check(x); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// TestKongsCorners holds what Kong 3.9.1's own code does where one would expect otherwise.
func TestKongsCorners(t *testing.T) {
	t.Parallel()
	const form, asJSON = "Content-Type: application/x-www-form-urlencoded", "Content-Type: application/json"
	post := func(body string, lines ...string) plugintest.Request {
		return plugintest.Request{Method: "POST", Body: body, Lines: lines}
	}
	header := func(name, want string) func(*plugin.Exchange) (string, string) {
		return func(x *plugin.Exchange) (string, string) {
			return strings.Join(slices.Collect(x.Request.Header.Values(name)), "|"), want
		}
	}
	const parts = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b--\r\n"
	tests := []struct {
		name, config string
		request      plugintest.Request
		check        func(x *plugin.Exchange) (got, want string)
	}{
		{"a header entry without a value changes nothing", `{"replace":{"headers":["x-a:"]},"add":{"headers":["x-n:"]},"append":{"headers":["x-a:"]}}`, plugintest.Request{Lines: []string{"x-a: 1"}}, header("x-a", "1")},
		{"colons before a value are not its own", `{"add":{"headers":["x-t::v:w"]}}`, plugintest.Request{}, header("x-t", "v:w")},
		{"what follows a name to remove is nothing", `{"remove":{"headers":["x-a:1"],"querystring":["q:1"]}}`, plugintest.Request{Target: "/?q=1", Lines: []string{"x-a: 1"}}, header("x-a", "")},
		{"a template that is not closed is text", `{"add":{"headers":["x-t:a $(b"]}}`, plugintest.Request{}, header("x-t", "a $(b")},
		{"type()", `{"add":{"headers":["x-t:$(type(headers['x-a']) == 'table' and headers['x-a'][1] .. '-first' or headers['x-a'])"]}}`, plugintest.Request{Lines: []string{"x-a: 1", "x-a: 2"}}, header("x-t", "1-first")},
		{"orders", `{"add":{"headers":["x-t:$(query_params.n + 0 > 3 and 'big' or 'small')"]}}`, plugintest.Request{Target: "/?n=4"}, header("x-t", "big")},
		{"templates of a body that is none do not count", `{"add":{"body":["x:$(none.y)"],"headers":["x-t:1"]}}`, plugintest.Request{}, header("x-t", "1")},
		{"false is added to", `{"add":{"body":["a:1"]}}`, post(`{"a":false}`, asJSON), bodyIs(`{"a":"1"}`)},
		{"false is not replaced or renamed", `{"replace":{"body":["a:1"]},"rename":{"body":["a:b"]}}`, post(`{"a":false}`, asJSON), bodyIs(`{"a":false}`)},
		{"null is a value", `{"replace":{"body":["a:1"]}}`, post(`{"a":null}`, asJSON), bodyIs(`{"a":"1"}`)},
		{"a flag has no value to keep", `{"append":{"body":["a:1"]}}`, post("a&b=2", form), bodyIs("a=1&b=2")},
		{"multipart is not appended to", `{"append":{"body":["a:2"]}}`, post(parts, "Content-Type: multipart/form-data; boundary=b"), bodyIs(parts)},
		{"a GET that becomes a POST gets a body", `{"http_method":"POST","add":{"body":["b:1"],"headers":["Content-Type:application/json"]}}`, plugintest.Request{}, bodyIs(`{"b":"1"}`)},
		{"a POST that becomes a GET keeps its body", `{"http_method":"GET","add":{"body":["b:1"]}}`, post("a=1", form), bodyIs("a=1&b=1")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x := tt.request.Exchange()
			if v := build(t, tt.config).OnRequest(x); v.Done() {
				t.Fatalf("OnRequest = %d", v.Status())
			}
			if got, want := tt.check(x); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestTemplatesThatFailAre500(t *testing.T) {
	t.Parallel()
	for _, config := range []string{
		`{"replace":{"uri":"no-slash"}}`,
		`{"replace":{"uri":"$(query_params.none)"}}`,
		`{"replace":{"uri":"/a/$(10 * uri_captures.none)"}}`,
		`{"add":{"headers":["x:$(foo(headers.a))"]}}`,
		`{"add":{"headers":["x:$(shared.written = true)"]}}`,
		`{"add":{"headers":["x:$(string.sub('abc', 1))"]}}`,
		`{"add":{"querystring":["x:$(require('inspect')('a'))"]}}`,
	} {
		x := plugintest.Request{}.Exchange()
		if v := build(t, config).OnRequest(x); v.Status() != 500 {
			t.Errorf("OnRequest(%s) = %d, want 500", config, v.Status())
		}
	}
}

func queryIs(want string) func(*plugin.Exchange) (string, string) {
	return func(x *plugin.Exchange) (string, string) { return x.Upstream.Query, want }
}

func bodyIs(want string) func(*plugin.Exchange) (string, string) {
	return func(x *plugin.Exchange) (string, string) { return plugintest.Body(x), want }
}

func TestCaptures(t *testing.T) {
	t.Parallel()
	x := plugintest.Request{}.Exchange()
	x.Captures = plugin.Captures{Whole: "/u1/v2", Names: []string{"user", "", "opt"}, Values: []string{"u1", "v2", ""}, Missing: 1 << 2}
	build(t, `{"replace":{"uri":"/$(uri_captures.user)/$(uri_captures[2])/$(uri_captures['none'] or 'n')$(shared.x)/$(uri_captures.opt or 'o')$(uri_captures[3])$(uri_captures[0])"}}`).OnRequest(x)
	if x.Upstream.Path != "/u1/v2/n/o/u1/v2" {
		t.Errorf("path = %q, want /u1/v2/n/o/u1/v2", x.Upstream.Path)
	}
	x.Captures = plugin.Captures{Whole: "/u1"}
	build(t, `{"replace":{"uri":"/$(uri_captures[0] or 'none')"}}`).OnRequest(x)
	if x.Upstream.Path != "/none" {
		t.Errorf("path without groups = %q, want /none", x.Upstream.Path)
	}
}

func TestNewSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		`{"add":{"headers":["x-a"]}}`:              "config.add.headers: invalid value: x-a",
		`{"add":{"headers":["x a:1"]}}`:            "'x a' is not a valid header",
		`{"add":{"body":["x:"]}}`:                  "key 'x' has no value",
		`{"remove":{"headers":["x y"]}}`:           "'x y' is not a valid header",
		`{"replace":{"querystring":["q:$(1 +)"]}}`: "config.replace.querystring[0]: value '$(1 +)' is not in supported format, error:",
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

func TestHeaderRulesWithoutTemplatesDoNotAllocate(t *testing.T) {
	f, err := New(&Config{Add: &Config_Add{Headers: []string{"X-Gateway:kong"}}, HttpMethod: proto.String("PUT")}, plugintest.NewHost())
	if err != nil {
		t.Fatal(err)
	}
	x := plugintest.Request{Lines: []string{"a: 1", "b: 2"}}.Exchange()
	n := testing.AllocsPerRun(100, func() {
		x.Request.Header.Del("X-Gateway")
		f.(plugin.RequestFilter).OnRequest(x)
	})
	if n != 0 {
		t.Errorf("OnRequest allocates %v times, want 0", n)
	}
}

func FuzzOnRequest(f *testing.F) {
	f.Add("x-a:$(headers.b)", "q:$(query_params.q)", "a=1&q=%zz", `{"a":1}`)
	f.Add("host:x", "a:b:c", "", "")
	f.Fuzz(func(t *testing.T, header, pair, query, body string) {
		c := &Config{
			Rename: &Config_Rename{Headers: []string{header}, Querystring: []string{pair}},
			Add:    &Config_Add{Headers: []string{header}, Body: []string{pair}, Querystring: []string{pair}},
			Append: &Config_Append{Body: []string{pair}},
		}
		built, err := New(c, plugintest.NewHost())
		if err != nil {
			return
		}
		x := plugintest.Request{Method: "POST", Target: "/?" + query, Body: body, Lines: []string{"Content-Type: application/json"}}.Exchange()
		built.(plugin.RequestFilter).OnRequest(x)
		if b := plugintest.Body(x); b != body && !json.Valid([]byte(b)) {
			t.Errorf("body %q became %q", body, b)
		}
	})
}
