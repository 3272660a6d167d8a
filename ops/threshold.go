package ops

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Level is how bad something is.
type Level int

// The levels. A command that reports them exits with their number.
const (
	OK Level = iota
	Warning
	Critical
)

func (l Level) String() string { return [...]string{"OK", "WARNING", "CRITICAL"}[l] }

// Threshold is from where a measure is bad.
type Threshold struct {
	Warning  float64 `yaml:"warning" json:"warning"`
	Critical float64 `yaml:"critical" json:"critical"`
}

// Measure is something that is measured.
type Measure struct {
	Name    string // key in a thresholds file
	Title   string
	Unit    string
	Below   bool // bad when it falls, not when it rises
	Default Threshold
	// Query is the measure for Prometheus; "" when it cannot be asked there.
	Query string
	// Runbook is what to do when it is bad.
	Runbook string
}

// Measures are all measures, in the order in which they are reported. The defaults are the
// operations guide's where it has them.
var Measures = []Measure{
	{
		Name: "admin_response_ms", Title: "Admin API response time", Unit: "ms", Default: Threshold{500, 1000},
		Runbook: "The desk is slow. Look at PostgreSQL first (`/status` tells whether it is reachable, `pg_stat_activity` what it does), then at the load of the machine. Nodes do not depend on it: traffic goes on.",
	},
	{
		Name: "proxy_response_ms", Title: "proxy response time", Unit: "ms", Default: Threshold{500, 1000},
		Runbook: "The gate is slow though no upstream is asked. Look at the CPU and memory of the node, then at its log. If one node of many is slow, take it out of the load balancer and drain it.",
	},
	{
		Name: "request_latency_ms", Title: "95th percentile of requests", Unit: "ms", Default: Threshold{500, 1000},
		Query:   `histogram_quantile(0.95, sum by (le) (rate(kong_request_latency_ms_bucket[5m])))`,
		Runbook: "Clients wait. Compare `kong_upstream_latency_ms` with `kong_kong_latency_ms`: if it is the upstream, look there, or lower its share; if it is the gate, see proxy_response_ms.",
	},
	{
		Name: "error_rate_percent", Title: "answers with 5xx", Unit: "%", Default: Threshold{5, 10},
		Query:   `100 * sum(rate(kong_http_requests_total{code=~"5.."}[5m])) / sum(rate(kong_http_requests_total[5m]))`,
		Runbook: "Answers with 5xx. `seki explain` lists what the gate answered itself, with reasons; what the upstream answered is in the access log. If it began with a change, `seki log` shows it and `seki revert REV` or `seki rollback GROUP` takes it back.",
	},
	{
		Name: "active_connections", Title: "active connections", Unit: "", Default: Threshold{100, 200},
		Query:   `sum(kong_nginx_connections_total{state="active"})`,
		Runbook: "More connections than expected. Look at `seki monitor` for what rises with it; slow upstreams hold connections. Raise the threshold if this is the new normal.",
	},
	{
		Name: "memory_percent", Title: "memory", Unit: "%", Default: Threshold{80, 90},
		Query:   `100 * max(sekifuda_process_resident_bytes / sekifuda_memory_limit_bytes)`,
		Runbook: "The process nears its limit. Look at open streams and body sizes; a node may be restarted at any time, it comes back with its last snapshot.",
	},
	{
		Name: "auth_failures_per_minute", Title: "failed authentications in a minute", Unit: "", Default: Threshold{10, 100},
		Query:   refusedPerMinute(authFailures),
		Runbook: "Somebody tries keys, or a client lost its own. `seki explain` lists who: if it is one address, refuse it with ip-restriction; if it is one client, give it a new key.",
	},
	{
		Name: "rate_limited_per_minute", Title: "requests over a limit in a minute", Unit: "", Default: Threshold{100, 1000},
		Query:   refusedPerMinute(limitHits),
		Runbook: "Clients run into limits. `seki explain` lists which. If they are right, raise `config.minute` of the plugin: it acts at once on the counts that are there.",
	},
	{
		Name: "foreign_addresses_per_minute", Title: "requests from refused addresses in a minute", Unit: "", Default: Threshold{10, 100},
		Query:   refusedPerMinute(foreignAddresses),
		Runbook: "Requests from addresses that are not allowed. If they come through a proxy of yours, set `--trusted-ips`; otherwise the gate does what it should.",
	},
	{
		Name: "oversize_per_minute", Title: "requests that are too large in a minute", Unit: "", Default: Threshold{10, 100},
		Query:   refusedPerMinute(oversize),
		Runbook: "Bodies above the limit. A client that uploads more than is allowed, or somebody who tries: `seki explain` lists them.",
	},
}

// State is something that is well or not, as Prometheus sees it.
type State struct {
	Name, Title, Severity, Query, Runbook string
}

