package telemetry

import (
	"net/http"
	"strconv"
	"sync"

	"github.com/sekifuda/sekifuda/plugin"
)

// texts are buffers of past scrapes: the text of ten thousand counters is a megabyte.
var texts = sync.Pool{New: func() any { return new([]byte) }}

// keptText bounds what is kept of a buffer between scrapes: ten thousand routes with all
// their histograms are fifty megabytes.
const keptText = 8 << 20

// ServeHTTP answers GET /metrics in the prometheus text format.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text := texts.Get().(*[]byte)
	defer func() {
		if cap(*text) <= keptText {
			texts.Put(text)
		}
	}()
	*text = m.Append((*text)[:0])
	w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(*text)))
	if r.Method == http.MethodHead {
		return
	}
	if _, err := w.Write(*text); err != nil {
		m.log.Debug("write metrics", "error", err)
	}
}

// Append appends the exposition to b. It is safe for concurrent use.
func (m *Metrics) Append(b []byte) []byte {
	b = m.appendNode(b)
	b = m.appendRequests(b)
	b = m.appendBandwidth(b)
	b = m.appendLatencies(b)
	b = m.appendModels(b)
	return m.appendHealth(b)
}

func head(b []byte, name, kind, help string) []byte {
	b = append(append(b, "# HELP "...), name...)
	b = append(append(append(b, ' '), help...), '\n')
	b = append(append(b, "# TYPE "...), name...)
	return append(append(append(b, ' '), kind...), '\n')
}

func (m *Metrics) appendRequests(b []byte) []byte {
	const name = "kong_http_requests_total"
	begin := len(b)
	b = head(b, name, "counter", "Answers by service, route, status, source and consumer.")
	empty := len(b)
	for _, t := range m.traffic.all() {
		list := t.answers.Load()
		if list == nil {
			continue
		}
		for _, a := range *list {
			b = append(append(append(b, name+"{"...), t.routeLabels...), `,code="`...)
			b = strconv.AppendInt(b, int64(a.status), 10)
			if a.source == plugin.FromUpstream {
				b = append(b, `",source="service",workspace="default"`...)
			} else {
				b = append(b, `",source="kong",workspace="default"`...)
			}
			b = append(append(b, t.consumer...), "} "...)
			b = append(strconv.AppendUint(b, a.n.Load(), 10), '\n')
		}
	}
	return unlessEmpty(b, begin, empty)
}

// unlessEmpty takes back the head of a metric that has no series.
func unlessEmpty(b []byte, begin, empty int) []byte {
	if len(b) == empty {
		return b[:begin]
	}
	return b
}

func (m *Metrics) appendBandwidth(b []byte) []byte {
	const name = "kong_bandwidth_bytes"
	begin := len(b)
	b = head(b, name, "counter", "Bytes of requests (ingress) and answers (egress), head and body.")
	empty := len(b)
	for _, t := range m.traffic.all() {
		if !t.measured.Load() {
			continue
		}
		for _, d := range [...]struct {
			name string
			n    uint64
		}{{"egress", t.egress.Load()}, {"ingress", t.ingress.Load()}} {
			b = append(append(append(b, name+"{"...), t.routeLabels...), `,direction="`...)
			b = append(append(b, d.name...), `",workspace="default"`...)
			b = append(append(b, t.consumer...), "} "...)
			b = append(strconv.AppendUint(b, d.n, 10), '\n')
		}
	}
	return unlessEmpty(b, begin, empty)
}

func (m *Metrics) appendLatencies(b []byte) []byte {
	all := m.latency.all()
	for _, h := range [...]struct {
		name, help string
		of         func(*latency) *histogram
	}{
		{"kong_kong_latency_ms", "Time in the gate and its plugins before a request is sent on, in milliseconds.", func(l *latency) *histogram { return &l.gate }},
		{"kong_upstream_latency_ms", "Time until the head of the upstream's answer, in milliseconds.", func(l *latency) *histogram { return &l.upstream }},
		{"kong_request_latency_ms", "Time from the first byte of a request to the last of its answer, in milliseconds.", func(l *latency) *histogram { return &l.request }},
	} {
		begin := len(b)
		b = head(b, h.name, "histogram", h.help)
		empty := len(b)
		for _, l := range all {
			b = h.of(l).append(b, h.name, l.labels)
		}
		b = unlessEmpty(b, begin, empty)
	}
	return b
}

// appendHealth writes a line for every state of each address: 1 for the one it is in.
func (m *Metrics) appendHealth(b []byte) []byte {
	if m.options.Targets == nil || plugin.MetricSet(m.enabled.Load())&plugin.UpstreamHealthMetrics == 0 {
		return b
	}
	const name = "kong_upstream_target_health"
	begin := len(b)
	b = head(b, name, "gauge", "Health of each address of an upstream: 1 for the state it is in.")
	empty := len(b)
	for _, t := range m.options.Targets() {
		for _, state := range [...]string{"healthchecks_off", "healthy", "unhealthy", "dns_error"} {
			b = append(b, name+`{upstream="`...)
			b = append(append(b, escape(t.Upstream)...), `",target="`...)
			b = append(append(b, escape(t.Target)...), `",address="`...)
			b = append(append(b, escape(t.Address)...), `",state="`...)
			b = append(append(b, state...), `",subsystem="http"} `...)
			b = append(b, map[bool]string{true: "1\n", false: "0\n"}[state == t.State]...)
		}
	}
	return unlessEmpty(b, begin, empty)
}
