package telemetry

import (
	"fmt"
	"io"
	"maps"
	"net/http/httptest"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func exchange(route, service string) *plugin.Exchange {
	x := plugintest.Request{}.Exchange()
	plugintest.Timed(x, time.Unix(1700000000, 0))
	x.Route = &plugin.Route{ID: route + "-id", Name: route}
	if service != "" {
		x.Service = &plugin.Service{ID: service + "-id", Name: service}
	}
	x.Response.Status, x.Response.Source = 200, plugin.FromUpstream
	x.Request.Size, x.Response.Size = 100, 300
	return x
}

var sample = regexp.MustCompile(`^([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)+)\})? (-?[0-9]+)$`)

// scrape reads the exposition strictly: a head before each metric, none twice, no series
// twice.
func scrape(t testing.TB, m *Metrics) map[string]int64 {
	t.Helper()
	values, kinds, last := map[string]int64{}, map[string]string{}, ""
	for _, l := range strings.Split(strings.TrimSuffix(string(m.Append(nil)), "\n"), "\n") {
		if strings.HasPrefix(l, "# HELP ") {
			continue
		}
		if rest, ok := strings.CutPrefix(l, "# TYPE "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			if kinds[name] != "" {
				t.Errorf("%s has two heads", name)
			}
			kinds[name], last = kind, name
			continue
		}
		parts := sample.FindStringSubmatch(l)
		if parts == nil {
			t.Fatalf("%q is no sample", l)
		}
		if name := regexp.MustCompile("_(bucket|sum|count)$").ReplaceAllString(parts[1], ""); name != last && parts[1] != last {
			t.Errorf("%q stands under %s", l, last)
		}
		key := strings.TrimSuffix(l, " "+parts[3])
		if _, twice := values[key]; twice {
			t.Errorf("%s twice", key)
		}
		values[key], _ = strconv.ParseInt(parts[3], 10, 64)
	}
	return values
}

func check(t *testing.T, got map[string]int64, want map[string]int64) {
	t.Helper()
	for key, n := range want {
		if v, ok := got[key]; !ok || v != n {
			t.Errorf("%s = %d (there: %v), want %d", key, v, ok, n)
		}
	}
}

func TestCountsByLabels(t *testing.T) {
	t.Parallel()
	m := New(Options{})
	all := plugin.StatusMetrics | plugin.LatencyMetrics | plugin.BandwidthMetrics
	for range 3 {
		m.Observe(exchange("r", "s"), all)
	}
	refused := exchange("r", "s")
	refused.Response.Status, refused.Response.Source = 429, plugin.FromGate
	m.Observe(refused, all)
	bob := exchange("r", "")
	bob.Consumer = &plugin.Consumer{Username: "bob"}
	m.Observe(bob, plugin.StatusMetrics|plugin.PerConsumer)
	m.Observe(bob, plugin.StatusMetrics)
	const r = `service="s",route="r"`
	check(t, scrape(t, m), map[string]int64{
		`kong_http_requests_total{` + r + `,code="200",source="service",workspace="default",consumer=""}`:               3,
		`kong_http_requests_total{` + r + `,code="429",source="kong",workspace="default",consumer=""}`:                  1,
		`kong_http_requests_total{service="",route="r",code="200",source="service",workspace="default",consumer="bob"}`: 1,
		`kong_http_requests_total{service="",route="r",code="200",source="service",workspace="default",consumer=""}`:    1,
		`kong_bandwidth_bytes{` + r + `,direction="ingress",workspace="default",consumer=""}`:                           400,
		`kong_bandwidth_bytes{` + r + `,direction="egress",workspace="default",consumer=""}`:                            1200,
		`kong_kong_latency_ms_bucket{` + r + `,workspace="default",le="2"}`:                                             0,
		`kong_kong_latency_ms_bucket{` + r + `,workspace="default",le="5"}`:                                             4,
		`kong_kong_latency_ms_bucket{` + r + `,workspace="default",le="+Inf"}`:                                          4,
		`kong_kong_latency_ms_sum{` + r + `,workspace="default"}`:                                                       12,
		`kong_kong_latency_ms_count{` + r + `,workspace="default"}`:                                                     4,
		`kong_upstream_latency_ms_bucket{` + r + `,workspace="default",le="25"}`:                                        4,
		`kong_upstream_latency_ms_sum{` + r + `,workspace="default"}`:                                                   80,
		`kong_request_latency_ms_bucket{` + r + `,workspace="default",le="25"}`:                                         0,
		`kong_request_latency_ms_bucket{` + r + `,workspace="default",le="50"}`:                                         4,
		`kong_request_latency_ms_sum{` + r + `,workspace="default"}`:                                                    112,
	})
}

func TestCountsOnlyWhatIsAsked(t *testing.T) {
	t.Parallel()
	m := New(Options{})
	m.Observe(exchange("r", "s"), 0)
	unmatched := exchange("r", "s")
	unmatched.Route = nil
	m.Observe(unmatched, plugin.StatusMetrics|plugin.LatencyMetrics|plugin.BandwidthMetrics)
	text := string(m.Append(nil))
	for _, name := range []string{"kong_http_requests_total", "kong_bandwidth_bytes", "latency_ms", "kong_upstream_target_health"} {
		if strings.Contains(text, name) {
			t.Errorf("%s is exported", name)
		}
	}
	m.Observe(exchange("r", "s"), plugin.StatusMetrics)
	if text := string(m.Append(nil)); strings.Contains(text, "kong_bandwidth_bytes") {
		t.Error("bandwidth is exported with status alone")
	}
	if text := string(m.Append(nil)); strings.Contains(text, "kong_upstream_latency") {
		t.Error("latency is exported with status alone")
	}
}

func TestAnAnswerOfTheGateHasNoUpstreamLatency(t *testing.T) {
	t.Parallel()
	m := New(Options{})
	x := exchange("r", "s")
	x.Times.Proxied, x.Times.FirstByte = time.Time{}, time.Time{}
	m.Observe(x, plugin.LatencyMetrics)
	got := scrape(t, m)
	check(t, got, map[string]int64{`kong_kong_latency_ms_sum{service="s",route="r",workspace="default"}`: 28})
	if _, ok := got[`kong_upstream_latency_ms_count{service="s",route="r",workspace="default"}`]; ok {
		t.Error("an upstream latency is exported")
	}
}

func TestCallsToModels(t *testing.T) {
	t.Parallel()
	m := New(Options{})
	x := exchange("r", "s")
	m.Observe(x, plugin.AIMetrics)
	for range 2 {
		x.Model = plugin.ModelUse{Provider: "openai", Name: "gpt", PromptTokens: 3, CompletionTokens: 4, Cost: 0.5, Latency: 600 * time.Millisecond}
		m.Observe(x, plugin.AIMetrics)
	}
	x.Model = plugin.ModelUse{Provider: "cohere", Name: "c"}
	m.Observe(x, plugin.AIMetrics)
	m.Observe(x, plugin.StatusMetrics)
	const labels, end = `ai_provider="openai",ai_model="gpt",cache_status="",vector_db="",embeddings_provider="",embeddings_model=""`, `,workspace="default"`
	check(t, scrape(t, m), map[string]int64{
		"kong_ai_llm_requests_total{" + labels + end + "}":                                                                                                 2,
		"kong_ai_llm_cost_total{" + labels + end + "}":                                                                                                     1,
		"kong_ai_llm_tokens_total{" + labels + `,token_type="prompt_tokens"` + end + "}":                                                                   6,
		"kong_ai_llm_tokens_total{" + labels + `,token_type="completion_tokens"` + end + "}":                                                               8,
		"kong_ai_llm_tokens_total{" + labels + `,token_type="total_tokens"` + end + "}":                                                                    14,
		"kong_ai_llm_provider_latency_ms_bucket{" + labels + end + `,le="500"}`:                                                                            0,
		"kong_ai_llm_provider_latency_ms_bucket{" + labels + end + `,le="1000"}`:                                                                           2,
		"kong_ai_llm_provider_latency_ms_sum{" + labels + end + "}":                                                                                        1200,
		`kong_ai_llm_requests_total{ai_provider="cohere",ai_model="c",cache_status="",vector_db="",embeddings_provider="",embeddings_model=""` + end + "}": 1,
	})
	if text := string(m.Append(nil)); strings.Contains(text, `kong_ai_llm_tokens_total{ai_provider="cohere"`) {
		t.Error("a model without tokens has a series of them")
	}
}

func TestNodeSeriesAreAlwaysThere(t *testing.T) {
	t.Parallel()
	up := true
	m := New(Options{
		NodeID: "n1", Version: "0.1.0",
		Counts: func() Traffic {
			return Traffic{Accepted: 5, Handled: 5, Requests: 9, Active: 2, Waiting: 1, Writing: 1}
		},
		Targets: func() []Target {
			return []Target{{Upstream: "u", Target: "t.test:80", Address: "10.0.0.1:80", State: "healthy"}}
		},
		Store: func() bool { return up },
	})
	const node = `node_id="n1",subsystem="http"`
	check(t, scrape(t, m), map[string]int64{
		`kong_nginx_connections_total{` + node + `,state="accepted"}`:                      5,
		`kong_nginx_connections_total{` + node + `,state="waiting"}`:                       1,
		`kong_nginx_connections_total{` + node + `,state="total"}`:                         9,
		`kong_nginx_requests_total{` + node + `}`:                                          9,
		`kong_datastore_reachable`:                                                         1,
		`kong_node_info{node_id="n1",version="3.9.1"}`:                                     1,
		`sekifuda_build_info{node_id="n1",version="0.1.0",go="` + runtime.Version() + `"}`: 1,
		`kong_nginx_metric_errors_total`:                                                   0,
		`kong_nginx_timers{state="pending"}`:                                               0,
	})
	for _, prefix := range []string{
		`kong_memory_workers_lua_vms_bytes{node_id="n1",pid="`, `kong_memory_lua_shared_dict_bytes{node_id="n1",shared_dict="kong",`,
		`kong_memory_lua_shared_dict_total_bytes{node_id="n1",shared_dict="kong",`, `kong_nginx_timers{state="running"}`,
	} {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(positive(scrape(t, m)))), func(k string) bool { return strings.HasPrefix(k, prefix) }) {
			t.Errorf("%s… is not there, or not above zero", prefix)
		}
	}
	up = false
	m.Enable(plugin.UpstreamHealthMetrics)
	const target = `kong_upstream_target_health{upstream="u",target="t.test:80",address="10.0.0.1:80",`
	check(t, scrape(t, m), map[string]int64{
		`kong_datastore_reachable`:                            0,
		target + `state="healthy",subsystem="http"}`:          1,
		target + `state="unhealthy",subsystem="http"}`:        0,
		target + `state="dns_error",subsystem="http"}`:        0,
		target + `state="healthchecks_off",subsystem="http"}`: 0,
	})
}

