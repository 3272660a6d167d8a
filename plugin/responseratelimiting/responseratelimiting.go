// Package responseratelimiting lets upstreams say what a request spent, and refuses clients
// that have spent all they may.
//
// It knows named limits and how answers tell what was spent; the counting itself is the
// gate's limiter. Enter at Definition.
package responseratelimiting

import (
	"fmt"
	"sync"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/counting"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

const defaultHeader = "x-kong-limit"

// New asks the gate for the counters. Each period of each limit has its own, because what is
// spent counts in all of them, also in those that have less left.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	by, err := identify(c)
	if err != nil {
		return nil, err
	}
	store, err := counting.Place(c.GetPolicy(), c.GetRedis())
	if err != nil {
		return nil, err
	}
	limits, err := compile(c)
	if err != nil {
		return nil, err
	}
	outage, err := counting.Outage(c.GetOutage(), c.FaultTolerant)
	if err != nil {
		return nil, err
	}
	f := &filter{
		limits: limits, identifier: by, log: h.Logger(), header: c.GetHeaderName(),
		silent: c.GetHideClientHeaders(), block: c.GetBlockOnFirstViolation(),
	}
	if c.HeaderName == nil {
		f.header = defaultHeader
	}
	for i := range f.limits {
		l := &f.limits[i]
		for k := range l.windows {
			w := &l.windows[k]
			w.index = f.windows
			f.windows++
			w.limiter, err = h.Limiter(plugin.Rule{
				ID:      counting.RuleID("response_ratelimit", h.Scope()) + ":" + l.name + ":" + w.Name,
				Windows: []plugin.Window{w.Window.Window},
				Redis:   store,
				Outage:  outage,
			})
			if err != nil {
				return nil, fmt.Errorf("config.policy: %w", err)
			}
		}
	}
	f.visits = sync.Pool{New: func() any { return newVisit(f.windows, len(f.limits)) }}
	return f, nil
}
