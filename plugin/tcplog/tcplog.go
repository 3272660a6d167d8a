// Package tcplog sends a line of JSON for every exchange to a TCP server.
//
// It knows one connection and when to make a new one; what a line says is package logentry's.
// Enter at Definition.
package tcplog

import (
	"context"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/logentry"
	"github.com/sekifuda/sekifuda/plugin/outbox"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// Kong's defaults, for a config that did not go through the schema.
const (
	defaultTimeoutMS   = 10000
	defaultKeepaliveMS = 60000
)

// batch is how many lines go into one write at most.
const batch = 256

// New reads the address. Nothing is connected.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	addr, err := logentry.Address(c.GetHost(), c.GetPort())
	if err != nil {
		return nil, err
	}
	sender, err := logentry.NewSender("tcp-log", c.GetCustomFieldsByLua(), batch, h)
	if err != nil {
		return nil, err
	}
	return &filter{sender: sender, line: line{
		addr:    addr,
		timeout: outbox.Milliseconds(c.Timeout, defaultTimeoutMS), keepalive: outbox.Milliseconds(c.Keepalive, defaultKeepaliveMS),
		tls: c.GetTls(), name: orElse(c.GetTlsSni(), c.GetHost()), now: time.Now,
	}}, nil
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

type filter struct {
	sender *logentry.Sender
	line   line
}

var (
	_ plugin.LogFilter = (*filter)(nil)
	_ plugin.Runner    = (*filter)(nil)
)

// OnLog queues the exchange's line.
func (f *filter) OnLog(x *plugin.Exchange) { f.sender.Add(x, nil, "\n") }

// Run sends what is queued until ctx ends, and then what is left.
func (f *filter) Run(ctx context.Context) error {
	defer f.line.close()
	f.sender.Run(ctx, f.line.send)
	return nil
}
