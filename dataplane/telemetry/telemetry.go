// Package telemetry counts traffic in Kong's prometheus series and exports them, with those
// of the node itself, as text.
//
// It knows exchanges and labels; which series a configuration wants is the prometheus
// plugin's, and what the node is doing its wiring tells by Options. Enter at New and
// Metrics.ServeHTTP.
package telemetry

import (
	"log/slog"
	"sync/atomic"

	"github.com/sekifuda/sekifuda/plugin"
)

// defaultSeries bounds the combinations of labels: each takes about half a kilobyte. What
// comes above it is not counted but in kong_nginx_metric_errors_total.
const defaultSeries = 100_000

// Options say what the node exports besides traffic. Functions are called at each scrape,
// also by two at once; without Counts its series are zero, without Targets and Stores there are none, and
// without Store it is reachable.
type Options struct {
	NodeID    string
	Version   string // of this build
	Counts    func() Traffic
	Targets   func() []Target
	Store     func() bool // whether the node's source of configuration answers
	Stores    func() []Store
	State     func() State          // how the node stands; nil: not told
	Blocks    func() map[string]int // what is blocked ahead of configuration, by kind; nil: nothing is
	Refusals  *Refusals             // nil: nothing is counted by reason
	MaxSeries int                   // 0: a hundred thousand
	Logger    *slog.Logger
}

// Traffic is connections and requests of clients, in nginx's words.
type Traffic struct {
	Accepted, Handled, Requests       uint64 // since the start
	Active, Reading, Writing, Waiting int
	MalformedProxy, UntrustedProxy    uint64 // PROXY headers: connections closed, claims not believed
}

// Target is the health of one address of an upstream.
type Target struct {
	Upstream, Target, Address string
	State                     string // "healthchecks_off", "healthy", "unhealthy" or "dns_error"
}

// Metrics counts traffic. It implements plugin.Metrics and http.Handler, and is safe for
// concurrent use.
type Metrics struct {
	options Options
	log     *slog.Logger
	enabled atomic.Uint32
	traffic series[trafficKey, traffic]
	latency series[routeKey, latency]
	models  series[modelKey, modelUse]
	refused atomic.Uint64 // observations without a place
}

var _ plugin.Metrics = (*Metrics)(nil)

// New makes metrics that have counted nothing.
func New(o Options) *Metrics {
	m := &Metrics{options: o, log: o.Logger}
	if m.log == nil {
		m.log = slog.Default()
	}
	bound := o.MaxSeries
	if bound <= 0 {
		bound = defaultSeries
	}
	m.traffic.bound, m.latency.bound, m.models.bound = bound, bound, bound
	return m
}

// Enable implements plugin.Metrics.
func (m *Metrics) Enable(set plugin.MetricSet) { m.enabled.Or(uint32(set)) }

// Observe implements plugin.Metrics. It allocates only for labels that were not seen before.
// An exchange without a route is not counted.
func (m *Metrics) Observe(x *plugin.Exchange, set plugin.MetricSet) {
	if x.Route == nil {
		return
	}
	route := routeKey{route: x.Route.Label()}
	if x.Service != nil {
		route.service = x.Service.Label()
	}
	if set&(plugin.StatusMetrics|plugin.BandwidthMetrics) != 0 {
		m.observeTraffic(x, set, route)
	}
	if set&plugin.LatencyMetrics != 0 {
		m.observeLatency(x, route)
	}
	if set&plugin.AIMetrics != 0 && x.Model.Provider != "" {
		m.observeModel(&x.Model)
	}
}

func (m *Metrics) observeTraffic(x *plugin.Exchange, set plugin.MetricSet, route routeKey) {
	key := trafficKey{routeKey: route}
	if set&plugin.PerConsumer != 0 && x.Consumer != nil {
		key.consumer = x.Consumer.Username
	}
	t := m.traffic.get(key, newTraffic)
	if t == nil {
		m.refused.Add(1)
		return
	}
	if set&plugin.StatusMetrics != 0 {
		if !t.answer(x.Response.Status, x.Response.Source) {
			m.refused.Add(1)
		}
	}
	if set&plugin.BandwidthMetrics != 0 {
		t.ingress.Add(uint64(max(0, x.Request.Size)))
		t.egress.Add(uint64(max(0, x.Response.Size)))
		t.measured.Store(true)
	}
}

func (m *Metrics) observeLatency(x *plugin.Exchange, route routeKey) {
	h := m.latency.get(route, newLatency)
	if h == nil {
		m.refused.Add(1)
		return
	}
	l := x.Latencies()
	h.gate.observe(l.Gate.Milliseconds())
	h.request.observe(l.Request.Milliseconds())
	if l.Proxy >= 0 {
		h.upstream.observe(l.Proxy.Milliseconds())
	}
}
