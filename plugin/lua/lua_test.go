package lua

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/payload"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

type sources map[Phase][]string

func (s sources) GetCertificate() []string  { return s["certificate"] }
func (s sources) GetRewrite() []string      { return s[Rewrite] }
func (s sources) GetAccess() []string       { return s[Access] }
func (s sources) GetHeaderFilter() []string { return s[HeaderFilter] }
func (s sources) GetBodyFilter() []string   { return s[BodyFilter] }
func (s sources) GetLog() []string          { return s[Log] }

func build(t testing.TB, s sources) (*filter, *plugintest.Host) {
	t.Helper()
	h := plugintest.NewHost()
	f, err := NewFilter("pre-function", s, h)
	if err != nil {
		t.Fatalf("NewFilter: %v", err)
	}
	return f.(*filter), h
}

// asked is the request that functions see.
func asked() *plugin.Exchange {
	x := plugintest.Request{
		Method: "POST", Target: "/a/b?x=1&x=2&flag", Host: "Gw.test:8443", Body: `{"n":1,"o":{"p":[1,2]}}`,
		Lines: []string{"Content-Type: application/json", "X-One: 1", "X-Two: a", "X-Two: b", "Cookie: c=v; d=w"},
	}.Exchange()
	x.Consumer = &plugin.Consumer{ID: "c-1", Username: "bob"}
	x.Credential = &plugin.Credential{ID: "k-1", Consumer: x.Consumer}
	x.Route = &plugin.Route{ID: "r-1", JSON: []byte(`{"id":"r-1","name":"route","paths":["/a"]}`)}
	x.Service = &plugin.Service{ID: "s-1", Name: "svc"}
	x.Captures = plugin.Captures{Names: []string{"v", ""}, Values: []string{"12", "z"}}
	x.Times.Start = time.Unix(1000, 0)
	return x
}

