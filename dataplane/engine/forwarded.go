package engine

import (
	"net/netip"
	"strconv"
	"strings"
)

// trusts reports whether an address is one of those whose word is taken.
func (o *Options) trusts(a netip.Addr) bool {
	for _, p := range o.TrustedIPs {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// locate finds out who asks, and what a trusted proxy in front says of how.
func (e *exchange) locate() {
	x, o := &e.x, &e.eng.opt
	r := &x.Request
	x.Client = x.Peer.Addr()
	e.trusted = len(o.TrustedIPs) > 0 && o.trusts(x.Peer.Addr())
	e.host, e.port = splitHost(r.Host)
	host := e.host
	if host == "" {
		host = o.Identity.Host
	}
	r.ForwardedProto, r.ForwardedHost, r.ForwardedPort = r.Scheme, e.lower(host), x.Local.Port()
	e.believe()
	if !e.trusted {
		return
	}
	if v, ok := r.Header.Lookup(o.RealIPHeader); ok {
		x.Client = o.realIP(v, x.Client)
	}
	if v := r.Header.Get("X-Forwarded-Proto"); v != "" {
		r.ForwardedProto = v
	}
	if v := r.Header.Get("X-Forwarded-Host"); v != "" {
		r.ForwardedHost = v
	}
	if p, err := strconv.ParseUint(r.Header.Get("X-Forwarded-Port"), 10, 16); err == nil && p > 0 {
		r.ForwardedPort = uint16(p)
	}
}

// realIP reads the client's address from the end of a list. Without recursion it is the last
// one; with it, the last one that is not trusted itself.
func (o *Options) realIP(list string, peer netip.Addr) netip.Addr {
	for client := peer; ; {
		i := strings.LastIndexByte(list, ',')
		a, ok := parseAddr(strings.TrimSpace(list[i+1:]))
		if !ok {
			return client
		}
		client = a
		if i < 0 || !o.RealIPRecursive || !o.trusts(a) {
			return client
		}
		list = list[:i]
	}
}

func parseAddr(s string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Unmap(), true
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap(), true
	}
	return netip.Addr{}, false
}

// lower returns s in lower case, as nginx's $host is; mostly s itself.
func (e *exchange) lower(s string) string {
	for i := 0; i < len(s); i++ {
		if 'A' <= s[i] && s[i] <= 'Z' {
			from := len(e.scratch)
			for _, c := range []byte(s) {
				if 'A' <= c && c <= 'Z' {
					c |= 0x20
				}
				e.scratch = append(e.scratch, c)
			}
			return e.since(from)
		}
	}
	return s
}
