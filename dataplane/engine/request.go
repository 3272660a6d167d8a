package engine

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/sekifuda/sekifuda/dataplane/engine/h1"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
	"github.com/sekifuda/sekifuda/plugin"
)

// upgrades reports whether the client asks for a WebSocket.
func (e *exchange) upgrades() bool {
	h := &e.head
	return h.Upgrade && h.Minor > 0 && e.x.Request.Major == 1 && plugin.EqualName(h.Protocol, "websocket")
}

// method is the method for the upstream.
func (e *exchange) method() string {
	if m := e.x.Upstream.Method; m != "" {
		return m
	}
	return e.x.Request.Method
}

// hostFor is what Host says to a peer.
func (e *exchange) hostFor(p *upstream.Peer) string {
	u := e.endpoint.Upstream.Spec
	switch {
	case e.x.Upstream.Host != "":
		return e.x.Upstream.Host
	case e.endpoint.PreserveHost && e.x.Request.Host != "":
		return e.x.Request.Host
	case u.Balancer != nil && u.Balancer.HostHeader != "":
		return u.Balancer.HostHeader
	case p.Port == 443 && e.endpoint.Upstream.Secure() || p.Port == 80 && !e.endpoint.Upstream.Secure():
		return upstream.Bracketed(p.Host)
	}
	if p.Authority != "" {
		return p.Authority
	}
	from := len(e.scratch)
	e.scratch = append(append(e.scratch, upstream.Bracketed(p.Host)...), ':')
	e.scratch = strconv.AppendInt(e.scratch, int64(p.Port), 10)
	return e.since(from)
}

// appendRequest appends the head for the upstream.
func (e *exchange) appendRequest(o []byte, host string) []byte {
	x := &e.x
	o = append(o, e.method()...)
	o = append(o, ' ')
	o = e.appendURI(o)
	o = append(o, " HTTP/1.1\r\nHost: "...)
	o = h1.AppendValue(o, host)
	o = append(o, "\r\n"...)
	lines := x.Request.Header.Fields()
	for i := range lines {
		if !setByGate(lines[i].Name) {
			o = h1.AppendLine(o, &lines[i])
		}
	}
	o = e.appendForwarded(o)
	if e.eng.opt.Identity.RequestIDUpstream {
		o = append(o, "X-Kong-Request-Id: "...)
		o = append(o, x.ID...)
		o = append(o, "\r\n"...)
	}
	o = e.appendFraming(o)
	if e.head.Trailers {
		o = append(o, "TE: trailers\r\n"...)
	}
	if e.upgrades() {
		return append(o, "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"...)
	}
	return append(o, "Connection: keep-alive\r\n\r\n"...)
}

// appendURI appends path and query. A question mark with nothing behind it is kept.
func (e *exchange) appendURI(o []byte) []byte {
	x := &e.x
	if x.Upstream.Path == "" || x.Upstream.Path[0] != '/' {
		o = append(o, '/')
	}
	o = appendPath(o, x.Upstream.Path)
	if x.Upstream.Query != "" || x.Request.Query == "" && strings.HasSuffix(x.Request.Target, "?") {
		o = append(o, '?')
		o = appendQuery(o, x.Upstream.Query)
	}
	return o
}

func (e *exchange) appendFraming(o []byte) []byte {
	b := &e.body
	switch {
	case b.complete && (len(b.data) > 0 || e.x.Request.HasBody || e.head.Length >= 0 || e.head.Chunked):
		return appendLength(o, int64(len(b.data)))
	case b.complete:
		return o
	case e.head.Length >= 0:
		return appendLength(o, e.head.Length)
	}
	return append(o, "Transfer-Encoding: chunked\r\n"...)
}

