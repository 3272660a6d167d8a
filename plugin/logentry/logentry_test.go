package logentry

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func exchange() *plugin.Exchange {
	x := plugintest.Request{
		Method: "POST", Target: "/a?x=1&flag&x=%32", Host: "gw.test:8080",
		Lines: []string{"X-One: 1", "Authorization: secret", "X-Two: a", "x-two: b", "Odd: \x01\"\\\xff"},
	}.Exchange()
	x.Route, x.Service = &plugin.Route{ID: "r", JSON: []byte(`{"id":"r"}`)}, &plugin.Service{ID: "s", JSON: []byte(`{"id":"s"}`)}
	x.Consumer = &plugin.Consumer{ID: "c", JSON: []byte(`{"id":"c"}`)}
	x.Credential = &plugin.Credential{ID: "k", Consumer: x.Consumer}
	x.Response.Status, x.Response.Source, x.Response.UpstreamStatus, x.Response.Size = 201, plugin.FromUpstream, "201", 99
	x.Response.Header.Append("Content-Type", "text/plain")
	x.Upstream.Path, x.Upstream.Query = "/up", "x=1"
	plugintest.Timed(x, time.UnixMilli(1700000000123))
	x.Upstream.Tries = append(x.Upstream.Tries, plugin.Try{
		Addr: netip.MustParseAddrPort("127.0.0.1:8000"), Start: time.UnixMilli(1700000000126), Duration: 1500 * time.Microsecond, Keepalive: true,
	})
	x.AddLogField("correlation_id", []byte(`"abc"`))
	return x
}

func TestEntry(t *testing.T) {
	t.Parallel()
	var got map[string]any
	if err := json.Unmarshal(Append(nil, exchange()), &got); err != nil {
		t.Fatal(err)
	}
	var want map[string]any
	if err := json.Unmarshal([]byte(`{
		"request": {"id":"00000000000000000000000000000001","uri":"/a?x=1&flag&x=%32","url":"http://gw.test:8080/a?x=1&flag&x=%32",
			"querystring":{"x":["1","2"],"flag":true},"method":"POST","size":0,
			"headers":{"x-one":"1","authorization":"REDACTED","x-two":["a","b"],"odd":"\u0001\"\\\ufffd"}},
		"upstream_uri":"/up?x=1","upstream_status":"201",
		"response":{"status":201,"headers":{"content-type":"text/plain"},"size":99},
		"latencies":{"kong":3,"proxy":20,"request":28,"receive":5},
		"tries":[{"balancer_start":1700000000126,"balancer_start_ns":1700000000126000000,"balancer_latency":1,"balancer_latency_ns":1500000,
			"ip":"127.0.0.1","port":8000,"keepalive":true}],
		"authenticated_entity":{"id":"k","consumer_id":"c"},
		"route":{"id":"r"},"service":{"id":"s"},"consumer":{"id":"c"},
		"client_ip":"192.0.2.1","started_at":1700000000123,"source":"upstream",
		"workspace":"9b21a7b4-6c3d-4b4e-9d3a-0f6f7f5f3c11","workspace_name":"default","correlation_id":"abc"}`), &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		a, _ := json.MarshalIndent(got, "", " ")
		t.Errorf("got %s", a)
	}
}

func TestNoAllocation(t *testing.T) {
	x := exchange()
	x.Request.Query = ""
	b := make([]byte, 0, 8192)
	if n := testing.AllocsPerRun(100, func() { b = Append(b[:0], x) }); n != 0 {
		t.Errorf("Append allocates %v times", n)
	}
}

func TestCustom(t *testing.T) {
	t.Parallel()
	c, err := Compile(map[string]string{
		"team": `return "blue"`, "request.headers.x-one": "return nil", "nested.n": "return 7",
		"who": `return kong.request.get_header("X-One")`, "nobody": `return kong.request.get_header("X-None");`, "service": " return  nil ",
	})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(c.Append(nil, exchange()), &got); err != nil {
		t.Fatal(err)
	}
	headers := got["request"].(map[string]any)["headers"].(map[string]any)
	if got["team"] != "blue" || got["who"] != "1" || got["nested"].(map[string]any)["n"] != 7.0 || headers["x-one"] != nil {
		t.Errorf("%v", got)
	}
	for _, gone := range []string{"nobody", "service"} {
		if _, ok := got[gone]; ok {
			t.Errorf("%s is there", gone)
		}
	}
	for _, bad := range []string{"os.exit()", `return kong.service.get()`, `return "a" .. "b"`, ""} {
		if _, err := Compile(map[string]string{"f": bad}); err == nil || !strings.Contains(err.Error(), "custom_fields_by_lua: f: ") {
			t.Errorf("Compile(%q) = %v", bad, err)
		}
	}
}

func FuzzEscaped(f *testing.F) {
	f.Add("plain")
	f.Add("\x00\"\\\xff\u2028")
	f.Fuzz(func(t *testing.T, s string) {
		var back string
		if err := json.Unmarshal(appendString(nil, s), &back); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if want := strings.ToValidUTF8(s, "\ufffd"); len([]rune(back)) < len([]rune(want)) {
			t.Errorf("%q came back as %q", s, back)
		}
	})
}
