package ops

import (
	"strings"
	"testing"
	"time"
)

func TestThresholdsFiles(t *testing.T) {
	t.Parallel()
	got, err := ParseThresholds([]byte("error_rate_percent: {critical: 7}\nmemory_percent:\n  warning: 70\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got["error_rate_percent"] != (Threshold{5, 7}) || got["memory_percent"] != (Threshold{70, 90}) || got["active_connections"] != (Threshold{100, 200}) {
		t.Errorf("thresholds = %v", got)
	}
	for text, want := range map[string]string{
		"errors: {warning: 1}":                       "errors: no such measure",
		"memory_percent: {warning: 99}":              "warning 99 comes after critical 90",
		"memory_percent: much":                       "cannot unmarshal",
		"error_rate_percent: {critical: [1]}":        "cannot unmarshal",
		"memory_percent: {warning: 1, critical: 0.5": "yaml",
	} {
		if _, err := ParseThresholds([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseThresholds(%q) = %v, want %q", text, err, want)
		}
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	at := time.Unix(1000, 0)
	series := func(text string) []Series {
		s, err := parseSeries([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return []Series{s}
	}
	before := &Reading{At: at, Database: true, Nodes: series(`kong_http_requests_total{code="200"} 100
kong_http_requests_total{code="503"} 10
sekifuda_refused_total{reason="over-minute"} 5
sekifuda_refused_total{reason="no-key"} 5
kong_request_latency_ms_bucket{le="25"} 100
kong_request_latency_ms_bucket{le="700"} 100
kong_request_latency_ms_bucket{le="+Inf"} 100
`)}
	after := &Reading{At: at.Add(30 * time.Second), Database: true, AdminTook: 600 * time.Millisecond, Active: 201, Nodes: series(`# HELP x y
kong_http_requests_total{code="200"} 180
kong_http_requests_total{code="503"} 30
sekifuda_refused_total{reason="over-minute"} 65
sekifuda_refused_total{reason="no-key"} 5
sekifuda_limits_store_down{store="shared"} 1
sekifuda_process_resident_bytes 85
sekifuda_memory_limit_bytes 100
kong_request_latency_ms_bucket{le="25"} 150
kong_request_latency_ms_bucket{le="700"} 200
kong_request_latency_ms_bucket{le="+Inf"} 200
`)}
	found := map[string]Finding{}
	for _, f := range Judge(after, before, Defaults()) {
		found[f.Name] = f
	}
	for name, want := range map[string]Finding{
		"database":                 {Level: OK, Text: "database: reachable"},
		"admin_response_ms":        {Level: Warning, Text: "Admin API response time: 600ms (warning: >500ms)"},
		"active_connections":       {Level: Critical, Text: "active connections: 201 (critical: >200)"},
		"memory_percent":           {Level: Warning, Text: "memory: 85% (warning: >80%)"},
		"redis":                    {Level: Critical, Text: "the store of shared limits is away; nodes keep to shares of the limits"},
		"error_rate_percent":       {Level: Critical, Text: "answers with 5xx: 20% (critical: >10%)"},
		"rate_limited_per_minute":  {Level: Warning, Text: "requests over a limit in a minute: 120 (warning: >100)"},
		"auth_failures_per_minute": {Level: OK, Text: "failed authentications in a minute: 0"},
		"request_latency_ms":       {Level: Warning, Text: "95th percentile of requests: 700ms (warning: >500ms)"},
	} {
		if got := found[name]; got.Level != want.Level || got.Text != want.Text {
			t.Errorf("%s: %v %q, want %v %q", name, got.Level, got.Text, want.Level, want.Text)
		}
	}
	for _, f := range Judge(before, nil, Defaults()) {
		if strings.HasSuffix(f.Name, "per_minute") {
			t.Errorf("a single reading tells a rate: %v", f)
		}
	}
}
