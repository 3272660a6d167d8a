package zipkin

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/outbox"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
	"github.com/sekifuda/sekifuda/plugin/tracing"
)

const (
	trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	id    = "00f067aa0ba902b7"
)

var begin = time.Unix(1700000000, 0)

func build(t *testing.T, c *Config) *filter {
	t.Helper()
	f, err := New(c, plugintest.NewHost())
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return f.(*filter)
}

func TestTheUpstreamIsTold(t *testing.T) {
	t.Parallel()
	b3 := []string{"X-B3-TraceId: " + trace, "X-B3-SpanId: " + id, "X-B3-Sampled: 1"}
	for _, tt := range []struct {
		name   string
		config *Config
		lines  []string
		told   string
		parent string // that the upstream is told
	}{
		{"nothing is sent", &Config{}, nil, "b3", ""},
		{"b3 shares its span", &Config{}, b3, "b3", id},
		{"w3c does not", &Config{}, []string{"traceparent: 00-" + trace + "-" + id + "-01"}, "w3c", ""},
		{"the older default", &Config{DefaultHeaderType: proto.String("jaeger")}, nil, "jaeger", ""},
		{"the newer default", &Config{Propagation: &tracing.Headers{DefaultFormat: proto.String("ot")}, DefaultHeaderType: proto.String("b3")}, nil, "ot", ""},
		{"another format", &Config{Propagation: &tracing.Headers{Inject: []string{"w3c"}, DefaultFormat: proto.String("b3")}}, nil, "w3c", ""},
		{"what is sent is not looked for", &Config{HeaderType: proto.String("ignore"), DefaultHeaderType: proto.String("w3c")}, b3, "b3 w3c", ""},
	} {
		f := build(t, tt.config)
		x := plugintest.Request{Lines: tt.lines}.Exchange()
		f.OnRequest(x)
		if got := strings.Join(tracing.Told(&x.Request.Header), " "); got != tt.told {
			t.Errorf("%s: the upstream is told %q, want %q", tt.name, got, tt.told)
		}
		if got := x.Request.Header.Get("X-B3-ParentSpanId"); tt.parent != "" && got != tt.parent {
			t.Errorf("%s: parent %q, want %q", tt.name, got, tt.parent)
		}
	}
	short := build(t, &Config{TraceidByteCount: proto.Int64(8), HttpResponseHeaderForTraceid: proto.String("X-Trace")})
	x := plugintest.Request{}.Exchange()
	short.OnRequest(x)
	if got := x.Request.Header.Get("X-B3-TraceId"); len(got) != 16 {
		t.Errorf("trace id = %q, want 8 bytes", got)
	}
	plugintest.Answer(x, short, plugin.Next, 200)
	if got := x.Response.Header.Get("X-Trace"); !strings.HasSuffix(got, x.Request.Header.Get("X-B3-TraceId")) || got == "" {
		t.Errorf("the client is told %q", got)
	}
}

// collector keeps the posts it gets.
func collector(t *testing.T) (url string, next func() []span) {
	posts := make(chan []span, 10)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var all []span
		if err := json.Unmarshal(body, &all); err != nil || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("post %q of %q: %v", body, r.Header.Get("Content-Type"), err)
		}
		posts <- all
	}))
	t.Cleanup(s.Close)
	return s.URL + "/api/v2/spans", func() []span { return <-posts }
}

// finished leads an exchange with two tries through the filter.
func finished(f *filter, lines ...string) {
	x := plugintest.Logged(begin)
	for _, l := range append(lines, "Zipkin-Tags: a=b; c = d;broken") {
		name, value, _ := strings.Cut(l, ": ")
		x.Request.Header.Append(name, value)
	}
	x.Credential = &plugin.Credential{ID: "cred"}
	f.OnRequest(x)
	x.Request.Header.Del("Zipkin-Tags")
	x.Upstream.Tries = []plugin.Try{
		{Addr: netip.MustParseAddrPort("192.0.2.1:80"), Start: begin.Add(3 * time.Millisecond), Duration: time.Millisecond, State: "failed", Code: 502},
		{Addr: netip.MustParseAddrPort("[2001:db8::1]:81"), Start: begin.Add(5 * time.Millisecond), Duration: 2 * time.Millisecond, Code: 200},
	}
	f.OnLog(x)
}

