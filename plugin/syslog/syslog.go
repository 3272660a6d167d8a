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

// severities in syslog's numbers: the most severe is 0.
var severities = map[string]int{
	"emerg": 0, "alert": 1, "crit": 2, "err": 3, "warning": 4, "notice": 5, "info": 6, "debug": 7,
}

var facilities = map[string]int{
	"kern": 0, "user": 1, "mail": 2, "daemon": 3, "auth": 4, "syslog": 5, "lpr": 6, "news": 7, "uucp": 8, "cron": 9,
	"authpriv": 10, "ftp": 11, "local0": 16, "local1": 17, "local2": 18, "local3": 19, "local4": 20, "local5": 21,
	"local6": 22, "local7": 23,
}

// New reads the severities. Nothing is connected.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	f := &filter{socket: &socket{paths: paths}}
	for _, s := range []struct {
		field, value, other string
		known               map[string]int
		into                *int
	}{
		{"log_level", c.GetLogLevel(), "info", severities, &f.least},
		{"successful_severity", c.GetSuccessfulSeverity(), "info", severities, &f.successful},
		{"client_errors_severity", c.GetClientErrorsSeverity(), "info", severities, &f.clientErrors},
		{"server_errors_severity", c.GetServerErrorsSeverity(), "info", severities, &f.serverErrors},
		{"facility", c.GetFacility(), "user", facilities, &f.facility},
	} {
		if s.value == "" {
			s.value = s.other
		}
		n, ok := s.known[s.value]
		if !ok {
			return nil, fmt.Errorf("config.%s: unknown value %q", s.field, s.value)
		}
		*s.into = n
	}
	var err error
	if f.sender, err = logentry.NewSender("syslog", c.GetCustomFieldsByLua(), 1, h); err != nil {
		return nil, err
	}
	return f, nil
}

type filter struct {
	least                                  int // severity that is logged
	successful, clientErrors, serverErrors int
	facility                               int
	sender                                 *logentry.Sender
	socket                                 *socket
}

var (
	_ plugin.LogFilter = (*filter)(nil)
	_ plugin.Runner    = (*filter)(nil)
)

// OnLog queues the exchange's entry, when it is severe enough.
func (f *filter) OnLog(x *plugin.Exchange) {
	severity := f.severity(x.Response.Status)
	if severity > f.least {
		return
	}
	f.sender.Add(x, func(b []byte) []byte { return appendHead(b, f.facility<<3|severity, x.Times.End) }, "")
}

func (f *filter) severity(status int) int {
	switch {
	case status >= 500:
		return f.serverErrors
	case status >= 400:
		return f.clientErrors
	}
	return f.successful
}

// Run sends what is queued until ctx ends, and then what is left.
func (f *filter) Run(ctx context.Context) error {
	defer f.socket.close()
	f.sender.Run(ctx, f.socket.send)
	return nil
}
