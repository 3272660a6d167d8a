// Package tcplog sends a line of JSON for every exchange to a TCP server.
//
// It knows one connection and when to make a new one; what a line says is package logentry's.
// Enter at Definition.
package tcplog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
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
	if c.GetHost() == "" {
		return nil, errors.New("config.host: required field missing")
	}
	if c.GetPort() < 1 || c.GetPort() > 65535 {
		return nil, fmt.Errorf("config.port: %d is no port to connect to", c.GetPort())
	}
	fields, err := logentry.Compile(c.GetCustomFieldsByLua())
	if err != nil {
		return nil, err
	}
	return &filter{
		fields: fields, log: h.Logger(),
		queue: outbox.New(outbox.Settings{
			Entries: outbox.DefaultEntries, Bytes: outbox.DefaultBytes, Batch: batch,
		}, h.Logger().With("plugin", "tcp-log")),
		line: line{
			addr:    net.JoinHostPort(c.GetHost(), strconv.FormatInt(c.GetPort(), 10)),
			timeout: milliseconds(c.Timeout, defaultTimeoutMS), keepalive: milliseconds(c.Keepalive, defaultKeepaliveMS),
			tls: c.GetTls(), name: orElse(c.GetTlsSni(), c.GetHost()), now: time.Now,
		},
	}, nil
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func milliseconds(n *float64, other float64) time.Duration {
	if n != nil {
		other = *n
	}
	return time.Duration(other * float64(time.Millisecond))
}

type filter struct {
	fields *logentry.Fields
	log    *slog.Logger
	queue  *outbox.Queue
	line   line
}

var (
	_ plugin.LogFilter = (*filter)(nil)
	_ plugin.Runner    = (*filter)(nil)
)

// OnLog queues the exchange's line.
func (f *filter) OnLog(x *plugin.Exchange) {
	f.queue.Add(func(b []byte) []byte { return append(f.fields.AppendLogged(b, x, f.log), '\n') })
}

// Run sends what is queued until ctx ends, and then what is left.
func (f *filter) Run(ctx context.Context) error {
	defer f.line.close()
	f.queue.Run(ctx, f.line.send)
	return nil
}