// TestReading holds each word that reads against its value.
func TestReading(t *testing.T) {
	t.Parallel()
	for expression, want := range map[string]string{
		`kong.request.get_method()`:                                `"POST"`,
		`kong.request.get_scheme()`:                                `"http"`,
		`kong.request.get_host()`:                                  `"Gw.test"`,
		`kong.request.get_port()`:                                  `8080`,
		`kong.request.get_path()`:                                  `"/a/b"`,
		`kong.request.get_path_with_query()`:                       `"/a/b?x=1\u0026x=2\u0026flag"`,
		`kong.request.get_raw_query()`:                             `"x=1\u0026x=2\u0026flag"`,
		`kong.request.get_query()`:                                 `{"flag":true,"x":["1","2"]}`,
		`kong.request.get_query_arg("x")`:                          `"1"`,
		`kong.request.get_query_arg("none")`:                       `null`,
		`kong.request.get_header("x_one")`:                         `"1"`,
		`kong.request.get_header("none")`:                          `null`,
		`kong.request.get_headers()["x-two"]`:                      `["a","b"]`,
		`kong.request.get_headers().X_One`:                         `"1"`,
		`kong.request.get_raw_body()`:                              `"{\"n\":1,\"o\":{\"p\":[1,2]}}"`,
		`kong.request.get_body().o.p[2]`:                           `2`,
		`kong.request.get_http_version()`:                          `1.1`,
		`kong.request.get_forwarded_scheme()`:                      `"http"`,
		`kong.request.get_uri_captures()`:                          `{"named":{"v":"12"},"unnamed":["12","z"]}`,
		`kong.request.get_start_time()`:                            `1000000`,
		`kong.client.get_ip()`:                                     `"192.0.2.1"`,
		`kong.client.get_consumer().username`:                      `"bob"`,
		`kong.client.get_credential()`:                             `{"consumer_id":"c-1","id":"k-1"}`,
		`kong.router.get_route().paths[1]`:                         `"/a"`,
		`kong.router.get_service().name`:                           `"svc"`,
		`kong.node.get_id()`:                                       `"node-1"`,
		`kong.version`:                                             `"3.9.1"`,
		`kong.table.merge({a=1,b=2},{b=3})`:                        `{"a":1,"b":3}`,
		`ngx.var.host`:                                             `"gw.test"`,
		`ngx.var.request_uri`:                                      `"/a/b?x=1\u0026x=2\u0026flag"`,
		`ngx.var.http_x_one`:                                       `"1"`,
		`ngx.var.arg_x`:                                            `"1"`,
		`ngx.var.cookie_d`:                                         `"w"`,
		`ngx.var.remote_addr`:                                      `"192.0.2.1"`,
		`ngx.req.get_uri_args().flag`:                              `true`,
		`ngx.req.get_headers()["X-One"]`:                           `"1"`,
		`ngx.md5("a")`:                                             `"0cc175b9c0f1b6a831c399e269772661"`,
		`ngx.encode_base64("a")`:                                   `"YQ=="`,
		`ngx.decode_base64("YQ==")`:                                `"a"`,
		`ngx.decode_base64("!")`:                                   `null`,
		`ngx.escape_uri("a b&c")`:                                  `"a%20b%26c"`,
		`ngx.unescape_uri("a%20b")`:                                `"a b"`,
		`ngx.encode_args({b=true,a={"1","2"}})`:                    `"a=1\u0026a=2\u0026b"`,
		`ngx.re.match("ab12", "(?P<w>[a-z]+)(\\d+)", "jo")[2]`:     `"12"`,
		`ngx.re.match("ab12", "(?P<w>[a-z]+)(\\d+)").w`:            `"ab"`,
		`({ngx.re.find("ab12", "\\d+")})[1]`:                       `3`,
		`(ngx.re.gsub("a1b2", "[a-z](\\d)", "<$1>"))`:              `"\u003c1\u003e\u003c2\u003e"`,
		`(ngx.re.sub("AB", "b", "[$0$$]", "i"))`:                   `"A[B$]"`,
		`ngx.HTTP_FORBIDDEN`:                                       `403`,
		`ngx.get_phase()`:                                          `"access"`,
		`require("cjson").encode({a={1,2},b="x"})`:                 `"{\"a\":[1,2],\"b\":\"x\"}"`,
		`require("cjson.safe").decode('{"a":null}').a == ngx.null`: `true`,
		`select(2, require("cjson.safe").decode("{")) ~= nil`:      `true`,
		`string.format("%05.1f", 3.14159)`:                         `"003.1"`,
		`("x"):rep(3)`:                                             `"xxx"`,
		`os.time() > 0`:                                            `true`,
	} {
		f, _ := build(t, sources{Access: {`kong.ctx.shared.out = {` + expression + `}`}})
		x := asked()
		if v := f.OnRequest(x); v.Done() {
			t.Errorf("%s: %d", expression, v.Status())
			continue
		}
		all, _ := x.Value(shared).(payload.Values)
		var got any
		if list, ok := all["out"].([]any); ok {
			got = list[0]
		}
		raw, err := encode(got)
		if err != nil || string(raw) != want {
			t.Errorf("%s = %s, %v, want %s", expression, raw, err, want)
		}
	}
}

