package telemetry

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func exchange(status int) *plugin.Exchange {
	x := plugintest.Request{}.Exchange()
	x.Route, x.Service = &plugin.Route{ID: "r-id", Name: "r"}, &plugin.Service{Host: "h.test"}
	x.Consumer = &plugin.Consumer{Username: `bo"b`}
	x.Response.Status, x.Response.Source, x.Response.Size, x.Request.Size = status, plugin.FromUpstream, 200, 100
	plugintest.Timed(x, time.Unix(1e9, 0))
	return x
}

func show(m *Metrics) string {
	w := httptest.NewRecorder()
	m.ServeHTTP(w, nil)
	return w.Body.String()
}

func newMetrics() *Metrics {
	return New(Options{NodeID: "n1", Version: "v", Counts: func() Traffic { return Traffic{Accepted: 7, Active: 2} }})
}

func TestSeries(t *testing.T) {
	t.Parallel()
	m := newMetrics()
	all := plugin.StatusMetrics | plugin.LatencyMetrics | plugin.BandwidthMetrics
	m.Observe(exchange(200), all)
	m.Observe(exchange(200), all|plugin.PerConsumer)
	x := exchange(429)
	x.Response.Source = plugin.FromGate
	m.Observe(x, plugin.StatusMetrics)
	x.Route = nil
	m.Observe(x, all)
	out := show(m)
	for _, want := range []string{
		`kong_http_requests_total{service="h.test",route="r",code="200",source="service",workspace="default",consumer=""} 1`,
		`kong_http_requests_total{service="h.test",route="r",code="200",source="service",workspace="default",consumer="bo\"b"} 1`,
		`kong_http_requests_total{service="h.test",route="r",code="429",source="kong",workspace="default",consumer=""} 1`,
		`kong_bandwidth_bytes{service="h.test",route="r",direction="egress",workspace="default",consumer=""} 200`,
		`kong_kong_latency_ms_bucket{service="h.test",route="r",workspace="default",le="2"} 0`,
		`kong_kong_latency_ms_bucket{service="h.test",route="r",workspace="default",le="5"} 2`,
		`kong_upstream_latency_ms_sum{service="h.test",route="r",workspace="default"} 40`,
		`kong_request_latency_ms_count{service="h.test",route="r",workspace="default"} 2`,
		`kong_request_latency_ms_bucket{service="h.test",route="r",workspace="default",le="+Inf"} 2`,
		`kong_nginx_connections_total{node_id="n1",subsystem="http",state="accepted"} 7`,
		`kong_node_info{node_id="n1",version="3.9.1"} 1`,
		"kong_datastore_reachable 1",
	} {
		if !strings.Contains(out, want+"\n") {
			t.Errorf("no line %s in\n%s", want, out)
		}
	}
	if strings.Count(out, "# TYPE kong_http_requests_total counter") != 1 {
		t.Errorf("TYPE lines in\n%s", out)
	}
}

// TestBareEnable exports no traffic series: all switches of Kong's plugin are off.
func TestBareEnable(t *testing.T) {
	t.Parallel()
	m := newMetrics()
	m.Enable(0)
	m.Observe(exchange(200), 0)
	if out := show(m); strings.Contains(out, "kong_http_requests_total") {
		t.Errorf("%s", out)
	}
}

// TestBound makes more series than there is room for.
func TestBound(t *testing.T) {
	t.Parallel()
	m := newMetrics()
	x := exchange(200)
	for i := range maxSeries + 10 {
		x.Consumer.Username = fmt.Sprint(i)
		m.Observe(x, plugin.StatusMetrics|plugin.PerConsumer)
	}
	if n := len(m.status.series); n > maxSeries+1 {
		t.Errorf("%d series, want at most %d", n, maxSeries+1)
	}
	if m.dropped.Load() != 10 {
		t.Errorf("%d exchanges had no room, want 10", m.dropped.Load())
	}
}

func TestNoAllocation(t *testing.T) {
	m, x := newMetrics(), exchange(200)
	all := plugin.StatusMetrics | plugin.LatencyMetrics | plugin.BandwidthMetrics | plugin.PerConsumer
	if n := testing.AllocsPerRun(1000, func() { m.Observe(x, all) }); n != 0 {
		t.Errorf("Observe allocates %v times", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	m, x := newMetrics(), exchange(200)
	b.ReportAllocs()
	for b.Loop() {
		m.Observe(x, plugin.StatusMetrics|plugin.LatencyMetrics|plugin.BandwidthMetrics)
	}
}

func BenchmarkScrape10000(b *testing.B) {
	m, x := newMetrics(), exchange(200)
	for i := range 10_000 {
		x.Route = &plugin.Route{ID: fmt.Sprint(i)}
		m.Observe(x, plugin.StatusMetrics)
	}
	for b.Loop() {
		show(m)
	}
}
