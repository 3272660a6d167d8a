package dataplane

import (
	"log/slog"

	"github.com/sekifuda/sekifuda/dataplane/telemetry"
	"github.com/sekifuda/sekifuda/plugin"
)

// host is what the node lends to one filter.
type host struct {
	*DataPlane
	scope plugin.Scope
}

func (d *DataPlane) host(s plugin.Scope) plugin.Host { return host{d, s} }

// Logger implements plugin.Host.
func (h host) Logger() *slog.Logger { return h.Log.With("plugin_id", h.scope.PluginID) }

// Limiter implements plugin.Host.
func (h host) Limiter(r plugin.Rule) (plugin.Limiter, error) {
	l, err := h.limits.Limiter(r)
	if err == nil {
		h.rules.note(h.scope.PluginID, r)
	}
	return l, err
}

// Slots implements plugin.Host.
func (h host) Slots(r plugin.SlotRule) (plugin.Slots, error) {
	s, err := h.limits.Slots(r)
	if err == nil {
		h.rules.noteSlots(h.scope.PluginID, r)
	}
	return s, err
}

// Metrics implements plugin.Host.
func (h host) Metrics() plugin.Metrics { return h.metrics }

// Scope implements plugin.Host.
func (h host) Scope() plugin.Scope { return h.scope }

// Records implements plugin.Host.
func (h host) Records() plugin.Records { return h.records }

// traffic introduces the engine's counts to the metrics.
func (d *DataPlane) traffic() telemetry.Traffic {
	c := d.engine.Counts()
	return telemetry.Traffic{
		Accepted: c.Accepted, Handled: c.Handled, Requests: c.Requests,
		Active: c.Active, Reading: c.Reading, Writing: c.Writing, Waiting: c.Waiting,
		MalformedProxy: c.MalformedProxy, UntrustedProxy: c.UntrustedProxy,
	}
}

// stores introduces the stores of shared limits to the metrics.
func (d *DataPlane) stores() (all []telemetry.Store) {
	for _, s := range d.limits.Stats() {
		all = append(all, telemetry.Store{
			Name: s.Name, Down: s.Down, Keys: s.Keys, Calls: s.Calls, Asks: s.Asks,
			Admitted: s.Admitted, Refused: s.Refused, Outages: s.Outages, Gates: s.Gates,
		})
	}
	return all
}