func TestChangesOfTheRequest(t *testing.T) {
	t.Parallel()
	f, _ := build(t, sources{Access: {`
		local req = kong.service.request
		req.set_method("put")
		req.set_path("/new%20path")
		req.set_query({b = "2 3", a = true})
		req.set_scheme("https")
		req.set_header("X-New", "n")
		req.set_headers({["X-List"] = {"1", "2"}, Host = "up.test"})
		req.add_header("X-One", "2")
		req.clear_header("X-Two")
		req.set_body({k = "v"}, "application/json")
		kong.service.set_target("10.0.0.1", 8081)
	`}})
	x := asked()
	if v := f.OnRequest(x); v.Done() {
		t.Fatalf("OnRequest = %d", v.Status())
	}
	u, h := &x.Upstream, &x.Request.Header
	if u.Method != "PUT" || u.Path != "/new%20path" || u.Query != "a&b=2%203" || u.Scheme != "https" || u.Host != "up.test" || u.Authority != "10.0.0.1:8081" {
		t.Errorf("upstream = %+v", u)
	}
	if h.Get("X-New") != "n" || h.Count("X-List") != 2 || h.Count("X-One") != 2 || h.Count("X-Two") != 0 || plugintest.Body(x) != `{"k":"v"}` {
		t.Errorf("request = %v, %s", h.Fields(), plugintest.Body(x))
	}
	f, _ = build(t, sources{Access: {`ngx.req.set_header("A", 1) ngx.var.args = "q=1" ngx.req.set_body_data("b") ngx.var.upstream_uri = "/u"`}})
	x = asked()
	if v := f.OnRequest(x); v.Done() || x.Upstream.Query != "q=1" || x.Upstream.Path != "/u" || x.Request.Header.Get("A") != "1" || plugintest.Body(x) != "b" {
		t.Errorf("by ngx: %d, %+v", v.Status(), x.Upstream)
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, source string
		status       int
		kind, body   string
		raw          bool
	}{
		{"table", `return kong.response.exit(403, {message = "no", n = 1}, {["X-A"] = "b"})`, 403, "application/json; charset=utf-8", `{"message":"no","n":1}`, true},
		{"text", `kong.response.exit(200, "hi", {["Content-Type"] = "text/x", ["x-a"] = "b"})`, 200, "text/x", "hi", true},
		{"no body", `kong.response.set_header("X-A", "b") kong.response.exit(204)`, 204, "", "", true},
		{"error", `kong.response.error(401, "who?", {["X-A"] = "b"})`, 401, "", "who?", false},
		{"say", `ngx.header.x_a = "b" ngx.status = 201 ngx.say("a", 1, {"b", "c"}) ngx.print("d") ngx.exit(ngx.status)`, 201, "text/plain", "a1bc\nd", true},
		{"say alone", `ngx.header["X-A"] = "b" ngx.say("a")`, 200, "text/plain", "a\n", true},
		{"exit", `ngx.header["X-A"] = "b" ngx.exit(503)`, 503, "", "", false},
		{"exit and status", `ngx.header["X-A"] = "b" ngx.status = 400 ngx.exit(ngx.status)`, 400, "", "", false},
		{"within pcall", `ngx.header["X-A"] = "b" pcall(function() kong.response.exit(418, "t") end) kong.response.exit(500)`, 418, "", "t", true},
		{"of the second function", `kong.response.set_header("X-A", "b")`, 200, "", "second", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f, h := build(t, sources{Access: {tt.source, `kong.response.exit(200, "second")`}})
			for range 2 { // a state is used again
				x := asked()
				v := f.OnRequest(x)
				kind, body, raw := v.Raw()
				if !raw {
					body = v.Message()
				}
				if v.Status() != tt.status || kind != tt.kind || body != tt.body || raw != tt.raw || x.Early.Get("X-A") != "b" {
					t.Errorf("answer = %d %q %q, headers %v, want %d %q %q; log %s", v.Status(), kind, body, x.Early.Fields(), tt.status, tt.kind, tt.body, h.Logged())
				}
			}
		})
	}
}

// TestEnd: ngx.exit(ngx.OK) ends the phase and lets the request go on.
func TestEnd(t *testing.T) {
	t.Parallel()
	f, _ := build(t, sources{Access: {`ngx.exit(ngx.OK)`, `kong.response.exit(500)`}})
	if v := f.OnRequest(asked()); v.Done() {
		t.Errorf("OnRequest = %d", v.Status())
	}
}

func TestUpvaluesAreKept(t *testing.T) {
	t.Parallel()
	f, _ := build(t, sources{Access: {`
		local count = 0
		return function() count = count + 1 kong.response.exit(200, tostring(count)) end`}})
	for i := range 3 {
		if _, body, _ := f.OnRequest(asked()).Raw(); body != fmt.Sprint(i+1) {
			t.Errorf("call %d answers %q", i+1, body)
		}
	}
}

