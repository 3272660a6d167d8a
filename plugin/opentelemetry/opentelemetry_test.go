package opentelemetry

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

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

func build(t testing.TB, c *Config) *filter {
	t.Helper()
	if c.TracesEndpoint == nil {
		c.TracesEndpoint = proto.String("http://127.0.0.1:4318/v1/traces")
	}
	f, err := New(c, plugintest.NewHost())
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return f.(*filter)
}

// formatsTold are headers of each format that say the same.
var formatsTold = map[string][]string{
	"w3c":       {"traceparent: 00-" + trace + "-" + id + "-01"},
	"b3-single": {"b3: " + trace + "-" + id + "-1"},
	"b3":        {"X-B3-TraceId: " + trace, "X-B3-SpanId: " + id, "X-B3-Sampled: 1"},
	"jaeger":    {"uber-trace-id: " + trace + ":f067aa0ba902b7:0:1"},
	"ot":        {"ot-tracer-traceid: " + trace, "ot-tracer-spanid: " + id, "ot-tracer-sampled: 1"},
	"aws":       {"X-Amzn-Trace-Id: Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent=" + id + ";Sampled=1"},
	"gcp":       {"X-Cloud-Trace-Context: " + trace + "/67667974448284343;o=1"},
	"datadog":   {"x-datadog-trace-id: 11803532876627986230", "x-datadog-parent-id: 67667974448284343", "x-datadog-sampling-priority: 1"},
}

func TestWhatIsReadAndWritten(t *testing.T) {
	t.Parallel()
	p := func(extract, inject, clear, other string) *Config {
		c := &Config{Propagation: &tracing.Headers{Extract: strings.Fields(extract), Inject: strings.Fields(inject), Clear: strings.Fields(clear)}}
		if other != "" {
			c.Propagation.DefaultFormat = proto.String(other)
		}
		return c
	}
	header := func(kind string) *Config { return &Config{HeaderType: &kind} }
	tests := []struct {
		name   string
		config *Config
		sent   string // formats of the client
		told   string // formats of the upstream
		joined bool
	}{
		{"nothing is sent", p("", "", "", "w3c"), "", "w3c", false},
		{"another default", p("", "", "", "b3"), "", "b3", false},
		{"what is sent is kept", p("", "", "", "w3c"), "jaeger", "jaeger", true},
		{"the first of many", p("", "", "", "w3c"), "aws w3c", "w3c aws", true},
		{"as configured", p("aws", "", "", "w3c"), "aws w3c", "w3c aws", true},
		{"not looked for", p("aws", "", "", "w3c"), "b3", "b3 w3c", false},
		{"b3 is both of its forms", p("b3", "gcp", "", "w3c"), "b3-single", "b3-single gcp", true},
		{"written in others", p("w3c", "datadog ot", "traceparent", "w3c"), "w3c", "ot datadog", true},
		{"kept and written", p("", "preserve w3c", "", "b3"), "ot", "w3c ot", true},
		{"kept and written alike", p("", "preserve w3c", "", "b3"), "w3c", "w3c", true},
		{"header_type preserve", header("preserve"), "ot", "ot", true},
		{"header_type ignore", header("ignore"), "w3c", "w3c", false},
		{"header_type of a format", header("b3"), "w3c", "b3 w3c", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := build(t, tt.config)
			var r plugintest.Request
			for _, name := range strings.Fields(tt.sent) {
				r.Lines = append(r.Lines, formatsTold[name]...)
			}
			x := r.Exchange()
			f.OnRequest(x)
			if got := strings.Join(tracing.Told(&x.Request.Header), " "); got != tt.told {
				t.Errorf("the upstream is told %q, want %q", got, tt.told)
			}
			v := f.joiner.Visit(x)
			if joined := hex.EncodeToString(v.Server.Trace[:]) == trace; joined != tt.joined {
				t.Errorf("trace %x, joined %v", v.Server.Trace, joined)
			}
			if v.Client.Trace != v.Server.Trace || v.Client.Parent != v.Server.ID || v.Client.ID == v.Server.ID {
				t.Errorf("spans %+v and %+v do not hang together", v.Server, v.Client)
			}
			if log := x.LogFields(); len(log) != 1 || log[0].Name != "trace_id" || !strings.Contains(string(log[0].JSON), hex.EncodeToString(v.Server.Trace[:])) {
				t.Errorf("log fields %v", log)
			}
		})
	}
}

