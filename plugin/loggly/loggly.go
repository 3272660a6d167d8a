// Package loggly sends a syslog datagram of JSON for every exchange to Loggly.
//
// It knows the datagram's head; what an entry says is package logentry's. Enter at Definition.
package loggly

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/logentry"
	"github.com/sekifuda/sekifuda/plugin/outbox"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// Kong's defaults, for a config that did not go through the schema.
const (
	defaultHost      = "logs-01.loggly.com"
	defaultPort      = 514
	defaultTimeoutMS = 10000
)

// enterprise is Loggly's number among those of IANA; it stands behind every customer's token.
const enterprise = "@41058"

// New reads the address and the severities. Nothing is connected.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	if c.GetKey() == "" {
		return nil, errors.New("config.key: required field missing")
	}
	host, port := defaultHost, int64(defaultPort)
	if c.Host != nil {
		host = c.GetHost()
	}
	if c.Port != nil {
		port = c.GetPort()
	}
	f := &filter{tail: tail(c)}
	addr, err := logentry.Address(host, port)
	if err != nil {
		return nil, err
	}
	if f.levels, err = logentry.ReadLevels(
		c.GetLogLevel(), c.GetSuccessfulSeverity(), c.GetClientErrorsSeverity(), c.GetServerErrorsSeverity(),
	); err != nil {
		return nil, err
	}
	if f.sender, err = logentry.NewSender("loggly", c.GetCustomFieldsByLua(), 1, h); err != nil {
		return nil, err
	}
	f.socket = outbox.Socket{Network: "udp", Addr: addr, Timeout: outbox.Milliseconds(c.Timeout, defaultTimeoutMS)}
	return f, nil
}

// tail is the head's part that is always the same: host, program, token and tags.
func tail(c *Config) string {
	name, err := os.Hostname()
	if err != nil {
		name = "-"
	}
	var tags []string
	for _, t := range c.GetTags() {
		tags = append(tags, `tag="`+strings.NewReplacer(`\`, `\\`, `"`, `\"`, `]`, `\]`).Replace(t)+`"`)
	}
	return " " + name + " kong - - [" + c.GetKey() + enterprise + " " + strings.Join(tags, " ") + "] "
}

type filter struct {
	levels logentry.Levels
	tail   string
	sender *logentry.Sender
	socket outbox.Socket
}

var (
	_ plugin.LogFilter = (*filter)(nil)
	_ plugin.Runner    = (*filter)(nil)
)

// OnLog queues the exchange's datagram, when it is severe enough.
func (f *filter) OnLog(x *plugin.Exchange) {
	severity, logged := f.levels.Of(x.Response.Status)
	if !logged {
		return
	}
	const user = 1 // the facility
	f.sender.Add(x, func(b []byte) []byte {
		b = strconv.AppendInt(append(b, '<'), int64(user<<3|severity), 10)
		b = x.Times.End.UTC().AppendFormat(append(b, ">1 "...), time.RFC3339)
		return append(b, f.tail...)
	}, "")
}

// Run sends what is queued until ctx ends, and then what is left.
func (f *filter) Run(ctx context.Context) error {
	defer f.socket.Close()
	f.sender.Run(ctx, f.socket.Send)
	return nil
}