func TestPhases(t *testing.T) {
	t.Parallel()
	f, h := build(t, sources{
		Rewrite:      {`kong.ctx.shared.path = {from = "rewrite"}`},
		Access:       {`kong.ctx.plugin.n = 1 ngx.ctx.t = {1, 2}`},
		HeaderFilter: {`kong.response.set_header("X-From", kong.ctx.shared.path.from .. kong.ctx.plugin.n .. ngx.ctx.t[2]) ngx.header.server = nil kong.response.set_status(203)`},
		BodyFilter:   {`local piece, last = ngx.arg[1], ngx.arg[2] ngx.arg[1] = piece:upper() .. (last and "!" or "")`},
		Log:          {`kong.log.err("done ", kong.response.get_status(), " ", kong.response.get_source()) kong.log.set_serialize_value("mine", {a = 1})`},
	})
	x := asked()
	if v := f.OnRequest(x); v.Done() {
		t.Fatalf("OnRequest = %d: %s", v.Status(), h.Logged())
	}
	plugintest.Answer(x, f, plugin.Next, 200, "Server: up")
	if x.Response.Status != 203 || x.Response.Header.Get("X-From") != "rewrite12" || x.Response.Header.Count("Server") != 0 {
		t.Errorf("answer = %d %v: %s", x.Response.Status, x.Response.Header.Fields(), h.Logged())
	}
	edit := x.Response.Edits()[0]
	if got := string(edit([]byte("one "), false)) + string(edit([]byte("two"), true)); got != "ONE TWO!" {
		t.Errorf("body = %q", got)
	}
	f.OnLog(x)
	if !strings.Contains(h.Logged(), "done 203 service") || len(x.LogFields()) != 1 || string(x.LogFields()[0].JSON) != `{"a":1}` {
		t.Errorf("log = %s, fields %v", h.Logged(), x.LogFields())
	}
	// Functions of rewrite are those of global plugins alone.
	h2 := plugintest.NewHost()
	h2.In.RouteID = "r"
	scoped, err := NewFilter("pre-function", sources{Rewrite: {`kong.response.exit(500)`}}, h2)
	if err != nil {
		t.Fatal(err)
	}
	if v := scoped.(*filter).OnRequest(asked()); v.Done() {
		t.Errorf("rewrite of a route: %d", v.Status())
	}
}

// TestFailures: what fails is 500 in the request, and changes nothing after it.
func TestFailures(t *testing.T) {
	t.Parallel()
	for name, source := range map[string]string{
		"error":             `error("boom")`,
		"nil":               `local a = nil; a.b = 1`,
		"wrong phase":       `kong.response.get_raw_body()`,
		"a header twice":    `kong.response.set_header("X-A", "b\r\nX-C: d")`,
		"a bad header name": `kong.service.request.set_header("a b", "c")`,
		"a bad path":        `kong.service.request.set_path("x")`,
		"a bad status":      `kong.response.exit(99)`,
		"a bad method":      `kong.service.request.set_method("A B")`,
		"unknown variable":  `local a = ngx.var.pid_of_nginx`,
		"deep recursion":    `local function f() return 1 + f() end f()`,
		"a long text":       `("x"):rep(1e9)`,
	} {
		f, h := build(t, sources{Access: {source}})
		x := asked()
		if v := f.OnRequest(x); v.Status() != 500 || v.Message() != "" {
			t.Errorf("%s: %d", name, v.Status())
		}
		if !strings.Contains(h.Logged(), "run pre-function") {
			t.Errorf("%s: log %s", name, h.Logged())
		}
		if x.Early.Len() != 0 {
			t.Errorf("%s: headers %v", name, x.Early.Fields())
		}
	}
	f, _ := build(t, sources{HeaderFilter: {`error("x")`}, BodyFilter: {`error("x")`}, Log: {`error("x")`}})
	x := asked()
	plugintest.Answer(x, f, plugin.Next, 200)
	if got := string(x.Response.Edits()[0]([]byte("as it is"), true)); got != "as it is" || x.Response.Status != 200 {
		t.Errorf("answer = %d %q", x.Response.Status, got)
	}
	f.OnLog(x)
}

