// Package httplog sends an entry of every exchange to an HTTP server, in batches.
//
// It knows queues, retries and HTTP; what is in an entry is package logentry's. Enter at
// Definition.
package httplog

import (
	"context"
	"log/slog"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/logentry"
	"github.com/sekifuda/sekifuda/plugin/outbox"
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
	fields, err := logentry.Compile(c.GetCustomFieldsByLua(), h)
	if err != nil {
		return nil, err
	}
	return &filter{
		fields: fields, log: h.Logger(), queue: outbox.New(s, h.Logger().With("plugin", "http-log")), target: t,
	}, nil
}

type filter struct {
	fields *logentry.Fields
	log    *slog.Logger
	queue  *outbox.Queue
	target *target
}

var (
	_ plugin.LogFilter = (*filter)(nil)
	_ plugin.Runner    = (*filter)(nil)
)

// OnLog queues the entry; the oldest gives way when the queue is full.
func (f *filter) OnLog(x *plugin.Exchange) {
	f.queue.Add(func(b []byte) []byte { return f.fields.AppendLogged(b, x, f.log) })
}

// Run sends what is queued until ctx ends, and then what is left.
func (f *filter) Run(ctx context.Context) error {
	defer f.target.client.CloseIdleConnections()
	f.queue.Run(ctx, f.target.send)
	return nil
}
