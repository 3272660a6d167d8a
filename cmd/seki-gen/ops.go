package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"gopkg.in/yaml.v3"

	"github.com/sekifuda/sekifuda/ops"
)

const made = "Made by seki-gen from ops/threshold.go. Do not edit."

// operations makes what watches an installation from the measures that the code knows: alert
// rules for Prometheus, a dashboard for Grafana, and a page of what to do.
func operations(root string) error {
	rules, err := alertRules()
	if err != nil {
		return err
	}
	board, err := dashboard()
	if err != nil {
		return err
	}
	for path, text := range map[string][]byte{
		"deploy/prometheus/alerts.yaml":   rules,
		"deploy/grafana/sekifuda.json":    board,
		"docs/reference/runbooks.md":      runbooks(),
		"deploy/examples/thresholds.yaml": thresholds(),
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func alertRules() ([]byte, error) {
	var rules []rule
	for _, m := range ops.Measures {
		if m.Query == "" {
			continue
		}
		for _, level := range []struct {
			name  string
			bound float64
		}{{"warning", m.Default.Warning}, {"critical", m.Default.Critical}} {
			rules = append(rules, rule{
				Alert: camel(m.Name) + camel(level.name), Expr: fmt.Sprintf("(%s) > %v", m.Query, level.bound), For: "1m",
				Labels: map[string]string{"severity": level.name},
				Annotations: map[string]string{
					"summary": m.Title + `: {{ printf "%.1f" $value }}` + m.Unit, "runbook_url": "docs/reference/runbooks.md#" + m.Name,
				},
			})
		}
	}
	for _, s := range ops.States {
		rules = append(rules, rule{
			Alert: camel(s.Name), Expr: s.Query, For: "1m", Labels: map[string]string{"severity": s.Severity},
			Annotations: map[string]string{"summary": s.Title, "runbook_url": "docs/reference/runbooks.md#" + s.Name},
		})
	}
	var b bytes.Buffer
	b.WriteString("# " + made + "\n")
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	err := e.Encode(map[string]any{"groups": []map[string]any{{"name": "sekifuda", "rules": rules}}})
	return b.Bytes(), err
}

// camel makes AdminResponseMs of admin_response_ms.
func camel(name string) string {
	var b []byte
	up := true
	for _, c := range []byte(name) {
		switch {
		case c == '_':
			up = true
			continue
		case up && c >= 'a' && c <= 'z':
			c -= 'a' - 'A'
		}
		up = false
		b = append(b, c)
	}
	return string(b)
}

func runbooks() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "<!-- %s -->\n# Runbooks\n\nWhat each alert means and what to do. `seki doctor` makes the same checks, `seki monitor` watches them.\n", made)
	for _, m := range ops.Measures {
		fmt.Fprintf(&b, "\n## %s\n\n**%s**, warning above %v%s, critical above %v%s.\n\n%s\n", m.Name, m.Title, m.Default.Warning, m.Unit, m.Default.Critical, m.Unit, m.Runbook)
	}
	for _, s := range ops.States {
		fmt.Fprintf(&b, "\n## %s\n\n**%s**\n\n%s\n", s.Name, s.Title, s.Runbook)
	}
	return b.Bytes()
}

func thresholds() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\n# Thresholds of seki monitor and seki doctor (--thresholds). What a file does not name keeps its default.\n", made)
	for _, m := range ops.Measures {
		fmt.Fprintf(&b, "%s: {warning: %v, critical: %v} # %s\n", m.Name, m.Default.Warning, m.Default.Critical, m.Title)
	}
	return b.Bytes()
}

// panel is one graph of the dashboard: a title, a unit of Grafana's, and queries with legends.
type panel struct {
	title, unit string
	queries     [][2]string
}

var panels = []panel{
	{"Requests by status", "reqps", [][2]string{{`sum by (code) (rate(kong_http_requests_total[1m]))`, "{{code}}"}}},
	{"Requests by route", "reqps", [][2]string{{`topk(10, sum by (route) (rate(kong_http_requests_total[1m])))`, "{{route}}"}}},
	{"Latency of requests", "ms", [][2]string{
		{`histogram_quantile(0.5, sum by (le) (rate(kong_request_latency_ms_bucket[5m])))`, "p50"},
		{`histogram_quantile(0.95, sum by (le) (rate(kong_request_latency_ms_bucket[5m])))`, "p95"},
		{`histogram_quantile(0.99, sum by (le) (rate(kong_request_latency_ms_bucket[5m])))`, "p99"},
	}},
	{"Latency that the gate adds", "ms", [][2]string{{`histogram_quantile(0.99, sum by (le) (rate(kong_kong_latency_ms_bucket[5m])))`, "p99"}}},
	{"Refused, by reason", "reqps", [][2]string{{`sum by (reason) (rate(sekifuda_refused_total[1m]))`, "{{reason}}"}}},
	{"Connections", "short", [][2]string{{`sum by (state) (kong_nginx_connections_total{state=~"active|reading|writing|waiting"})`, "{{state}}"}}},
	{"Bandwidth", "Bps", [][2]string{{`sum by (direction) (rate(kong_bandwidth_bytes[1m]))`, "{{direction}}"}}},
	{"Memory", "bytes", [][2]string{{`sekifuda_process_resident_bytes`, "{{instance}}"}, {`sekifuda_memory_limit_bytes`, "limit {{instance}}"}}},
	{"Shared limits", "ops", [][2]string{
		{`sum(rate(sekifuda_limits_calls_total[1m]))`, "calls to Redis"}, {`sum(rate(sekifuda_limits_questions_total[1m]))`, "leases asked for"},
		{`max(sekifuda_limits_store_down)`, "store away"},
	}},
	{"Targets that are not healthy", "short", [][2]string{{`sum by (upstream) (kong_upstream_target_health{state=~"unhealthy|dns_error"})`, "{{upstream}}"}}},
}

func dashboard() ([]byte, error) {
	var list []map[string]any
	for i, p := range panels {
		var targets []map[string]any
		for k, q := range p.queries {
			targets = append(targets, map[string]any{"expr": q[0], "legendFormat": q[1], "refId": string(rune('A' + k))})
		}
		list = append(list, map[string]any{
			"id": i + 1, "type": "timeseries", "title": p.title, "targets": targets,
			"datasource":  map[string]string{"type": "prometheus", "uid": "${datasource}"},
			"gridPos":     map[string]int{"x": 12 * (i % 2), "y": 8 * (i / 2), "w": 12, "h": 8},
			"fieldConfig": map[string]any{"defaults": map[string]any{"unit": p.unit}, "overrides": []any{}},
		})
	}
	raw, err := json.MarshalIndent(map[string]any{
		"title": "Sekifuda", "uid": "sekifuda", "schemaVersion": 39, "refresh": "10s", "editable": true, "description": made,
		"time": map[string]string{"from": "now-1h", "to": "now"}, "panels": list,
		"templating": map[string]any{"list": []map[string]any{{"name": "datasource", "type": "datasource", "query": "prometheus"}}},
	}, "", "  ")
	return append(raw, '\n'), err
}
