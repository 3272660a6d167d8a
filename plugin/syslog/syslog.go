// Package syslog sends an entry of JSON for every exchange to the machine's syslog.
//
// It knows severities, facilities and the local socket; what an entry says is package
// logentry's. Enter at Definition.
package syslog

import (
	"context"
	"fmt"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/logentry"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

var facilities = map[string]int{
	"kern": 0, "user": 1, "mail": 2, "daemon": 3, "auth": 4, "syslog": 5, "lpr": 6, "news": 7, "uucp": 8, "cron": 9,
	"authpriv": 10, "ftp": 11, "local0": 16, "local1": 17, "local2": 18, "local3": 19, "local4": 20, "local5": 21,
	"local6": 22, "local7": 23,
}

// New reads the severities. Nothing is connected.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	f := &filter{socket: &socket{paths: paths}, facility: facilities["user"]}
	var err error
	if f.levels, err = logentry.ReadLevels(
		c.GetLogLevel(), c.GetSuccessfulSeverity(), c.GetClientErrorsSeverity(), c.GetServerErrorsSeverity(),
	); err != nil {
		return nil, err
	}
	if name := c.GetFacility(); name != "" {
		var ok bool
		if f.facility, ok = facilities[name]; !ok {
			return nil, fmt.Errorf("config.facility: unknown value %q", name)
		}
	}
	if f.sender, err = logentry.NewSender("syslog", c.GetCustomFieldsByLua(), 1, h); err != nil {
		return nil, err
	}
	return f, nil
}

type filter struct {
	levels   logentry.Levels
	facility int
	sender   *logentry.Sender
	socket   *socket
}

var (
	_ plugin.LogFilter = (*filter)(nil)
	_ plugin.Runner    = (*filter)(nil)
)

// OnLog queues the exchange's entry, when it is severe enough.
func (f *filter) OnLog(x *plugin.Exchange) {
	severity, logged := f.levels.Of(x.Response.Status)
	if !logged {
		return
	}
	f.sender.Add(x, func(b []byte) []byte { return appendHead(b, f.facility<<3|severity, x.Times.End) }, "")
}

// Run sends what is queued until ctx ends, and then what is left.
func (f *filter) Run(ctx context.Context) error {
	defer f.socket.close()
	f.sender.Run(ctx, f.socket.send)
	return nil
}
