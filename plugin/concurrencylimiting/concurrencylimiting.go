// Package concurrencylimiting limits how many requests are under way at once.
//
// It knows who is counted together and what a refused client is told; slots are the gate's.
// Enter at Definition.
package concurrencylimiting

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/counting"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

const (
	defaultMessage = "Too many requests at once"
	defaultTimeout = 5 * time.Second
)

// New asks the gate for the slots of the configuration's scope.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	if c.GetLimit() < 1 {
		return nil, errors.New("config.limit: value should be at least 1")
	}
	by, err := counting.By(c.GetLimitBy(), c.GetHeaderName(), c.GetPath())
	if err != nil {
		return nil, err
	}
	rule := plugin.SlotRule{
		ID: counting.RuleID("concurrency", h.Scope()), Limit: c.GetLimit(), Queue: int(c.GetQueue()), Patience: defaultTimeout,
	}
	if c.QueueTimeout != nil {
		rule.Patience = time.Duration(c.GetQueueTimeout() * float64(time.Second))
	}
	if rule.Redis, err = counting.SharedPlace(c.GetPolicy(), c.GetRedis()); err != nil {
		return nil, err
	}
	if rule.Outage, err = counting.Outage(c.GetOutage(), nil); err != nil {
		return nil, err
	}
	f := &filter{
		identifier: by, limit: rule.Limit, log: h.Logger(), silent: c.GetHideClientHeaders(), open: c.GetTellMode(),
		status: http.StatusTooManyRequests, message: defaultMessage,
	}
	if f.slots, err = h.Slots(rule); err != nil {
		return nil, fmt.Errorf("config.limit: %w", err)
	}
	if c.ErrorCode != nil {
		f.status = int(c.GetErrorCode())
	}
	if c.ErrorMessage != nil {
		f.message = c.GetErrorMessage()
	}
	return f, nil
}

type filter struct {
	slots      plugin.Slots
	identifier counting.Identifier
	limit      int64
	log        *slog.Logger
	silent     bool
	open       bool // to those who ask how limits are decided
	status     int
	message    string
}

var (
	_ plugin.RequestFilter = (*filter)(nil)
	_ plugin.LogFilter     = (*filter)(nil)
)