func positive(values map[string]int64) map[string]int64 {
	maps.DeleteFunc(values, func(_ string, n int64) bool { return n <= 0 })
	return values
}

// TestBucketsAreKongs has a value on each bound and one above it.
func TestBucketsAreKongs(t *testing.T) {
	t.Parallel()
	for name, bounds := range map[string][]int64{
		"kong_kong_latency_ms":     {1, 2, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500, 750, 1000, 3000, 6000},
		"kong_upstream_latency_ms": {25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000},
		"kong_request_latency_ms":  {25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000},
	} {
		m := New(Options{})
		for _, bound := range bounds {
			for _, ms := range []int64{bound, bound + 1} {
				x, span := exchange("r", "s"), time.Duration(ms)*time.Millisecond
				start := x.Times.Start
				x.Times.Proxied, x.Times.FirstByte, x.Times.End = start.Add(span), start.Add(2*span), start.Add(span)
				m.Observe(x, plugin.LatencyMetrics)
			}
		}
		const labels = `_bucket{service="s",route="r",workspace="default",le="`
		want := map[string]int64{name + labels + `+Inf"}`: int64(2 * len(bounds))}
		for _, bound := range bounds {
			below := int64(0)
			for _, other := range bounds {
				if other <= bound {
					below++
				}
				if other+1 <= bound {
					below++
				}
			}
			want[fmt.Sprint(name, labels, bound, `"}`)] = below
		}
		got := scrape(t, m)
		check(t, got, want)
		buckets := 0
		for key := range got {
			if strings.HasPrefix(key, name+"_bucket") {
				buckets++
			}
		}
		if buckets != len(want) {
			t.Errorf("%s has %d buckets, want %d", name, buckets, len(want))
		}
	}
}

