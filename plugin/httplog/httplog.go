// Package httplog sends an entry of every exchange to an HTTP server, in batches.
//
// It knows queues, retries and HTTP; what is in an entry is package logentry's. Enter at
// Definition.
package httplog

import (
	"context"
	"errors"
	"log/slog"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/logentry"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// New reads the endpoint and the queue's settings. Nothing is connected.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	t, err := newTarget(c)
	if err != nil {
		return nil, err
	}
	s, err := settingsOf(c)
	if err != nil {
		return nil, err
	}
	fields, err := logentry.Compile(c.GetCustomFieldsByLua())
	if err != nil {
		return nil, err
	}
	return &filter{fields: fields, log: h.Logger(), queue: newQueue(s, t.send, h.Logger()), target: t}, nil
}

type filter struct {
	fields *logentry.Fields
	log    *slog.Logger
	queue  *queue
	target *target
}

var (
	_ plugin.LogFilter = (*filter)(nil)
	_ plugin.Runner    = (*filter)(nil)
)

// OnLog queues the entry; the oldest gives way when the queue is full.
func (f *filter) OnLog(x *plugin.Exchange) {
	entry, err := f.fields.Append(nil, x)
	if err != nil {
		f.log.Warn("render log entry", "plugin", "http-log", "error", err)
	}
	f.queue.add(entry)
}

// Run sends what is queued until ctx ends, and then what is left, for drainFor at most.
func (f *filter) Run(ctx context.Context) error {
	defer f.target.client.CloseIdleConnections()
	if lost := f.queue.run(ctx); lost > 0 {
		f.log.Error("log entries are lost", "plugin", "http-log", "entries", lost)
		return errors.New("log entries could not be sent before the end")
	}
	return nil
}
