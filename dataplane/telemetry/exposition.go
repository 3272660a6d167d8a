package telemetry

import (
	"bytes"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// page writes the text format of Prometheus (version 0.0.4).
type page struct {
	b *bytes.Buffer
}

func (p *page) head(name, kind, help string) {
	p.b.WriteString("# HELP " + name + " " + help + "\n# TYPE " + name + " " + kind + "\n")
}

// line writes one sample; labels are name, value, name, value, ...
func (p *page) line(name string, value string, labels ...string) {
	p.b.WriteString(name)
	for i := 0; i < len(labels); i += 2 {
		if i == 0 {
			p.b.WriteByte('{')
		} else {
			p.b.WriteByte(',')
		}
		p.b.WriteString(labels[i])
		p.b.WriteString(`="`)
		p.b.WriteString(escape(labels[i+1]))
		p.b.WriteByte('"')
	}
	if len(labels) > 0 {
		p.b.WriteByte('}')
	}
	p.b.WriteByte(' ')
	p.b.WriteString(value)
	p.b.WriteByte('\n')
}

var escaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

func escape(s string) string {
	if !strings.ContainsAny(s, "\\\n\"") {
		return s
	}
	return escaper.Replace(s)
}

func number[T int | int64 | uint64](n T) string { return strconv.FormatInt(int64(n), 10) }

// write writes every series: what Kong always shows, then what traffic made.
func (m *Metrics) write(p *page) {
	m.writeNode(p)
	m.writeStatus(p)
	m.writeBandwidth(p)
	m.writeLatencies(p)
}

func (m *Metrics) writeNode(p *page) {
	t := m.Counts()
	p.head("kong_nginx_connections_total", "gauge", "Number of connections by subsystem")
	for _, s := range []struct {
		state string
		n     uint64
	}{
		{"accepted", t.Accepted}, {"handled", t.Handled}, {"total", t.Requests}, {"active", uint64(t.Active)},
		{"reading", uint64(t.Reading)}, {"writing", uint64(t.Writing)}, {"waiting", uint64(t.Waiting)},
	} {
		p.line("kong_nginx_connections_total", number(s.n), "node_id", m.NodeID, "subsystem", "http", "state", s.state)
	}
	p.head("kong_nginx_requests_total", "gauge", "Total number of requests")
	p.line("kong_nginx_requests_total", number(t.Requests), "node_id", m.NodeID, "subsystem", "http")
	p.head("kong_nginx_timers", "gauge", "Number of timers")
	p.line("kong_nginx_timers", number(runtime.NumGoroutine()), "state", "running")
	p.line("kong_nginx_timers", "0", "state", "pending")
	p.head("kong_datastore_reachable", "gauge", "Datastore reachable from the node, 0 is unreachable")
	p.line("kong_datastore_reachable", "1")
	p.head("kong_node_info", "gauge", "Node metadata information")
	p.line("kong_node_info", "1", "node_id", m.NodeID, "version", "3.9.1")
	p.head("sekifuda_build_info", "gauge", "Version of this build")
	p.line("sekifuda_build_info", "1", "node_id", m.NodeID, "version", m.Version, "go", runtime.Version())
	mem := memory()
	p.head("kong_memory_workers_lua_vms_bytes", "gauge", "Allocated bytes in the worker")
	p.line("kong_memory_workers_lua_vms_bytes", number(mem.HeapAlloc), "node_id", m.NodeID, "pid", pid, "kong_subsystem", "http")
	p.head("kong_memory_lua_shared_dict_bytes", "gauge", "Bytes of shared memory in use")
	p.line("kong_memory_lua_shared_dict_bytes", number(mem.HeapInuse), "node_id", m.NodeID, "shared_dict", "kong", "kong_subsystem", "http")
	p.head("kong_memory_lua_shared_dict_total_bytes", "gauge", "Bytes of shared memory")
	p.line("kong_memory_lua_shared_dict_total_bytes", number(mem.HeapSys), "node_id", m.NodeID, "shared_dict", "kong", "kong_subsystem", "http")
	p.head("kong_nginx_metric_errors_total", "counter", "Exchanges that had no room for a series of their own")
	p.line("kong_nginx_metric_errors_total", number(m.dropped.Load()))
}

func (m *Metrics) writeStatus(p *page) {
	const name = "kong_http_requests_total"
	var lines []sample
	m.status.each(func(k statusKey, v *counter) {
		lines = append(lines, sample{number(v.Load()), []string{
			"service", k.service, "route", k.route, "code", number(k.code), "source", k.source,
			"workspace", "default", "consumer", k.consumer,
		}})
	})
	p.family(name, "counter", "HTTP status codes by service, route and consumer", lines)
}

func (m *Metrics) writeBandwidth(p *page) {
	const name = "kong_bandwidth_bytes"
	var lines []sample
	m.bytes.each(func(k bandwidthKey, v *counter) {
		lines = append(lines, sample{number(v.Load()), []string{
			"service", k.service, "route", k.route, "direction", k.direction, "workspace", "default", "consumer", k.consumer,
		}})
	})
	p.family(name, "counter", "Bytes consumed by service, route and consumer", lines)
}

// sample is one line of a family.
type sample struct {
	value  string
	labels []string
}

// family writes the lines of one name in a stable order.
func (p *page) family(name, kind, help string, lines []sample) {
	if len(lines) == 0 {
		return
	}
	slices.SortFunc(lines, func(a, b sample) int { return slices.Compare(a.labels, b.labels) })
	p.head(name, kind, help)
	for _, l := range lines {
		p.line(name, l.value, l.labels...)
	}
}

func (m *Metrics) writeLatencies(p *page) {
	places := map[placeKey]*latencies{}
	var order []placeKey
	m.times.each(func(k placeKey, v *latencies) {
		places[k] = v
		order = append(order, k)
	})
	if len(order) == 0 {
		return
	}
	slices.SortFunc(order, func(a, b placeKey) int {
		return slices.Compare([]string{a.service, a.route}, []string{b.service, b.route})
	})
	for _, h := range []struct {
		name, help string
		bounds     []int64
		of         func(*latencies) *histogram
	}{
		{"kong_kong_latency_ms", "Latency added by the gateway", gateBuckets, func(l *latencies) *histogram { return &l.gate }},
		{"kong_upstream_latency_ms", "Latency added by the upstream", upstreamBuckets, func(l *latencies) *histogram { return &l.upstream }},
		{"kong_request_latency_ms", "Total latency of requests", upstreamBuckets, func(l *latencies) *histogram { return &l.request }},
	} {
		p.head(h.name, "histogram", h.help)
		for _, k := range order {
			p.histogram(h.name, h.bounds, h.of(places[k]), k)
		}
	}
}

func (p *page) histogram(name string, bounds []int64, h *histogram, k placeKey) {
	labels := []string{"service", k.service, "route", k.route, "workspace", "default", "le", ""}
	var total uint64
	for i, bound := range bounds {
		total += h.buckets[i].Load()
		labels[7] = number(bound)
		p.line(name+"_bucket", number(total), labels...)
	}
	total += h.buckets[len(bounds)].Load()
	labels[7] = "+Inf"
	p.line(name+"_bucket", number(total), labels...)
	p.line(name+"_count", number(total), labels[:6]...)
	p.line(name+"_sum", number(h.sum.Load()), labels[:6]...)
}
