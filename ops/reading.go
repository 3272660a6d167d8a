package ops

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"
)

// Reading is an installation at a moment.
type Reading struct {
	At time.Time `json:"at"`

	AdminError string        `json:"admin_error,omitempty"` // why the Admin API does not answer
	AdminTook  time.Duration `json:"admin_took"`
	ProxyError string        `json:"proxy_error,omitempty"`
	ProxyTook  time.Duration `json:"proxy_took"`
	Database   bool          `json:"database_reachable"`
	Active     int           `json:"connections_active"`
	Total      int64         `json:"total_requests"`

	// Nodes are the series of the nodes that answered; Away is why others did not.
	Nodes []Series          `json:"-"`
	Away  map[string]string `json:"nodes_away,omitempty"`
}

// Read takes a reading. What does not answer is part of it, not an error.
func (s *Stack) Read(ctx context.Context) *Reading {
	r := &Reading{At: time.Now(), Away: map[string]string{}}
	r.readAdmin(ctx, s)
	_, _, took, err := s.Get(ctx, s.Proxy+"/")
	if r.ProxyTook = took; err != nil {
		r.ProxyError = err.Error()
	}
	for _, node := range s.Status {
		series, err := s.scrape(ctx, node)
		if err != nil {
			r.Away[node] = err.Error()
			continue
		}
		r.Nodes = append(r.Nodes, series)
	}
	return r
}

func (r *Reading) readAdmin(ctx context.Context, s *Stack) {
	status, body, took, err := s.Get(ctx, s.Admin+"/status")
	if r.AdminTook = took; err != nil {
		r.AdminError = err.Error()
		return
	}
	var answer struct {
		Database struct{ Reachable bool }
		Server   struct {
			ConnectionsActive int   `json:"connections_active"`
			TotalRequests     int64 `json:"total_requests"`
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil || status != http.StatusOK {
		r.AdminError = fmt.Sprintf("/status answers %d, which is no status", status)
		return
	}
	r.Database = answer.Database.Reachable
	r.Active, r.Total = answer.Server.ConnectionsActive, answer.Server.TotalRequests
}

// sum adds a series of all nodes up.
func (r *Reading) sum(name string, match func(labels string) bool) (v float64) {
	for _, n := range r.Nodes {
		v += n.Sum(name, match)
	}
	return v
}

// Judge judges a reading. Rates are against an earlier one; without it they are left out.
func Judge(r, before *Reading, t Thresholds) (all []Finding) {
	if r.AdminError != "" {
		all = append(all, finding("admin", Critical, 0, "Admin API does not answer: %s", r.AdminError))
	} else {
		if !r.Database {
			all = append(all, finding("database", Critical, 0, "database: not reachable"))
		} else {
			all = append(all, finding("database", OK, 1, "database: reachable"))
		}
		all = append(all, t.judge("admin_response_ms", ms(r.AdminTook)), t.judge("active_connections", float64(r.Active)))
	}
	if r.ProxyError != "" {
		all = append(all, finding("proxy", Critical, 0, "proxy does not answer: %s", r.ProxyError))
	} else {
		all = append(all, t.judge("proxy_response_ms", ms(r.ProxyTook)))
	}
	for node, why := range r.Away {
		all = append(all, finding("node", Critical, 0, "node at %s does not answer: %s", node, why))
	}
	for _, n := range r.Nodes {
		all = append(all, judgeNode(n, t)...)
	}
	if before != nil && r.At.After(before.At) {
		all = append(all, judgeRates(r, before, t)...)
	}
	return all
}

func ms(d time.Duration) float64 { return math.Round(d.Seconds()*10000) / 10 }

func judgeNode(n Series, t Thresholds) (all []Finding) {
	if limit := n.Sum("sekifuda_memory_limit_bytes", every); limit > 0 {
		all = append(all, t.judge("memory_percent", math.Round(1000*n.Sum("sekifuda_process_resident_bytes", every)/limit)/10))
	}
	if n.Sum("sekifuda_limits_store_down", every) > 0 {
		all = append(all, finding("redis", Critical, 1, "the store of shared limits is away; nodes keep to shares of the limits"))
	} else if n.Has("sekifuda_limits_store_down") {
		all = append(all, finding("redis", OK, 0, "the store of shared limits answers"))
	}
	if n.Has("kong_datastore_reachable") && n.Sum("kong_datastore_reachable", every) == 0 {
		all = append(all, finding("feed", Warning, 0, "a node does not reach its control plane and serves what it has"))
	}
	return all
}

func every(string) bool { return true }

func judgeRates(r, before *Reading, t Thresholds) (all []Finding) {
	since := func(name string, match func(string) bool) float64 {
		return max(0, r.sum(name, match)-before.sum(name, match)) // a restarted node begins at 0
	}
	if requests := since("kong_http_requests_total", every); requests > 0 {
		failed := since("kong_http_requests_total", func(l string) bool { return strings.Contains(l, `code="5`) })
		all = append(all, t.judge("error_rate_percent", math.Round(1000*failed/requests)/10))
	}
	if q, ok := quantile(r, before, 0.95); ok {
		all = append(all, t.judge("request_latency_ms", q))
	}
	minutes := r.At.Sub(before.At).Minutes()
	for _, c := range []struct {
		name    string
		reasons []string
	}{
		{"auth_failures_per_minute", authFailures}, {"rate_limited_per_minute", limitHits},
		{"foreign_addresses_per_minute", foreignAddresses}, {"oversize_per_minute", oversize},
	} {
		n := since("sekifuda_refused_total", func(l string) bool { return reasonIs(l, c.reasons) })
		all = append(all, t.judge(c.name, math.Round(10*n/minutes)/10))
	}
	return all
}

func reasonIs(labels string, reasons []string) bool {
	for _, r := range reasons {
		if strings.HasSuffix(r, "-") && strings.Contains(labels, `reason="`+r) || strings.Contains(labels, `reason="`+r+`"`) {
			return true
		}
	}
	return false
}
