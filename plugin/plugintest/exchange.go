// Package plugintest is what tests of plugins stand on: an exchange without a connection, a
// directory in memory, a host with exact counters and a clock that tests move, and the
// recorded vectors.
//
// It knows nothing of any one plugin and of no plane. Enter at Request.Exchange and NewHost.
package plugintest

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// Request describes a request in the fewest words. The zero value is GET / from 192.0.2.1.
type Request struct {
	Method string
	Target string   // "/"
	Lines  []string // header lines, "Name: value", in order
	Body   string
	Client string // IP address
	Host   string // "gw.test"
	// Unknown sends the body without its length, as a chunked one.
	Unknown bool
}

// Exchange makes the exchange of the request as filters meet it: where the request goes is
// the same path and query. Nothing of it is shared with another.
func (r Request) Exchange() *plugin.Exchange {
	x := &plugin.Exchange{}
	x.Bind(&engine{body: []byte(r.Body)})
	r.fill(x)
	return x
}

// Again makes x an exchange of the request once more, as a gate uses its memory again.
func (r Request) Again(x *plugin.Exchange, e plugin.Engine) {
	x.Bind(e)
	r.fill(x)
}

// Engine returns an engine that serves body and nothing else.
func Engine(body string) plugin.Engine { return &engine{body: []byte(body)} }

func (r Request) fill(x *plugin.Exchange) {
	x.ID = "00000000000000000000000000000001"
	x.Client = netip.MustParseAddr(orElse(r.Client, "192.0.2.1"))
	x.Peer = netip.AddrPortFrom(x.Client, 40000)
	x.Local = netip.MustParseAddrPort("192.0.2.9:8080")
	x.Directory = noDirectory
	q := &x.Request
	q.Method, q.Scheme, q.Major, q.Minor = orElse(r.Method, "GET"), "http", 1, 1
	q.Host = orElse(r.Host, "gw.test")
	q.Target = orElse(r.Target, "/")
	q.Path, q.Query, _ = strings.Cut(q.Target, "?")
	q.ForwardedProto, q.ForwardedHost, q.ForwardedPort = "http", q.Host, 8080
	for _, line := range r.Lines {
		name, value, _ := strings.Cut(line, ":")
		q.Header.Append(name, strings.TrimSpace(value))
	}
	q.HasBody, q.Length = r.Body != "", int64(len(r.Body))
	if r.Unknown {
		q.Length = -1
	}
	x.Upstream.Path, x.Upstream.Query = q.Path, q.Query
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

type engine struct {
	body []byte
}

func (e *engine) Context() context.Context { return context.Background() }

func (e *engine) ReadBody(limit int64) ([]byte, error) {
	if limit > 0 && int64(len(e.body)) > limit {
		return nil, plugin.ErrBodyTooLarge
	}
	return e.body, nil
}

func (e *engine) SetBody(b []byte) { e.body = b }

// Body returns the request's body as it would go upstream.
func Body(x *plugin.Exchange) string {
	b, err := x.ReadBody(0)
	if err != nil {
		return "unreadable: " + err.Error()
	}
	return string(b)
}

// Answer makes the answer of the exchange: the upstream's head of status and lines, or the
// gate's own when v is one. Early lines replace lines of their names, then f sees it.
func Answer(x *plugin.Exchange, f plugin.Filter, v plugin.Verdict, status int, lines ...string) {
	x.Response.Status, x.Response.Source = status, plugin.FromUpstream
	if v.Done() {
		x.Response.Status, x.Response.Source = v.Status(), plugin.FromGate
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		x.Response.Header.Append(name, strings.TrimSpace(value))
	}
	for _, e := range x.Early.Fields() {
		x.Response.Header.Del(e.Name)
	}
	for _, e := range x.Early.Fields() {
		x.Response.Header.Append(e.Name, e.Value)
	}
	if r, ok := f.(plugin.ResponseFilter); ok {
		r.OnResponse(x)
	}
}

// Timed gives the exchange the times of one that was proxied: 3 ms in the gate, 20 ms at the
// upstream, 5 ms to receive.
func Timed(x *plugin.Exchange, start time.Time) {
	x.Times = plugin.Times{
		Start:     start,
		Proxied:   start.Add(3 * time.Millisecond),
		FirstByte: start.Add(23 * time.Millisecond),
		End:       start.Add(28 * time.Millisecond),
	}
}
