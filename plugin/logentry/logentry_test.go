package logentry

import (
	"crypto/tls"
	"encoding/json"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

var start = time.UnixMilli(1700000000123)

func proxied() *plugin.Exchange {
	x := plugintest.Request{
		Method: "POST", Target: "/orders/7?a=1&b=2&a=3&flag&e=%22", Host: "gw.test:8080",
		Lines: []string{"User-Agent: curl", "X-Two: 1", "x-two: 2", "Authorization: Bearer secret", "Proxy-Authorization: x"},
	}.Exchange()
	plugintest.Timed(x, start)
	bob := &plugin.Consumer{ID: "c1", Username: "bob", JSON: []byte(`{"id":"c1","username":"bob"}`)}
	x.Route = &plugin.Route{ID: "r1", Name: "orders", JSON: []byte(`{"id":"r1"}`)}
	x.Service = &plugin.Service{ID: "s1", Name: "svc", JSON: []byte(`{"id":"s1"}`)}
	x.Consumer, x.Credential = bob, &plugin.Credential{ID: "k1", Consumer: bob}
	x.Upstream.Path = "/7"
	x.Upstream.Tries = append(x.Upstream.Tries,
		plugin.Try{Addr: netip.MustParseAddrPort("10.0.0.1:80"), Start: start, Duration: 1500 * time.Microsecond, State: "failed", Code: 502},
		plugin.Try{Addr: netip.MustParseAddrPort("10.0.0.2:80"), Start: start, Keepalive: true})
	x.Request.Size, x.Response.Size = 120, 240
	x.Response.Status, x.Response.Source, x.Response.UpstreamStatus = 200, plugin.FromUpstream, "502, 200"
	x.Response.Header.Append("Content-Type", "application/json")
	x.Response.Header.Append("Set-Cookie", "a")
	x.Response.Header.Append("Set-Cookie", "b")
	return x
}

const want = `{
 "request":{"id":"00000000000000000000000000000001","uri":"/orders/7?a=1&b=2&a=3&flag&e=%22",
  "url":"http://gw.test:8080/orders/7?a=1&b=2&a=3&flag&e=%22","querystring":{"a":["1","3"],"b":"2","flag":true,"e":"\""},
  "method":"POST","headers":{"host":"gw.test:8080","user-agent":"curl","x-two":["1","2"],"authorization":"REDACTED","proxy-authorization":"REDACTED"},
  "size":120},
 "upstream_uri":"/7?a=1&b=2&a=3&flag&e=%22","upstream_status":"502, 200",
 "response":{"status":200,"headers":{"content-type":"application/json","set-cookie":["a","b"]},"size":240},
 "latencies":{"kong":3,"proxy":20,"request":28,"receive":5},
 "tries":[{"balancer_start":1700000000123,"balancer_start_ns":1700000000123000000,"balancer_latency":1,"balancer_latency_ns":1500000,"ip":"10.0.0.1","port":80,"state":"failed","code":502},
  {"balancer_start":1700000000123,"balancer_start_ns":1700000000123000000,"balancer_latency":0,"balancer_latency_ns":0,"ip":"10.0.0.2","port":80,"keepalive":true}],
 "authenticated_entity":{"id":"k1","consumer_id":"c1"},
 "route":{"id":"r1"},"service":{"id":"s1"},"consumer":{"id":"c1","username":"bob"},
 "client_ip":"192.0.2.1","started_at":1700000000123,"source":"upstream",
 "workspace":"00000000-0000-0000-0000-000000000000","workspace_name":"default","correlation_id":"x1"}`

func decode(t *testing.T, b []byte) map[string]any {
	t.Helper()
	var m map[string]any
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		t.Fatalf("entry %s: %v", b, err)
	}
	return m
}

func TestEntryOfAProxiedRequest(t *testing.T) {
	t.Parallel()
	x := proxied()
	x.AddLogField("correlation_id", []byte(`"x1"`))
	got := Append(nil, x)
	if !reflect.DeepEqual(decode(t, got), decode(t, []byte(want))) {
		t.Errorf("Append =\n%s, want\n%s", got, want)
	}
}