// TestLoopIsStopped: a function that never ends is 500, also when it catches errors.
func TestLoopIsStopped(t *testing.T) {
	t.Parallel()
	for _, source := range []string{`while true do end`, `while true do pcall(function() while true do end end) end`} {
		f, h := build(t, sources{Access: {source}})
		if v := f.OnRequest(asked()); v.Status() != 500 || !strings.Contains(h.Logged(), "ran for longer than 1s") {
			t.Errorf("%s: %d, %s", source, v.Status(), h.Logged())
		}
	}
}

// TestRefusals: what cannot run is refused by name.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ source, want string }{
		{`print(`, `config.access[1]: error parsing pre-function: [string "print("]:1: unexpected symbol near '<eof>'`},
		{"local a = 1\nb c", `config.access[1]: error parsing pre-function: [string "local a = 1..."]:2: unexpected symbol near 'c'`},
		{`io.open("/etc/passwd")`, "config.access[1]: not available: io"},
		{`os.execute("x")`, "config.access[1]: not available: os.execute"},
		{`return load("x")`, "config.access[1]: not available: load"},
		{`local h = require "resty.http"`, `config.access[1]: not available: require "resty.http"`},
		{`kong.cache:get("x")`, "config.access[1]: not available: kong.cache"},
		{`kong.request.get_foo()`, "config.access[1]: not available: kong.request.get_foo"},
		{`local r = kong.request; r.get_foo()`, "config.access[1]: not available: kong.request.get_foo"},
		{`local f = function() ngx.timer.at(0, f) end`, "config.access[1]: not available: ngx.timer"},
		{`if x then ngx.location.capture("/") elseif y then ngx.socket.tcp() end`, "config.access[1]: not available: ngx.location, ngx.socket"},
		{`for i = 1, 2 do string.dump(f) end`, "config.access[1]: not available: string.dump"},
	} {
		_, err := NewFilter("pre-function", sources{Access: {tt.source}}, plugintest.NewHost())
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.source, err, tt.want)
		}
	}
	for _, source := range []string{
		`local io = {open = function() end} io.open()`, `foo = 1 return foo`, `kong.ctx.shared.anything = 1`, `local t = {} t.load = 1 t:load()`,
		`ngx.status = 200`, `return kong.request.get_headers().host`, `local function debug() end debug()`, `kong.log("x") kong.log.warn("y")`,
	} {
		if _, err := NewFilter("pre-function", sources{Access: {source}}, plugintest.NewHost()); err != nil {
			t.Errorf("%s: %v", source, err)
		}
	}
	_, err := NewFilter("pre-function", sources{"certificate": {"return"}, Log: {"x ="}, Access: {"ok()", "y ="}}, plugintest.NewHost())
	var fields []string
	for field := range plugin.Faults(err) {
		fields = append(fields, field)
	}
	if got, _ := json.Marshal(fields); string(got) != `["config.certificate","config.access[2]","config.log[1]"]` {
		t.Errorf("fields = %s", got)
	}
}

// TestStatesAreApart has many exchanges at once.
func TestStatesAreApart(t *testing.T) {
	t.Parallel()
	f, _ := build(t, sources{Access: {`local id = kong.request.get_header("x-id") for i = 1, 100 do kong.ctx.shared.id = id end kong.response.exit(200, kong.ctx.shared.id)`}})
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			id := fmt.Sprint("id-", i)
			x := plugintest.Request{Lines: []string{"X-Id: " + id}}.Exchange()
			if _, body, _ := f.OnRequest(x).Raw(); body != id {
				t.Errorf("exchange %s got %q", id, body)
			}
		})
	}
	wg.Wait()
}

func FuzzCompile(f *testing.F) {
	f.Add(`local a = kong.request.get_path() if a then return function() end end`)
	f.Add(`for k, v in pairs({1, [2] = "x"}) do repeat until true end`)
	f.Add("\x1bLua")
	f.Fuzz(func(t *testing.T, source string) {
		if len(source) < 4096 {
			_, _ = compile("pre-function", source) // it must not panic
		}
	})
}