func TestSpans(t *testing.T) {
	t.Parallel()
	url, next := collector(t)
	f := build(t, &Config{
		HttpEndpoint: &url, SampleRatio: proto.Float64(0), LocalServiceName: proto.String("gate"),
		StaticTags: []*Config_Tag{{Name: proto.String("env"), Value: proto.String("test")}}, HttpSpanName: proto.String("method_path"),
		Queue: &outbox.Limits{MaxBatchSize: proto.Int64(4)},
	})
	plugintest.Run(t, f)
	finished(f) // the share is 0: not told
	finished(f, "X-B3-TraceId: "+trace, "X-B3-SpanId: "+id, "X-B3-Sampled: 1")
	all := next()
	if len(all) != 4 {
		t.Fatalf("%d spans, want 4", len(all))
	}
	first, second, proxy, server := all[0], all[1], all[2], all[3]
	for _, s := range all {
		if s.TraceID != trace || s.Local.ServiceName != "gate" {
			t.Errorf("span %+v", s)
		}
	}
	if server.ID != id || server.ParentID != "" || proxy.ParentID != id || first.ParentID != id || first.ID == second.ID {
		t.Errorf("spans do not hang together: %+v", all)
	}
	for _, c := range []struct{ got, want any }{
		{server.Kind + server.Name, "SERVERGET /"},
		{proxy.Kind + proxy.Name, "CLIENTGET / (proxy)"},
		{first.Name, "GET / (balancer try 1)"},
		{server.Timestamp, begin.UnixMicro()},
		{server.Duration, int64(28000)},
		{first.Timestamp, begin.UnixMicro() + 3000},
		{first.Duration, int64(1000)},
		{*server.Remote, endpoint{IPv4: "192.0.2.1", Port: 40000}},
		{*proxy.Remote, endpoint{ServiceName: "svc.one", IPv6: "2001:db8::1", Port: 81}},
		{*first.Remote, endpoint{ServiceName: "svc.one", IPv4: "192.0.2.1", Port: 80}},
		{server.Tags, map[string]string{
			"lc": "kong", "http.method": "GET", "http.host": "gw.test", "http.path": "/", "http.protocol": "HTTP/1.1", "http.status_code": "200",
			"kong.node.id": "node-1", "env": "test", "a": "b", "c": "d", "kong.consumer": "c-1", "kong.credential": "cred",
		}},
		{proxy.Tags, map[string]string{
			"kong.service": "s1", "kong.service_name": "svc.one", "kong.route": "r1", "kong.route_name": "route", "peer.hostname": "h.test",
		}},
		{first.Tags, map[string]string{
			"kong.service": "s1", "kong.service_name": "svc.one", "kong.route": "r1", "kong.route_name": "route",
			"kong.balancer.try": "1", "error": "true", "kong.balancer.state": "failed", "http.status_code": "502",
		}},
		{len(second.Tags), 5},
		{len(proxy.Annotations), 6},
		{server.Annotations, []annotation{{"krs", begin.UnixMicro()}}},
	} {
		if fmt.Sprint(c.got) != fmt.Sprint(c.want) {
			t.Errorf("got %v, want %v", c.got, c.want)
		}
	}
}

func TestPhasesAsTags(t *testing.T) {
	t.Parallel()
	url, next := collector(t)
	f := build(t, &Config{
		HttpEndpoint: &url, SampleRatio: proto.Float64(1), PhaseDurationFlavor: proto.String("tags"), IncludeCredential: proto.Bool(false),
		Queue: &outbox.Limits{MaxBatchSize: proto.Int64(4)},
	})
	plugintest.Run(t, f)
	finished(f)
	all := next()
	if proxy := all[2]; proxy.Annotations != nil || proxy.Tags["kong.access.duration_ms"] != "3" {
		t.Errorf("proxy span %+v", proxy)
	}
	if server := all[3]; server.Annotations != nil || server.Tags["kong.credential"] != "" || server.ParentID != "" {
		t.Errorf("server span %+v", server)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	url := proto.String("http://127.0.0.1:9411/")
	for want, c := range map[string]*Config{
		"config.propagation.extract":        {Propagation: &tracing.Headers{Extract: []string{"x"}}},
		"config.propagation.default_format": {DefaultHeaderType: proto.String("x")},
		"config.queue.max_entries":          {HttpEndpoint: url, Queue: &outbox.Limits{MaxEntries: proto.Int64(0)}},
	} {
		if _, err := New(c, plugintest.NewHost()); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("New(%v) = %v, want a complaint of %s", c, err, want)
		}
	}
}