func TestEntryOfAnAnswerOfTheGate(t *testing.T) {
	t.Parallel()
	x := plugintest.Request{Target: "/none"}.Exchange()
	x.Times = plugin.Times{Start: start, End: start.Add(2 * time.Millisecond)}
	x.Response.Status = 404
	m := decode(t, Append(nil, x))
	for name, want := range map[string]any{"upstream_uri": "", "upstream_status": "", "source": "kong", "client_ip": "192.0.2.1"} {
		if m[name] != want {
			t.Errorf("%s = %v, want %v", name, m[name], want)
		}
	}
	for _, name := range []string{"route", "service", "consumer", "authenticated_entity", "tries"} {
		if _, ok := m[name]; ok {
			t.Errorf("%s is there, want it absent", name)
		}
	}
	l := m["latencies"].(map[string]any)
	if l["kong"] != json.Number("2") || l["proxy"] != json.Number("-1") || l["receive"] != json.Number("0") {
		t.Errorf("latencies = %v, want kong 2, proxy -1, receive 0", l)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	x := proxied()
	x.Request.TLS = &tls.ConnectionState{Version: tls.VersionTLS12, CipherSuite: tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	got := decode(t, Append(nil, x))["request"].(map[string]any)["tls"]
	want := map[string]any{"version": "TLSv1.2", "cipher": "ECDHE-RSA-AES128-GCM-SHA256", "client_verify": "NONE"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("tls = %v, want %v", got, want)
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	f, err := Compile(map[string]string{
		"name":                  `return "literal"`,
		"n":                     `return 5`,
		"yes":                   `return true;`,
		"route":                 `return nil`,
		"request.headers.x-two": `return nil`,
		"request.extra.deep":    `return kong.request.get_method() .. " " .. kong.request.get_path()`,
		"agent":                 `return kong.request.get_header("user-agent")`,
		"none":                  `return kong.request.get_header("none")`,
		"none.deep":             `return nil`,
		"status":                `return kong.response.get_status()`,
		"who":                   `return kong.client.get_consumer().username`,
		"a\\.b":                 `return kong.router.get_service().name or "x"`,
		"arg":                   `return(kong.request.get_query_arg("b"))`,
		"upper":                 `return string.upper(kong.request.get_scheme()):sub(1, 2)`,
		"sum":                   `return tonumber("2") + #tostring(10)`,
		"type":                  `return type(kong)`,
		"lines":                 "local n = 0 for _, v in ipairs({1, 2}) do n = n + v end\nreturn {n = n, host = ngx.var.host}",
		"nothing":               `local a = 1`,
		"fails":                 `local a = nil return a.b`,
	}, plugintest.NewHost())
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.Append([]byte("before "), proxied())
	if err == nil || !strings.Contains(err.Error(), "log field fails") {
		t.Errorf("Append = %v, want the field that failed", err)
	}
	m := decode(t, got[len("before "):])
	for name, want := range map[string]any{
		"name": "literal", "n": json.Number("5"), "yes": true, "agent": "curl", "status": json.Number("200"), "who": "bob", "a.b": "svc", "arg": "2",
		"upper": "HT", "sum": json.Number("4"), "type": "table",
	} {
		if m[name] != want {
			t.Errorf("%s = %v, want %v", name, m[name], want)
		}
	}
	if got, _ := json.Marshal(m["lines"]); string(got) != `{"host":"gw.test","n":3}` {
		t.Errorf("lines = %s", got)
	}
	for _, name := range []string{"route", "none", "nothing", "fails"} {
		if _, ok := m[name]; ok {
			t.Errorf("%s = %v, want it absent", name, m[name])
		}
	}
	request := m["request"].(map[string]any)
	if request["extra"].(map[string]any)["deep"] != "POST /orders/7" {
		t.Errorf("request.extra = %v", request["extra"])
	}
	if _, ok := request["headers"].(map[string]any)["x-two"]; ok {
		t.Error("request.headers.x-two is there, want it removed")
	}
}

func TestCompileSaysWhatIsNotUnderstood(t *testing.T) {
	t.Parallel()
	for chunk, want := range map[string]string{
		`returnx`:               "unexpected symbol near '<eof>'",
		`return os.getenv("x")`: "not available: os.getenv",
		`return 1 +`:            "unexpected symbol near '<eof>'",
		`return kong.nothing.x`: "not available: kong.nothing",
	} {
		if _, err := Compile(map[string]string{"f": chunk}, plugintest.NewHost()); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "config.custom_fields_by_lua.f") {
			t.Errorf("Compile(%q) = %v, want %q", chunk, err, want)
		}
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	x := proxied()
	x.Upstream.Query = "a=1&b=2&a=3"
	b := make([]byte, 0, 8192)
	if n := testing.AllocsPerRun(100, func() { b = Append(b[:0], x) }); n != 0 {
		t.Errorf("Append allocates %v times, want 0", n)
	}
}

// TestTextIsEscapedWhereverItStands puts every odd byte at every place of a string that is read
// eight bytes at a time.
func TestTextIsEscapedWhereverItStands(t *testing.T) {
	t.Parallel()
	for _, odd := range []string{"\x00", "\x1f", "\"", "\\", "\x7f", "\x80", "\xff", "é", "\n"} {
		for at := range 20 {
			s := strings.Repeat("~", at) + odd + strings.Repeat(" ", 20-at)
			want, got := strings.ToValidUTF8(s, "\ufffd"), ""
			if err := json.Unmarshal(appendString(nil, s), &got); err != nil || got != want {
				t.Errorf("appendString(%q) = %s, %v", s, appendString(nil, s), err)
			}
			var lower string
			if err := json.Unmarshal(appendLower(nil, "ABC"+s), &lower); err != nil || lower != "abc"+want {
				t.Errorf("appendLower(%q) = %q, %v", "ABC"+s, lower, err)
			}
		}
	}
	// JSON would bear a DEL as it is.
	if b := appendString(nil, "       \x7f"); string(b) != `"       \u007f"` {
		t.Errorf("a DEL is written as %s", b)
	}
	if b := appendString(nil, "\x7f\x1f       \x7f"); string(b) != `"\u007f\u001f       \u007f"` {
		t.Errorf("control bytes are written as %s", b)
	}
}

// TestNamesThatShareAMark has more names than there are marks: none may be lost or doubled.
func TestNamesThatShareAMark(t *testing.T) {
	t.Parallel()
	var h plugin.Header
	for i := range 90 {
		h.Append("X-"+strconv.Itoa(i), strconv.Itoa(i))
	}
	h.Append("x-7", "again")
	var m map[string]any
	if err := json.Unmarshal(appendHeaders(nil, &h, "", false), &m); err != nil {
		t.Fatal(err)
	}
	if len(m) != 90 || m["x-89"] != "89" || !reflect.DeepEqual(m["x-7"], []any{"7", "again"}) {
		t.Errorf("%d names, x-89 %v, x-7 %v", len(m), m["x-89"], m["x-7"])
	}
}

func FuzzAppendIsJSON(f *testing.F) {
	f.Add("/a?b", "a=1&a=%zz&&=", "X-A", "v\xff\"\\\n", "gw.test:80")
	f.Add("", "", "", "", "[::1]:80")
	f.Fuzz(func(t *testing.T, target, query, name, value, host string) {
		x := plugintest.Request{}.Exchange()
		x.Route = &plugin.Route{}
		x.Request.Target, x.Upstream.Query, x.Request.Host = target, query, host
		x.Request.Header.Append(name, value)
		x.Request.Header.Append(name, value)
		x.Response.Header.Append(name, value)
		if b := Append(nil, x); !json.Valid(b) {
			t.Errorf("%s is not JSON", b)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	plain := proxied()
	plain.Request.Target, plain.Upstream.Query = "/orders/7", ""
	for _, name := range []string{"X-Kong-Upstream-Latency", "X-Kong-Proxy-Latency", "X-Kong-Request-Id", "RateLimit-Limit",
		"RateLimit-Remaining", "RateLimit-Reset", "Access-Control-Allow-Origin", "Server", "Via", "Content-Length"} {
		plain.Response.Header.Append(name, "0123456789abcdef")
	}
	for name, x := range map[string]*plugin.Exchange{"arguments": proxied(), "headers": plain} {
		b.Run(name, func(b *testing.B) {
			buf := make([]byte, 0, 8192)
			b.ReportAllocs()
			for b.Loop() {
				buf = Append(buf[:0], x)
			}
		})
	}
}
