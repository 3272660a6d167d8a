// Package udplog sends a datagram of JSON for every exchange to a UDP server.
//
// It knows one socket; what a datagram says is package logentry's. Enter at Definition.
package udplog

import (
	"context"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/logentry"
	"github.com/sekifuda/sekifuda/plugin/outbox"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

const defaultTimeoutMS = 10000

// New reads the address. Nothing is resolved.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	addr, err := logentry.Address(c.GetHost(), c.GetPort())
	if err != nil {
		return nil, err
	}
	sender, err := logentry.NewSender("udp-log", c.GetCustomFieldsByLua(), 1, h)
	if err != nil {
		return nil, err
	}
	return &filter{sender: sender, socket: outbox.Socket{
		Network: "udp", Addr: addr, Timeout: outbox.Milliseconds(c.Timeout, defaultTimeoutMS),
	}}, nil
}

type filter struct {
	sender *logentry.Sender
	socket outbox.Socket
}

var (
	_ plugin.LogFilter = (*filter)(nil)
	_ plugin.Runner    = (*filter)(nil)
)

// OnLog queues the exchange's datagram.
func (f *filter) OnLog(x *plugin.Exchange) { f.sender.Add(x, nil, "") }

// Run sends what is queued until ctx ends, and then what is left.
func (f *filter) Run(ctx context.Context) error {
	defer f.socket.Close()
	f.sender.Run(ctx, f.socket.Send)
	return nil
}
