package logentry

import (
	"strconv"

	"github.com/sekifuda/sekifuda/plugin"
)

// appendSession appends the entry of a connection that carried no HTTP.
func appendSession(b []byte, x *plugin.Exchange) []byte {
	s := x.Session
	b = append(b, `{"session":{"received":`...)
	b = strconv.AppendInt(b, s.Received, 10)
	b = append(b, `,"sent":`...)
	b = strconv.AppendInt(b, s.Sent, 10)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(x.Response.Status), 10)
	b = append(b, `,"server_port":`...)
	b = strconv.AppendUint(b, uint64(x.Local.Port()), 10)
	if x.Request.TLS != nil {
		b = appendTLS(b, x.Request.TLS)
	}
	b = append(b, `},"upstream":{"received":`...)
	b = strconv.AppendInt(b, s.UpstreamReceived, 10)
	b = append(b, `,"sent":`...)
	b = strconv.AppendInt(b, s.UpstreamSent, 10)
	l := x.Latencies()
	b = append(b, `},"latencies":{"kong":`...)
	b = strconv.AppendInt(b, l.Gate.Milliseconds(), 10)
	b = append(b, `,"session":`...)
	b = strconv.AppendInt(b, l.Request.Milliseconds(), 10)
	b = appendTries(append(b, '}'), x.Upstream.Tries)
	b = appendIdentity(b, x)
	return appendEnd(appendClient(b, x), x)
}
