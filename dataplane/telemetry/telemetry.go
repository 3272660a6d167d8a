// Package telemetry counts what the gate serves and shows it as Prometheus series, under the
// names and labels that Kong 3.9.1's plugin has.
//
// It knows exchanges and series; which series are wanted, and of which traffic, is said by
// the prometheus plugin. Enter at New.
package telemetry

import (
	"bytes"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/sekifuda/sekifuda/plugin"
)

// maxSeries bounds the label sets of each kind: consumers and codes of a runaway
// configuration must not fill the memory. Beyond it traffic is counted under "other".
const maxSeries = 200_000

// Traffic is connections and requests, in nginx's words.
type Traffic struct {
	Accepted, Handled, Requests       uint64
	Active, Reading, Writing, Waiting int
}

// Options are what the metrics of a node are made of.
type Options struct {
	NodeID  string
	Version string // of this build
	Counts  func() Traffic
}

// Metrics is every series of a node. It is safe for concurrent use.
type Metrics struct {
	Options
	enabled atomic.Uint32 // plugin.MetricSet that any configuration asked for
	status  family[statusKey, counter]
	bytes   family[bandwidthKey, counter]
	times   family[placeKey, latencies]
	dropped atomic.Uint64 // exchanges counted under "other"
}

var _ plugin.Metrics = (*Metrics)(nil)

// New returns metrics without a series.
func New(o Options) *Metrics { return &Metrics{Options: o} }

// Enable implements plugin.Metrics.
func (m *Metrics) Enable(set plugin.MetricSet) { m.enabled.Or(uint32(set)) }

// placeKey is where an exchange went.
type placeKey struct{ service, route string }

type statusKey struct {
	placeKey
	code     int
	source   string
	consumer string
}

type bandwidthKey struct {
	placeKey
	direction string
	consumer  string
}

type counter struct{ atomic.Uint64 }

// latencies are the three histograms of a place, in milliseconds.
type latencies struct{ gate, upstream, request histogram }

// Observe implements plugin.Metrics. Requests without a route are not counted, as in Kong.
func (m *Metrics) Observe(x *plugin.Exchange, set plugin.MetricSet) {
	if x.Route == nil {
		return
	}
	place := placeKey{route: x.Route.Label()}
	if x.Service != nil {
		place.service = x.Service.Label()
	}
	consumer := ""
	if set&plugin.PerConsumer != 0 && x.Consumer != nil {
		consumer = x.Consumer.Username
	}
	if set&plugin.StatusMetrics != 0 {
		source := "kong"
		if x.Response.Source == plugin.FromUpstream {
			source = "service"
		}
		m.of(m.status.get(statusKey{place, x.Response.Status, source, consumer})).Add(1)
	}
	if set&plugin.BandwidthMetrics != 0 {
		m.of(m.bytes.get(bandwidthKey{place, "ingress", consumer})).Add(uint64(max(0, x.Request.Size)))
		m.of(m.bytes.get(bandwidthKey{place, "egress", consumer})).Add(uint64(max(0, x.Response.Size)))
	}
	if set&plugin.LatencyMetrics != 0 {
		m.observeLatency(x, place)
	}
}

func (m *Metrics) observeLatency(x *plugin.Exchange, place placeKey) {
	t, full := m.times.get(place)
	if full {
		m.dropped.Add(1)
	}
	l := x.Latencies()
	t.gate.observe(gateBuckets, l.Gate.Milliseconds())
	t.request.observe(upstreamBuckets, l.Request.Milliseconds())
	if l.Proxy >= 0 {
		t.upstream.observe(upstreamBuckets, l.Proxy.Milliseconds())
	}
}

// of notes an exchange that was counted under "other".
func (m *Metrics) of(c *counter, full bool) *counter {
	if full {
		m.dropped.Add(1)
	}
	return c
}

// family is the series of one name, by label set.
type family[K comparable, V any] struct {
	mu     sync.RWMutex // guards series; the values count by themselves
	series map[K]*V
}

// get returns the series of a label set; full says that there was no room for it and another
// is returned, that of the zero label set.
func (f *family[K, V]) get(k K) (v *V, full bool) {
	f.mu.RLock()
	v = f.series[k]
	f.mu.RUnlock()
	if v != nil {
		return v, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if v = f.series[k]; v != nil {
		return v, false
	}
	if f.series == nil {
		f.series = map[K]*V{}
	}
	if len(f.series) >= maxSeries {
		var other K
		k, full = other, true
		if v = f.series[k]; v != nil {
			return v, true
		}
	}
	v = new(V)
	f.series[k] = v
	return v, full
}

// each calls do for every series.
func (f *family[K, V]) each(do func(K, *V)) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for k, v := range f.series {
		do(k, v)
	}
}

// ServeHTTP implements http.Handler: GET /metrics.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	var b bytes.Buffer
	m.write(&page{b: &b})
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	_, _ = w.Write(b.Bytes()) // a scraper that left does not need its answer
}

// pid is this process's, as a label.
var pid = strconv.Itoa(os.Getpid())

func memory() runtime.MemStats {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s
}