func TestTheUpstreamIsToldTheClientSpan(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		caller string
		rate   float64
		told   string
	}{{"01", 1, "01"}, {"01", 0, "00"}, {"00", 1, "00"}, {"00", 0, "00"}} {
		f := build(t, &Config{SamplingRate: &tt.rate})
		x := plugintest.Request{Lines: []string{"traceparent: 00-" + trace + "-" + id + "-" + tt.caller}}.Exchange()
		f.OnRequest(x)
		v := f.joiner.Visit(x)
		if want := fmt.Sprintf("00-%s-%x-%s", trace, v.Client.ID, tt.told); x.Request.Header.Get("traceparent") != want {
			t.Errorf("%s at rate %v: traceparent = %q, want %q", tt.caller, tt.rate, x.Request.Header.Get("traceparent"), want)
		}
		if hex.EncodeToString(v.Server.Parent[:]) != id {
			t.Errorf("parent = %x, want %s", v.Server.Parent, id)
		}
	}
}

func TestSampling(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		rate  float64
		least int
		most  int
	}{{0, 0, 0}, {1, 4000, 4000}, {0.25, 800, 1200}} {
		f := build(t, &Config{SamplingRate: &tt.rate})
		n := 0
		for range 4000 {
			if f.joiner.Sample(tracing.NewTraceID()) {
				n++
			}
		}
		if n < tt.least || n > tt.most {
			t.Errorf("rate %v samples %d of 4000, want %d to %d", tt.rate, n, tt.least, tt.most)
		}
	}
	// What the caller decided stands.
	f := build(t, &Config{SamplingRate: proto.Float64(1)})
	x := plugintest.Request{Lines: []string{"traceparent: 00-" + trace + "-" + id + "-00"}}.Exchange()
	f.OnRequest(x)
	if f.joiner.Visit(x).Server.Sampled {
		t.Error("a trace that its caller does not sample is sampled")
	}
}

func TestTheClientIsToldTheTrace(t *testing.T) {
	t.Parallel()
	f := build(t, &Config{HttpResponseHeaderForTraceid: proto.String("X-Trace-Id")})
	x := plugintest.Request{Lines: formatsTold["b3"]}.Exchange()
	plugintest.Answer(x, f, f.OnRequest(x), 200)
	if got := x.Response.Header.Get("X-Trace-Id"); got != trace {
		t.Errorf("trace = %q, want %q", got, trace)
	}
	// Also when an earlier filter answered.
	x = plugintest.Request{}.Exchange()
	plugintest.Answer(x, f, plugin.Deny(401, ""), 0)
	if got := x.Response.Header.Get("X-Trace-Id"); len(got) != 32 {
		t.Errorf("trace = %q, want one", got)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	endpoint := proto.String("http://c.test")
	for want, c := range map[string]*Config{
		"config: at least one":              {},
		"config.traces_endpoint":            {TracesEndpoint: proto.String("ftp://c.test")},
		"config.propagation.extract":        {TracesEndpoint: endpoint, Propagation: &tracing.Headers{Extract: []string{"x"}}},
		"config.propagation.inject":         {TracesEndpoint: endpoint, Propagation: &tracing.Headers{Inject: []string{"x"}}},
		"config.propagation.default_format": {TracesEndpoint: endpoint, Propagation: &tracing.Headers{DefaultFormat: proto.String("x")}},
		"config.queue":                      {TracesEndpoint: endpoint, Queue: &outbox.Limits{MaxEntries: proto.Int64(0)}},
	} {
		if _, err := New(c, plugintest.NewHost()); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("New(%v) = %v, want a complaint of %s", c, err, want)
		}
	}
}

func TestRequestsAllocateOnlyForTheLog(t *testing.T) {
	f := build(t, &Config{SamplingRate: proto.Float64(0), HttpResponseHeaderForTraceid: proto.String("X-Trace")})
	r, e := plugintest.Request{}, plugintest.Engine("")
	x := r.Exchange()
	run := func() {
		r.Again(x, e)
		f.OnRequest(x)
		f.OnResponse(x)
		f.OnLog(x)
	}
	run()
	base := testing.AllocsPerRun(100, func() { r.Again(x, e) })
	if n := testing.AllocsPerRun(100, run) - base; n > 1+poolLoses {
		t.Errorf("an exchange allocates %v times, want 1", n)
	}
}

func TestExampleOfTheReadme(t *testing.T) {
	t.Parallel()
	c := &Config{}
	plugintest.Example(t, c)
	if _, err := New(c, plugintest.NewHost()); err != nil {
		t.Errorf("New(%v): %v", c, err)
	}
}
