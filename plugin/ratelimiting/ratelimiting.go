// Package ratelimiting refuses requests above a number per second, minute, hour, day, month
// or year.
//
// It knows who is counted together and what to tell the client; the counting itself is the
// gate's limiter. Enter at Definition.
package ratelimiting

import (
	"fmt"
	"net/http"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/counting"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

const defaultMessage = "API rate limit exceeded"

// New asks the gate for the counters of the configuration's scope. Two configurations of one
// route and service count together, as Kong's keys do.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	windows, err := compile(c)
	if err != nil {
		return nil, err
	}
	by, err := counting.By(c.GetLimitBy(), c.GetHeaderName(), c.GetPath())
	if err != nil {
		return nil, err
	}
	store, err := counting.Place(c.GetPolicy(), c.GetRedis())
	if err != nil {
		return nil, err
	}
	outage, err := counting.Outage(c.GetOutage(), c.FaultTolerant)
	if err != nil {
		return nil, err
	}
	rule := plugin.Rule{ID: counting.RuleID("ratelimit", h.Scope()), Redis: store, Outage: outage}
	for _, w := range windows {
		rule.Windows = append(rule.Windows, w.Window.Window)
	}
	limiter, err := h.Limiter(rule)
	if err != nil {
		return nil, fmt.Errorf("config.policy: %w", err)
	}
	f := &filter{
		limiter: limiter, windows: windows, identifier: by, log: h.Logger(),
		silent: c.GetHideClientHeaders(), open: c.GetTellMode(), status: http.StatusTooManyRequests, message: defaultMessage,
	}
	if c.ErrorCode != nil {
		f.status = int(c.GetErrorCode())
	}
	if c.ErrorMessage != nil {
		f.message = c.GetErrorMessage()
	}
	return f, nil
}
