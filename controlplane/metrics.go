package controlplane

import (
	"fmt"
	"net/http"
)

// WriteMetrics answers a scrape: how the control plane stands, in the prometheus text format. A
// database that does not answer is one of the values.
func (c *ControlPlane) WriteMetrics(w http.ResponseWriter, _ *http.Request) {
	epoch, rev := c.cache.Head()
	connected, current, refusing := 0, 0, 0
	for _, n := range c.fleet.Nodes() {
		if !n.Connected {
			continue
		}
		connected++
		if n.Running == n.Target && n.Running.Epoch != "" {
			current++
		}
		if n.Refusal != nil {
			refusing++
		}
	}
	blocking, _ := c.fleet.CountBlocking(c.blocks.Digest())
	reachable := 0
	if c.Reachable() {
		reachable = 1
	}
	var b []byte
	gauge := func(name, help string, value any) {
		b = fmt.Appendf(b, "# HELP %s %s\n# TYPE %s gauge\n%s %v\n", name, help, name, name, value)
	}
	gauge("sekifuda_database_reachable", "Whether the database of configuration answers: 1 yes, 0 no.", reachable)
	gauge("sekifuda_head_revision", "Newest revision that is published to nodes.", rev)
	gauge("sekifuda_nodes_connected", "Nodes with a stream from this control plane.", connected)
	gauge("sekifuda_nodes_current", "Connected nodes that enforce what they should.", current)
	gauge("sekifuda_nodes_refusing", "Connected nodes that refused what they were sent.", refusing)
	gauge("sekifuda_nodes_blocking", "Connected nodes that enforce all blocks.", blocking)
	gauge("sekifuda_blocked", "What is blocked ahead of configuration.", len(c.blocks.List()))
	b = fmt.Appendf(b, "# HELP sekifuda_controlplane_info The control plane and the history that it publishes; always 1.\n"+
		"# TYPE sekifuda_controlplane_info gauge\nsekifuda_controlplane_info{version=%q,epoch=%q} 1\n", c.Version, epoch)
	w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	_, _ = w.Write(b) // whoever scraped has gone
}