// TestStatusesAreBounded has an upstream answer every status that three digits allow.
func TestStatusesAreBounded(t *testing.T) {
	t.Parallel()
	m := New(Options{})
	for status := 100; status < 1000; status++ {
		x := exchange("r", "s")
		x.Response.Status = status
		m.Observe(x, plugin.StatusMetrics)
	}
	got, series := scrape(t, m), int64(0)
	for key := range got {
		if strings.HasPrefix(key, "kong_http_requests_total") {
			series++
		}
	}
	if series != maxAnswers || got["kong_nginx_metric_errors_total"] != 900-maxAnswers {
		t.Errorf("%d series and %d errors, want %d and %d", series, got["kong_nginx_metric_errors_total"], maxAnswers, 900-maxAnswers)
	}
}

func TestLabelsFallBackAsKongs(t *testing.T) {
	t.Parallel()
	m := New(Options{})
	x := exchange("", "")
	x.Route = &plugin.Route{ID: "route-id"}
	x.Service = &plugin.Service{ID: "service-id", Host: "api.test"}
	x.Consumer = &plugin.Consumer{ID: "consumer-id", CustomID: "custom"}
	m.Observe(x, plugin.StatusMetrics|plugin.PerConsumer)
	check(t, scrape(t, m), map[string]int64{
		`kong_http_requests_total{service="api.test",route="route-id",code="200",source="service",workspace="default",consumer=""}`: 1,
	})
}

