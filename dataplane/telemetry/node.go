package telemetry

import (
	"os"
	"runtime/metrics"
	"strconv"
)

// heap is what Go knows of this process' memory: Kong exports that of its Lua machines under
// the name that dashboards ask for.
const heap = "/memory/classes/heap/objects:bytes"

// goroutines stand for the timers of nginx: work that goes on beside requests.
const goroutines = "/sched/goroutines:goroutines"

// appendNode writes what is exported whether a plugin asks for it or not.
func (m *Metrics) appendNode(b []byte) []byte {
	samples := []metrics.Sample{{Name: heap}, {Name: goroutines}}
	metrics.Read(samples)
	node := `node_id="` + escape(m.options.NodeID) + `"`
	b = m.appendConnections(b, node)
	b = head(b, "kong_nginx_metric_errors_total", "counter", "Observations that found no place, as there are too many series.")
	b = line(b, "kong_nginx_metric_errors_total", "", m.refused.Load())
	b = head(b, "kong_nginx_timers", "gauge", "Goroutines of the node, in the place of nginx timers.")
	b = line(b, "kong_nginx_timers", `state="pending"`, 0)
	b = line(b, "kong_nginx_timers", `state="running"`, samples[1].Value.Uint64())
	b = head(b, "kong_datastore_reachable", "gauge", "Whether the source of configuration answers: 1 yes, 0 no.")
	b = line(b, "kong_datastore_reachable", "", m.reachable())
	b = head(b, "kong_node_info", "gauge", "The node and its version; always 1.")
	b = line(b, "kong_node_info", node+`,version="`+escape(m.options.Version)+`"`, 1)
	b = head(b, "kong_memory_workers_lua_vms_bytes", "gauge", "Bytes of live objects on the heap of this process.")
	return line(b, "kong_memory_workers_lua_vms_bytes",
		node+`,pid="`+strconv.Itoa(os.Getpid())+`",kong_subsystem="http"`, samples[0].Value.Uint64())
}

func (m *Metrics) reachable() uint64 {
	if m.options.Store != nil && !m.options.Store() {
		return 0
	}
	return 1
}

func (m *Metrics) appendConnections(b []byte, node string) []byte {
	var c Traffic
	if m.options.Counts != nil {
		c = m.options.Counts()
	}
	b = head(b, "kong_nginx_connections_total", "gauge", "Connections of clients by state.")
	for _, s := range [...]struct {
		state string
		n     uint64
	}{
		{"accepted", c.Accepted}, {"active", unsigned(c.Active)}, {"handled", c.Handled}, {"reading", unsigned(c.Reading)},
		{"total", c.Requests}, {"waiting", unsigned(c.Waiting)}, {"writing", unsigned(c.Writing)},
	} {
		b = line(b, "kong_nginx_connections_total", node+`,subsystem="http",state="`+s.state+`"`, s.n)
	}
	b = head(b, "kong_nginx_requests_total", "gauge", "Requests of clients since the start.")
	return line(b, "kong_nginx_requests_total", node+`,subsystem="http"`, c.Requests)
}

func unsigned(n int) uint64 { return uint64(max(0, n)) }

func line(b []byte, name, labels string, n uint64) []byte {
	b = append(b, name...)
	if labels != "" {
		b = append(append(append(b, '{'), labels...), '}')
	}
	return append(strconv.AppendUint(append(b, ' '), n, 10), '\n')
}
