package ops

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/sekifuda/sekifuda/ops"
	"github.com/sekifuda/sekifuda/test/stack"
)

// TestAlertRules lets Prometheus' own tool read the alert rules and fire them: each must be silent
// below its threshold and loud above.
func TestAlertRules(t *testing.T) {
	t.Parallel()
	rules := filepath.Join(stack.Root(), "deploy/prometheus/alerts.yaml")
	if out, code := stack.Shell(t, nil, "promtool check rules "+rules); code != 0 || !strings.Contains(out, "SUCCESS: 20 rules found") {
		t.Fatalf("promtool check rules (test/setup.sh installs it): exit %d\n%s", code, out)
	}
	test := filepath.Join(t.TempDir(), "test.yaml")
	write := func(series, alert, want string) {
		t.Helper()
		if err := os.WriteFile(test, fmt.Appendf(nil, ruleTest, rules, series, alert, want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		alert, series, labels string
		fires                 bool
	}{
		{"ActiveConnectionsWarning", `kong_nginx_connections_total{state="active"} 101x20`, "severity: warning", true},
		{"ActiveConnectionsWarning", `kong_nginx_connections_total{state="active"} 100x20`, "severity: warning", false},
		{"ActiveConnectionsCritical", `kong_nginx_connections_total{state="active"} 201x20`, "severity: critical", true},
		{"AuthFailuresPerMinuteWarning", `sekifuda_refused_total{reason="no-key"} 0+11x20`, "severity: warning", true},
		{"AuthFailuresPerMinuteWarning", `sekifuda_refused_total{reason="over-minute"} 0+500x20`, "severity: warning", false},
		{"RateLimitedPerMinuteWarning", `sekifuda_refused_total{reason="over-minute"} 0+500x20`, "severity: warning", true},
		{"RedisAway", `sekifuda_limits_store_down{store="shared"} 1x20`, "severity: critical\n        store: shared", true},
		{"RedisAway", `sekifuda_limits_store_down{store="shared"} 0x20`, "severity: critical", false},
	} {
		series, values, _ := strings.Cut(c.series, "} ")
		want := ""
		if c.fires {
			want = "\n      - exp_labels:\n          " + strings.ReplaceAll(c.labels, "\n        ", "\n          ")
		}
		write(fmt.Sprintf("series: '%s}'\n    values: '%s'", series, values), c.alert, want)
		out, code := stack.Shell(t, nil, "promtool test rules "+test)
		// The tool compares annotations too, which are the measure's text; what is asked here is whether it fires.
		fired := strings.Contains(out, "Labels:{alertname=\""+c.alert+"\"") || code == 0 && c.fires
		if c.fires && !fired || !c.fires && code != 0 {
			t.Errorf("%s on %s: exit %d, want it to fire: %v\n%s", c.alert, c.series, code, c.fires, out)
		}
	}
}

const ruleTest = `rule_files: ['%s']
evaluation_interval: 1m
tests:
- interval: 1m
  input_series:
  - %s
  alert_rule_test:
  - eval_time: 15m
    alertname: %s
    exp_alerts: %s
`

// TestThresholdsFileIsTheDefaults holds the example to what the code says.
func TestThresholdsFileIsTheDefaults(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join(stack.Root(), "deploy/examples/thresholds.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var names map[string]any
	if err := yaml.Unmarshal(raw, &names); err != nil || len(names) != len(ops.Measures) {
		t.Errorf("the example has %d measures, %v, want %d", len(names), err, len(ops.Measures))
	}
	got, err := ops.ParseThresholds(raw)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range ops.Defaults() {
		if got[name] != want {
			t.Errorf("%s = %v, want %v", name, got[name], want)
		}
	}
}
