package telemetry

import (
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
)

// kongVersion is what clients that read kong_node_info know.
const kongVersion = "3.9.1"

// What Go knows of this process. Kong exports the memory of its Lua machines and shared
// dictionaries, and nginx's timers, under names that dashboards ask for: the heap and
// goroutines stand in their places.
const (
	heapLive  = "/memory/classes/heap/objects:bytes"
	heapFree  = "/memory/classes/heap/free:bytes"
	heapTotal = "/memory/classes/total:bytes"
	routines  = "/sched/goroutines:goroutines"
	stacks    = "/memory/classes/heap/stacks:bytes"
	idle      = "/memory/classes/heap/released:bytes"
	cycles    = "/gc/cycles/total:gc-cycles"
)

// appendNode writes what is exported whether a plugin asks for it or not.
func (m *Metrics) appendNode(b []byte) []byte {
	node := `node_id="` + escape(m.options.NodeID) + `"`
	b = m.appendConnections(b, node)
	b = head(b, "kong_nginx_metric_errors_total", "counter", "Observations that found no place, as there are too many series.")
	b = line(b, "kong_nginx_metric_errors_total", "", m.refused.Load())
	b = head(b, "kong_datastore_reachable", "gauge", "Whether the source of configuration answers: 1 yes, 0 no.")
	b = line(b, "kong_datastore_reachable", "", m.reachable())
	b = head(b, "kong_node_info", "gauge", "The node and the version that it is compatible with; always 1.")
	b = line(b, "kong_node_info", node+`,version="`+kongVersion+`"`, 1)
	b = head(b, "sekifuda_build_info", "gauge", "The node and its own version; always 1.")
	b = line(b, "sekifuda_build_info", node+`,version="`+escape(m.options.Version)+`",go="`+runtime.Version()+`"`, 1)
	b = m.appendStores(b)
	b = m.appendState(b)
	b = m.appendBlocks(b)
	if m.options.Refusals != nil {
		b = m.options.Refusals.append(b)
	}
	return appendProcess(b, node)
}

// appendBlocks writes every kind, so that an alert sees the first of one.
func (m *Metrics) appendBlocks(b []byte) []byte {
	if m.options.Blocks == nil {
		return b
	}
	n := m.options.Blocks()
	b = head(b, "sekifuda_blocks", "gauge", "What is blocked ahead of configuration, by kind.")
	for _, kind := range []string{"cidr", "consumer", "key", "route", "service"} {
		b = line(b, "sekifuda_blocks", `kind="`+kind+`"`, unsigned(n[kind]))
	}
	return b
}

func appendProcess(b []byte, node string) []byte {
	samples := []metrics.Sample{{Name: heapLive}, {Name: heapFree}, {Name: heapTotal}, {Name: routines}, {Name: stacks}, {Name: idle}, {Name: cycles}}
	metrics.Read(samples)
	live, free, total := samples[0].Value.Uint64(), samples[1].Value.Uint64(), samples[2].Value.Uint64()
	b = head(b, "kong_nginx_timers", "gauge", "Goroutines of the node, in the place of nginx timers.")
	b = line(b, "kong_nginx_timers", `state="pending"`, 0)
	b = line(b, "kong_nginx_timers", `state="running"`, samples[3].Value.Uint64())
	b = head(b, "kong_memory_workers_lua_vms_bytes", "gauge", "Bytes of objects on the heap of this process.")
	b = line(b, "kong_memory_workers_lua_vms_bytes", node+`,pid="`+strconv.Itoa(os.Getpid())+`",kong_subsystem="http"`, live)
	dict := node + `,shared_dict="kong",kong_subsystem="http"`
	b = head(b, "kong_memory_lua_shared_dict_bytes", "gauge", "Bytes of the heap of this process that are in use or free to be used again.")
	b = line(b, "kong_memory_lua_shared_dict_bytes", dict, live+free)
	b = head(b, "kong_memory_lua_shared_dict_total_bytes", "gauge", "Bytes that this process has from the system.")
	b = line(b, "kong_memory_lua_shared_dict_total_bytes", dict, total)
	b = head(b, "sekifuda_memory_bytes", "gauge", "Bytes that the process has from the system, by what they are for.")
	stack, released := samples[4].Value.Uint64(), samples[5].Value.Uint64()
	for _, c := range []struct {
		class string
		n     uint64
	}{
		{"free", free}, {"objects", live}, {"other", total - min(total, live+free+stack+released)}, {"released", released}, {"stacks", stack},
	} {
		b = line(b, "sekifuda_memory_bytes", `class="`+c.class+`"`, c.n)
	}
	b = head(b, "go_goroutines", "gauge", "Goroutines of the process.")
	b = line(b, "go_goroutines", "", samples[3].Value.Uint64())
	b = head(b, "sekifuda_gc_cycles_total", "counter", "Cycles of garbage collection.")
	b = line(b, "sekifuda_gc_cycles_total", "", samples[6].Value.Uint64())
	return appendMemory(b)
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
	b = head(b, "sekifuda_proxy_protocol_refused_total", "counter", "PROXY protocol headers that were malformed, which closes the connection, or of an untrusted peer, which are not believed.")
	b = line(b, "sekifuda_proxy_protocol_refused_total", node+`,reason="malformed"`, c.MalformedProxy)
	b = line(b, "sekifuda_proxy_protocol_refused_total", node+`,reason="untrusted"`, c.UntrustedProxy)
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
