// Package prometheus has traffic counted in Kong's prometheus series.
//
// It knows which series a configuration asked for; how they are kept and exported is the
// gate's. Enter at Definition.
package prometheus

import "github.com/sekifuda/sekifuda/plugin"

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// New tells the gate which series are wanted.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	var set plugin.MetricSet
	for _, s := range []struct {
		on  bool
		set plugin.MetricSet
	}{
		{c.GetStatusCodeMetrics(), plugin.StatusMetrics},
		{c.GetLatencyMetrics(), plugin.LatencyMetrics},
		{c.GetBandwidthMetrics(), plugin.BandwidthMetrics},
		{c.GetUpstreamHealthMetrics(), plugin.UpstreamHealthMetrics},
		{c.GetAiMetrics(), plugin.AIMetrics},
		{c.GetPerConsumer(), plugin.PerConsumer},
	} {
		if s.on {
			set |= s.set
		}
	}
	h.Metrics().Enable(set)
	return &filter{metrics: h.Metrics(), set: set}, nil
}

type filter struct {
	metrics plugin.Metrics
	set     plugin.MetricSet
}

var _ plugin.LogFilter = (*filter)(nil)

// OnLog counts the exchange.
func (f *filter) OnLog(x *plugin.Exchange) { f.metrics.Observe(x, f.set) }
