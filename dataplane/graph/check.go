package graph

import (
	"context"
	"log/slog"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// Check compiles entities, with all that they refer to, for the control plane, before they
// are stored: what a gate would refuse is refused at the desk. The error is a *Refusal. It
// has no effect: filters are made on hosts that do nothing, and are not run. Who checks
// change after change keeps a Compiler without Host, and the graph of the last one.
func Check(plugins *plugin.Set, routerFlavor string, entities []Change) error {
	c := Compiler{Plugins: plugins, RouterFlavor: routerFlavor}
	_, err := c.Apply(nil, entities, 0)
	return err
}

// Inert returns a host that does nothing, for filters that are only checked.
func Inert(s plugin.Scope) plugin.Host { return inert{s} }

type inert struct{ scope plugin.Scope }

func (h inert) Logger() *slog.Logger                        { return slog.New(slog.DiscardHandler) }
func (h inert) NodeID() string                              { return "" }
func (h inert) Limiter(plugin.Rule) (plugin.Limiter, error) { return idle{}, nil }
func (h inert) Slots(plugin.SlotRule) (plugin.Slots, error) { return idle{}, nil }
func (h inert) Metrics() plugin.Metrics                     { return idle{} }
func (h inert) Scope() plugin.Scope                         { return h.scope }
func (h inert) Records() plugin.Records                     { return forgetful{} }

// idle counts nothing and admits everything.
type idle struct{}

func (idle) Take(_ func() context.Context, _ string, _ int64, d *plugin.Decision) error {
	*d = plugin.Decision{Allowed: true}
	return nil
}

func (i idle) Reserve(ctx func() context.Context, identifier string, n int64, d *plugin.Decision) (plugin.Reservation, error) {
	return nil, i.Take(ctx, identifier, n, d)
}

func (idle) Acquire(_ func() context.Context, _ string, d *plugin.SlotDecision) (plugin.Slot, error) {
	*d = plugin.SlotDecision{Allowed: true}
	return idle{}, nil
}

func (idle) Release() {}

func (idle) Observe(*plugin.Exchange, plugin.MetricSet) {}
func (idle) Enable(plugin.MetricSet)                    {}

// forgetful keeps nothing.
type forgetful struct{}

func (forgetful) Get(context.Context, string, string) ([]byte, error)              { return nil, nil }
func (forgetful) Put(context.Context, string, string, []byte, time.Duration) error { return nil }
func (forgetful) Take(context.Context, string, string) ([]byte, error)             { return nil, nil }