// States are what alerts beside the measures.
var States = []State{
	{
		"node_away", "a node does not answer", "critical", `up{job="sekifuda"} == 0`,
		"The process is gone or cannot be reached. systemd, compose and Kubernetes start it again; it comes back with its last snapshot. Its log says why it ended.",
	},
	{
		"database_away", "a node does not reach its source of configuration", "warning", "kong_datastore_reachable == 0",
		"Nothing can be changed, but nodes serve what they have, also after a restart. Look at the control plane, then at PostgreSQL.",
	},
	{
		"redis_away", "shared limits are decided without their store", "critical", "max by (store) (sekifuda_limits_store_down) == 1",
		"Each node keeps to its share of what was left, as config.outage says. Bring Redis back; nodes find it by themselves and charge what they admitted meanwhile.",
	},
	{
		"target_unhealthy", "a target is not healthy", "warning", `kong_upstream_target_health{state=~"unhealthy|dns_error"} == 1`,
		"`/upstreams/NAME/health` shows all targets. Look at the target itself; it is taken back when its checks pass.",
	},
}

// The reasons that measures are made of; a word that ends in "-" is a beginning.
var (
	authFailures = []string{
		"no-key", "unknown-key", "two-keys", "no-credentials", "unknown-name", "wrong-password", "no-token", "bad-token",
		"two-tokens", "wrong-signature", "wrong-algorithm", "wrong-time", "wrong-date", "no-signature", "no-secret", "no-key-claim",
	}
	limitHits        = []string{"over-", "limit-spent"}
	foreignAddresses = []string{"ip-not-allowed", "ip-denied"}
	oversize         = []string{"body-too-large"}
)

func refusedPerMinute(reasons []string) string {
	match := make([]string, len(reasons))
	for i, r := range reasons {
		if match[i] = r; strings.HasSuffix(r, "-") {
			match[i] += ".*"
		}
	}
	return `60 * sum(rate(sekifuda_refused_total{reason=~"` + strings.Join(match, "|") + `"}[5m]))`
}

// Thresholds are the thresholds of measures by name.
type Thresholds map[string]Threshold

// Defaults returns the thresholds of all measures.
func Defaults() Thresholds {
	t := make(Thresholds, len(Measures))
	for _, m := range Measures {
		t[m.Name] = m.Default
	}
	return t
}

// ParseThresholds reads a YAML file of measures; those that it does not name keep their
// defaults. What it says of a measure that there is not is an error.
func ParseThresholds(raw []byte) (Thresholds, error) {
	var file map[string]struct {
		Warning, Critical *float64
	}
	if err := yaml.Unmarshal(raw, &file); err != nil {
		return nil, err
	}
	all := Defaults()
	for _, name := range slices.Sorted(maps.Keys(file)) {
		t, ok := all[name]
		if !ok {
			return nil, fmt.Errorf("%s: no such measure; there are %s", name, strings.Join(slices.Sorted(maps.Keys(all)), ", "))
		}
		if w := file[name].Warning; w != nil {
			t.Warning = *w
		}
		if c := file[name].Critical; c != nil {
			t.Critical = *c
		}
		if below := measure(name).Below; t.Warning > t.Critical && !below || t.Warning < t.Critical && below {
			return nil, fmt.Errorf("%s: warning %v comes after critical %v", name, t.Warning, t.Critical)
		}
		all[name] = t
	}
	return all, nil
}

func measure(name string) *Measure {
	i := slices.IndexFunc(Measures, func(m Measure) bool { return m.Name == name })
	return &Measures[i]
}

// Finding is one thing that was looked at.
type Finding struct {
	Name  string  `json:"name"`
	Level Level   `json:"-"`
	Is    string  `json:"level"`
	Text  string  `json:"text"`
	Value float64 `json:"value"`
}

func finding(name string, level Level, value float64, format string, args ...any) Finding {
	return Finding{Name: name, Level: level, Is: level.String(), Text: fmt.Sprintf(format, args...), Value: value}
}

// judge compares a measured value.
func (t Thresholds) judge(name string, v float64) Finding {
	m, limit := measure(name), t[name]
	worse := func(bound float64) bool {
		if m.Below {
			return v < bound
		}
		return v > bound
	}
	sign := ">"
	if m.Below {
		sign = "<"
	}
	switch {
	case worse(limit.Critical):
		return finding(name, Critical, v, "%s: %s%s (critical: %s%s%s)", m.Title, number(v), m.Unit, sign, number(limit.Critical), m.Unit)
	case worse(limit.Warning):
		return finding(name, Warning, v, "%s: %s%s (warning: %s%s%s)", m.Title, number(v), m.Unit, sign, number(limit.Warning), m.Unit)
	}
	return finding(name, OK, v, "%s: %s%s", m.Title, number(v), m.Unit)
}

func number(v float64) string {
	if v == float64(int64(v)) {
		return fmt.Sprint(int64(v))
	}
	return fmt.Sprintf("%.1f", v)
}

// Worst is the worst level of findings.
func Worst(all []Finding) (worst Level) {
	for _, f := range all {
		worst = max(worst, f.Level)
	}
	return worst
}
