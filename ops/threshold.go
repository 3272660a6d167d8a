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
}

// Measures are all measures, in the order in which they are reported. The defaults are the
// operations guide's where it has them.
var Measures = []Measure{
	{"admin_response_ms", "Admin API response time", "ms", false, Threshold{500, 1000}, ""},
	{"proxy_response_ms", "proxy response time", "ms", false, Threshold{500, 1000}, ""},
	{
		"request_latency_ms", "95th percentile of requests", "ms", false, Threshold{500, 1000},
		`histogram_quantile(0.95, sum by (le) (rate(kong_request_latency_ms_bucket[5m])))`,
	},
	{
		"error_rate_percent", "answers with 5xx", "%", false, Threshold{5, 10},
		`100 * sum(rate(kong_http_requests_total{code=~"5.."}[5m])) / sum(rate(kong_http_requests_total[5m]))`,
	},
	{"active_connections", "active connections", "", false, Threshold{100, 200}, `sum(kong_nginx_connections_total{state="active"})`},
	{
		"memory_percent", "memory", "%", false, Threshold{80, 90},
		`100 * max(sekifuda_process_resident_bytes / sekifuda_memory_limit_bytes)`,
	},
	{"auth_failures_per_minute", "failed authentications in a minute", "", false, Threshold{10, 100}, refusedPerMinute(authFailures)},
	{"rate_limited_per_minute", "requests over a limit in a minute", "", false, Threshold{100, 1000}, refusedPerMinute(limitHits)},
	{"foreign_addresses_per_minute", "requests from refused addresses in a minute", "", false, Threshold{10, 100}, refusedPerMinute(foreignAddresses)},
	{"oversize_per_minute", "requests that are too large in a minute", "", false, Threshold{10, 100}, refusedPerMinute(oversize)},
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
