// Package doctor is the operations guide's checklists as checks: each looks at one thing of a
// running installation and says what to do when it is not well.
//
// It changes nothing: the requests that it sends to see whether plugins do what they say are ones
// that must be refused. It knows what package ops reads. Enter at Examine.
package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/sekifuda/sekifuda/ops"
)

// List is which checks are made: those of a list and of the shorter ones.
type List int

// The guide's three lists.
const (
	Daily List = iota
	Weekly
	Monthly
)

func (l List) String() string { return [...]string{"daily", "weekly", "monthly"}[l] }

// Verdict is how a check came out.
type Verdict struct {
	Check string    `json:"check"`
	List  string    `json:"list"`
	Level ops.Level `json:"-"`
	Is    string    `json:"level"` // OK, WARNING, CRITICAL or SKIPPED
	Text  string    `json:"text"`
	Fix   string    `json:"fix,omitempty"`
}

// Skipped is what a check is that has nothing to look at.
const Skipped = "SKIPPED"

// Options are what is examined.
type Options struct {
	Stack      *ops.Stack
	Thresholds ops.Thresholds
	Now        func() time.Time
	Backups    string // folder of backups; "": not looked at
	Logs       string // folder or file of logs whose size is looked at; "": not looked at
	DataDir    string // "": not looked at
	AlertLog   string // of seki monitor; "": not looked at
	// Between is the time between the two readings from which rates are made; 0: a second.
	Between time.Duration
}

// check is one line of a checklist.
type check struct {
	name string
	list List
	run  func(context.Context, *patient) result
}

// result is what a check saw.
type result struct {
	level ops.Level
	skip  bool
	text  string
	fix   string
}

func well(format string, args ...any) result { return result{text: fmt.Sprintf(format, args...)} }
func skip(format string, args ...any) result {
	return result{skip: true, text: fmt.Sprintf(format, args...)}
}

// ill makes a result that is not OK: what is wrong, and after it what to do.
func ill(level ops.Level, fix, format string, args ...any) result {
	return result{level: level, fix: fix, text: fmt.Sprintf(format, args...)}
}

// Examine makes the checks of a list, in order. A check that panics or fails is told as one that
// could not be made; the others are made all the same.
func Examine(ctx context.Context, o Options, list List) []Verdict {
	p := newPatient(ctx, o)
	var all []Verdict
	for _, c := range checks {
		if c.list > list {
			continue
		}
		r := c.run(ctx, p)
		v := Verdict{Check: c.name, List: c.list.String(), Level: r.level, Is: r.level.String(), Text: r.text, Fix: r.fix}
		if r.skip {
			v.Is = Skipped
		}
		all = append(all, v)
	}
	return all
}

// Worst is the worst level.
func Worst(all []Verdict) (worst ops.Level) {
	for _, v := range all {
		worst = max(worst, v.Level)
	}
	return worst
}

// checks are all checks, in the order of the guide's lists.
var checks = []check{
	{"admin-api", Daily, adminAnswers},
	{"admin-response-time", Daily, threshold("admin_response_ms")},
	{"database", Daily, finding("database", "bring PostgreSQL back: until then nothing can be changed, but nodes serve on")},
	{"proxy", Daily, proxyAnswers},
	{"proxy-response-time", Daily, threshold("proxy_response_ms")},
	{"nodes", Daily, nodesAnswer},
	{"nodes-current", Daily, nodesCurrent},
	{"nodes-refuse", Daily, nodesRefuse},
	{"nodes-one-version", Daily, nodesOneVersion},
	{"redis", Daily, finding("redis", "bring Redis back: until then each node keeps to its share of the limits")},
	{"control-plane-reached", Daily, finding("feed", "look at the control plane and the network between: the node serves what it has")},
	{"request-latency", Daily, threshold("request_latency_ms")},
	{"errors", Daily, threshold("error_rate_percent")},
	{"connections", Daily, threshold("active_connections")},
	{"memory", Daily, threshold("memory_percent")},
	{"auth-failures", Daily, threshold("auth_failures_per_minute")},
	{"limit-hits", Daily, threshold("rate_limited_per_minute")},
	{"foreign-addresses", Daily, threshold("foreign_addresses_per_minute")},
	{"oversize", Daily, threshold("oversize_per_minute")},
	{"alert-log", Daily, alertLog},
	{"targets", Daily, targetsHealthy},
	{"certificates", Daily, certificatesValid},

	{"backup", Weekly, backupFresh},
	{"performance", Weekly, performance},
	{"key-auth-works", Weekly, keyAuthWorks},
	{"basic-auth-works", Weekly, basicAuthWorks},
	{"jwt-works", Weekly, jwtWorks},
	{"bot-detection-works", Weekly, botDetectionWorks},
	{"ip-ranges", Weekly, ipRanges},
	{"size-limits", Weekly, sizeLimits},
	{"rate-limits", Weekly, rateLimits},
	{"unprotected-routes", Weekly, unprotectedRoutes},
	{"limited-routes", Weekly, limitedRoutes},
	{"disk", Weekly, diskSpace},
	{"log-size", Weekly, logSize},

	{"version", Monthly, versionKnown},
	{"unused-services", Monthly, unusedServices},
	{"routes-without-service", Monthly, routesWithoutService},
	{"disabled-plugins", Monthly, disabledPlugins},
	{"idle-consumers", Monthly, consumersWithoutCredentials},
	{"short-keys", Monthly, shortKeys},
	{"duplicate-routes", Monthly, duplicateRoutes},
	{"insecure-upstreams", Monthly, insecureUpstreams},
	{"admin-open", Monthly, adminOpen},
	{"keys-that-end", Monthly, keysThatEnd},
	{"limits-across-nodes", Monthly, limitsAcrossNodes},
	{"drill", Monthly, drillFresh},
}
