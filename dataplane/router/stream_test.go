package router

import (
	"net/netip"
	"testing"
)

func nets(list ...string) []Net {
	var out []Net
	for _, s := range list {
		if p, err := netip.ParsePrefix(s); err == nil {
			out = append(out, Net{Range: p, Port: -1})
		} else if ap, err := netip.ParseAddrPort(s); err == nil {
			out = append(out, Net{Range: netip.PrefixFrom(ap.Addr(), ap.Addr().BitLen()), Port: int(ap.Port())})
		} else {
			a := netip.MustParseAddr(s)
			out = append(out, Net{Range: netip.PrefixFrom(a, a.BitLen()), Port: -1})
		}
	}
	return out
}

func streamOf(sni string, port uint16) *Request {
	q := &Request{SNI: sni, TLS: sni != "" || port == 9443, Port: port, Source: netip.MustParseAddrPort("10.1.2.3:4567"), Destination: netip.MustParseAddr("10.0.0.1")}
	q.AsStream()
	return q
}

func TestStreams(t *testing.T) {
	t.Parallel()
	tcp, tls := []string{"tcp"}, []string{"tcp", "tls"}
	port := func(n int) []Net { return []Net{{Port: n}} }
	named := &Route{ID: id(1), Protocols: tls, SNIs: []string{"a.com", "*.b.com"}}
	fromRange := &Route{ID: id(2), Protocols: tls, Sources: nets("10.1.0.0/16")}
	fromOne := &Route{ID: id(3), Protocols: tls, Sources: nets("10.1.2.3")}
	toPort := &Route{ID: id(4), Protocols: tls, Destinations: port(9000)}
	both := &Route{ID: id(5), Protocols: tls, Sources: nets("10.1.2.3"), Destinations: port(9000)}
	elsewhere := &Route{ID: id(6), Protocols: tls, Sources: nets("11.0.0.0/8", "10.1.2.3:1")}
	web := &Route{ID: id(7), Protocols: []string{"http"}, Methods: []string{"GET"}}
	expression := &Route{ID: id(8), Protocols: tls, Expression: `tls.sni == "e.com" && net.src.ip in 10.0.0.0/8`}
	plain := &Route{ID: id(9), Protocols: tcp, Expression: `net.dst.port == 9000`}
	for _, c := range []struct {
		name   string
		routes []*Route
		q      *Request
		want   *Route
	}{
		{"a name", []*Route{named, fromOne}, streamOf("A.com", 1), named},
		{"a name with a dot", []*Route{named}, streamOf("a.com.", 1), named},
		{"a wildcard", []*Route{named}, streamOf("x.b.com", 1), named},
		{"another name", []*Route{named}, streamOf("c.com", 1), nil},
		{"no name binds a plain connection", []*Route{named}, streamOf("", 1), named},
		{"no name in the handshake", []*Route{named}, streamOf("", 9443), nil},
		{"a plain connection is none for tls alone", []*Route{{ID: id(11), Protocols: []string{"tls"}, SNIs: []string{"a.com"}}, toPort}, streamOf("", 9000), toPort},
		{"an address before a range", []*Route{fromOne, fromRange}, streamOf("", 1), fromOne},
		{"a range", []*Route{fromRange, elsewhere}, streamOf("", 1), fromRange},
		{"a source before a destination", []*Route{fromRange, toPort}, streamOf("", 9000), fromRange},
		{"both ends before one", []*Route{fromOne, both, toPort}, streamOf("", 9000), both},
		{"another port", []*Route{both, toPort}, streamOf("", 9001), nil},
		{"elsewhere", []*Route{elsewhere}, streamOf("", 1), nil},
		{"no route of HTTP", []*Route{web, {ID: id(10), Protocols: []string{"http"}}}, streamOf("", 1), nil},
		{"an expression first", []*Route{named, both, expression}, streamOf("e.com", 9000), expression},
		{"an expression for plain connections", []*Route{plain}, streamOf("", 9000), plain},
		{"the same over TLS", []*Route{plain}, streamOf("e.com", 9000), nil},
	} {
		var m Match[string]
		want := ""
		if c.want != nil {
			want = c.want.ID
		}
		if routerOf(t, c.routes...).Match(c.q, &m); m.Value != want {
			t.Errorf("%s: Match = %q, want %q", c.name, m.Value, want)
		}
	}
	if routerOf(t, named, both).Match(ask("GET a.com/"), new(Match[string])) {
		t.Error("a request of HTTP is given to a route of streams")
	}
}