func TestSeriesAreBounded(t *testing.T) {
	t.Parallel()
	m := New(Options{MaxSeries: 2})
	for i := range 5 {
		m.Observe(exchange(fmt.Sprint("r", i), "s"), plugin.StatusMetrics|plugin.LatencyMetrics)
	}
	m.Observe(exchange("r0", "s"), plugin.StatusMetrics)
	check(t, scrape(t, m), map[string]int64{
		`kong_nginx_metric_errors_total`: 6,
		`kong_http_requests_total{service="s",route="r0",code="200",source="service",workspace="default",consumer=""}`: 2,
	})
}

func TestNoCountIsLost(t *testing.T) {
	t.Parallel()
	const workers, each = 8, 2000
	m := New(Options{})
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			x := exchange("r", "s")
			for i := range each {
				x.Response.Status = 200 + (i+w)%5
				m.Observe(x, plugin.StatusMetrics|plugin.BandwidthMetrics|plugin.LatencyMetrics)
				if i%500 == 0 {
					m.Append(nil)
				}
			}
		})
	}
	wg.Wait()
	got, sum := scrape(t, m), int64(0)
	for key, n := range got {
		if strings.HasPrefix(key, "kong_http_requests_total") {
			sum += n
		}
	}
	if sum != workers*each {
		t.Errorf("counted %d, want %d", sum, workers*each)
	}
	check(t, got, map[string]int64{`kong_request_latency_ms_count{service="s",route="r",workspace="default"}`: workers * each})
}

func TestServes(t *testing.T) {
	t.Parallel()
	m := New(Options{})
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	body, _ := io.ReadAll(w.Result().Body)
	if w.Code != 200 || w.Header().Get("Content-Type") != "text/plain; charset=UTF-8" || !strings.Contains(string(body), "kong_node_info") {
		t.Errorf("GET = %d %v %.80s", w.Code, w.Header(), body)
	}
	w = httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest("HEAD", "/metrics", nil))
	if w.Body.Len() != 0 {
		t.Error("HEAD has a body")
	}
}

func TestObserveDoesNotAllocate(t *testing.T) {
	m := New(Options{})
	x := exchange("r", "s")
	x.Consumer = &plugin.Consumer{Username: "bob"}
	set := plugin.StatusMetrics | plugin.LatencyMetrics | plugin.BandwidthMetrics | plugin.PerConsumer
	m.Observe(x, set)
	if n := testing.AllocsPerRun(100, func() { m.Observe(x, set) }); n != 0 {
		t.Errorf("Observe allocates %v times, want 0", n)
	}
}

func FuzzLabels(f *testing.F) {
	f.Add("a\"b\\c\nd", "s")
	f.Add("\xff", "")
	f.Fuzz(func(t *testing.T, route, service string) {
		m := New(Options{NodeID: service})
		m.Observe(exchange(route, service), plugin.StatusMetrics|plugin.LatencyMetrics)
		scrape(t, m)
	})
}

func BenchmarkObserve(b *testing.B) {
	m := New(Options{})
	x := exchange("r", "s")
	b.ReportAllocs()
	for b.Loop() {
		m.Observe(x, plugin.StatusMetrics|plugin.LatencyMetrics|plugin.BandwidthMetrics)
	}
}

func BenchmarkScrape10000Series(b *testing.B) {
	m := New(Options{})
	for i := range 10000 {
		m.Observe(exchange(fmt.Sprint("route-", i), fmt.Sprint("service-", i%100)), plugin.StatusMetrics)
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = m.Append(buf[:0])
	}
	b.ReportMetric(float64(len(buf)), "bytes")
}

// BenchmarkScrapeLarge scrapes what 10,000 routes and as many consumers come to: as far as the
// bound of series goes, and with histograms for each route.
func BenchmarkScrapeLarge(b *testing.B) {
	for _, c := range []struct {
		name string
		set  plugin.MetricSet
	}{
		{"status", plugin.StatusMetrics},
		{"status and bandwidth by consumer", plugin.StatusMetrics | plugin.BandwidthMetrics | plugin.PerConsumer},
		{"status and latency", plugin.StatusMetrics | plugin.LatencyMetrics},
	} {
		b.Run(c.name, func(b *testing.B) {
			m := New(Options{})
			for i := range 10_000 {
				for k := range 10 {
					x := exchange(fmt.Sprint("route-", i), fmt.Sprint("service-", i%100))
					x.Consumer = &plugin.Consumer{Username: fmt.Sprint("consumer-", (i*10+k)%10_000)}
					m.Observe(x, c.set)
				}
			}
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				buf = m.Append(buf[:0])
			}
			b.ReportMetric(float64(len(buf)), "bytes")
		})
	}
}
