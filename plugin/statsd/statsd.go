// Package statsd sends values of every exchange to a StatsD server.
//
// It knows under which names and tags they go; lines are package stats's. Enter at Definition.
package statsd

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/logentry"
	"github.com/sekifuda/sekifuda/plugin/outbox"
	"github.com/sekifuda/sekifuda/plugin/stats"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// timeout bounds what is done for one line, as in Kong.
const timeout = time.Second

// New reads the address and the metrics. Nothing is connected.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	host, port := "localhost", int64(8125)
	if c.Host != nil {
		host = c.GetHost()
	}
	if c.Port != nil {
		port = c.GetPort()
	}
	addr, err := logentry.Address(host, port)
	if err != nil {
		return nil, err
	}
	s, err := outbox.Read(c.GetQueue(), 1)
	if err != nil {
		return nil, err
	}
	if n := c.GetQueueSize(); n > 1 {
		s.Batch = int(n)
	}
	s.Batch *= max(len(c.GetMetrics()), 1) // a line each
	f := &filter{
		prefix: "kong", metrics: c.GetMetrics(), style: c.GetTagStyle(), node: "-",
		consumer: c.GetConsumerIdentifierDefault(), service: c.GetServiceIdentifierDefault(), workspace: c.GetWorkspaceIdentifierDefault(),
		queue: outbox.New(s, h.Logger().With("plugin", "statsd")),
		way:   way{socket: outbox.Socket{Network: "udp", Addr: addr, Timeout: timeout}, packet: int(c.GetUdpPacketSize())},
	}
	if name, err := os.Hostname(); err == nil {
		f.node = stats.Dotless(name)
	}
	if c.Prefix != nil {
		f.prefix = c.GetPrefix()
	}
	if c.GetHostnameInPrefix() && f.style == "" {
		f.prefix += ".node." + f.node
	}
	if c.GetUseTcp() {
		f.way.socket.Network, f.way.end = "tcp", "\n"
	}
	for _, text := range c.GetAllowStatusCodes() {
		r, err := readRange(text)
		if err != nil {
			return nil, fmt.Errorf("config.allow_status_codes: %w", err)
		}
		f.statuses = append(f.statuses, r)
	}
	return f, nil
}

type filter struct {
	prefix, node                 string
	metrics                      []*Config_Metric
	style                        string // of tags; "": names tell all
	consumer, service, workspace string // what names them, when a metric does not say
	statuses                     []statusRange
	queue                        *outbox.Queue
	way                          way
}

var (
	_ plugin.LogFilter = (*filter)(nil)
	_ plugin.Runner    = (*filter)(nil)
)

type statusRange struct{ from, to int }

func readRange(text string) (r statusRange, err error) {
	from, to, ok := strings.Cut(text, "-")
	if r.from, err = strconv.Atoi(from); err == nil {
		r.to, err = strconv.Atoi(to)
	}
	if !ok || err != nil {
		return r, fmt.Errorf("%q is no range of statuses", text)
	}
	return r, nil
}

func (f *filter) counts(status int) bool {
	for _, r := range f.statuses {
		if r.from <= status && status <= r.to {
			return true
		}
	}
	return f.statuses == nil
}

// OnLog queues a line for each metric that there is something to say of.
func (f *filter) OnLog(x *plugin.Exchange) {
	if !f.counts(x.Response.Status) {
		return
	}
	for _, m := range f.metrics {
		l := stats.Line{Prefix: f.prefix, Kind: stats.Kinds[m.GetStatType()], Rate: m.GetSampleRate(), Style: f.style}
		if f.fill(&l, x, m) {
			f.queue.Add(l.Append)
		}
	}
}

// fill completes a line. It reports false when there is nothing to say.
func (f *filter) fill(l *stats.Line, x *plugin.Exchange, m *Config_Metric) bool {
	name, value, plain := stats.Value(x, m.GetName())
	switch {
	case plain && value < 0:
		return false
	case plain && f.style != "":
		l.Name, l.Value, l.Tags = name, strconv.FormatInt(value, 10), f.tags(x, m)
		return true
	case plain:
		l.Name, l.Value = f.scope(x, m)+"."+name, strconv.FormatInt(value, 10)
		return true
	case f.style != "":
		return false // the tags of the others tell it
	}
	return f.detail(l, x, m)
}

// Run sends what is queued until ctx ends, and then what is left.
func (f *filter) Run(ctx context.Context) error {
	defer f.way.socket.Close()
	f.queue.Run(ctx, f.way.send)
	return nil
}