// appendForwarded appends what the gate tells of the client. X-Forwarded-For names the peer,
// even where a trusted proxy named another client.
func (e *exchange) appendForwarded(o []byte) []byte {
	x, r := &e.x, &e.x.Request
	o = append(o, "X-Forwarded-For: "...)
	if r.Header.Count("X-Forwarded-For") > 0 {
		for v := range r.Header.Values("X-Forwarded-For") {
			o = append(h1.AppendValue(o, v), ", "...)
		}
		o = appendAddr(o, x.Peer.Addr())
	} else {
		o = appendAddr(o, x.Client)
	}
	o = append(o, "\r\nX-Forwarded-Proto: "...)
	o = h1.AppendValue(o, r.ForwardedProto)
	o = append(o, "\r\nX-Forwarded-Host: "...)
	o = h1.AppendValue(o, r.ForwardedHost)
	o = append(o, "\r\nX-Forwarded-Port: "...)
	o = strconv.AppendInt(o, int64(r.ForwardedPort), 10)
	o = append(o, "\r\nX-Forwarded-Path: "...)
	o = h1.AppendValue(o, e.forwardedOr("X-Forwarded-Path", r.Path))
	if p := e.forwardedOr("X-Forwarded-Prefix", e.prefix); p != "" {
		o = append(o, "\r\nX-Forwarded-Prefix: "...)
		o = h1.AppendValue(o, p)
	}
	o = append(o, "\r\nX-Real-IP: "...)
	o = appendAddr(o, x.Client)
	return e.appendVia(append(o, "\r\n"...))
}

// appendVia appends the gate to the client's Via.
func (e *exchange) appendVia(o []byte) []byte {
	r, own := &e.x.Request, e.eng.opt.Identity.Via
	theirs := r.Header.Count("Via")
	if theirs == 0 && own == "" {
		return o
	}
	o = append(o, "Via: "...)
	for v := range r.Header.Values("Via") {
		o = h1.AppendValue(o, v)
		if theirs--; theirs > 0 || own != "" {
			o = append(o, ", "...)
		}
	}
	if own != "" {
		o = append(o, clientVersion(r)...)
		o = append(o, ' ')
		o = append(o, own...)
	}
	return append(o, "\r\n"...)
}

func (e *exchange) forwardedOr(name, own string) string {
	if e.trusted {
		if v, ok := e.x.Request.Header.Lookup(name); ok {
			return v
		}
	}
	return own
}

func appendAddr(o []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return append(o, "unknown"...)
	}
	return a.AppendTo(o)
}

// clientVersion is the number in Via, as Lua prints it.
func clientVersion(r *plugin.Request) string {
	switch {
	case r.Major == 2:
		return "2"
	case r.Minor == 0:
		return "1"
	}
	return "1.1"
}

// setByGate names the fields of a request that the gate writes itself, and those that are for
// this hop only.
func setByGate(name string) bool {
	if name == "" {
		return true
	}
	switch name[0] | 0x20 {
	case 'h':
		return plugin.EqualName(name, "host")
	case 'c':
		return plugin.EqualName(name, "connection") || plugin.EqualName(name, "content-length")
	case 'k':
		return plugin.EqualName(name, "keep-alive")
	case 'p':
		return plugin.EqualName(name, "proxy") || plugin.EqualName(name, "proxy-connection")
	case 't':
		return plugin.EqualName(name, "te") || plugin.EqualName(name, "trailer") || plugin.EqualName(name, "transfer-encoding")
	case 'u':
		return plugin.EqualName(name, "upgrade")
	case 'e':
		return plugin.EqualName(name, "expect")
	case 'v':
		return plugin.EqualName(name, "via")
	case 'x':
		return setByGateX(name)
	}
	return false
}

func setByGateX(name string) bool {
	switch len(name) {
	case 9:
		return plugin.EqualName(name, "x-real-ip")
	case 15:
		return plugin.EqualName(name, "x-forwarded-for")
	case 16:
		return plugin.EqualName(name, "x-forwarded-host") || plugin.EqualName(name, "x-forwarded-port") ||
			plugin.EqualName(name, "x-forwarded-path")
	case 17:
		return plugin.EqualName(name, "x-forwarded-proto") || plugin.EqualName(name, "x-kong-request-id")
	case 18:
		return plugin.EqualName(name, "x-forwarded-prefix")
	}
	return false
}
