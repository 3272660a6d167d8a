package engine

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/dataplane/graph"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
)

var trustLoopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// everyPortIs maps all ports, as a test does not know which one it will get.
func everyPortIs(port uint16) map[uint16]uint16 {
	maps := map[uint16]uint16{}
	for p := range 1 << 16 {
		maps[uint16(p)] = port
	}
	return maps
}

func TestForwardedFields(t *testing.T) {
	t.Parallel()
	spoof := "X-Forwarded-For: 9.9.9.9, 8.8.8.8\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\n" +
		"X-Forwarded-Path: /p\r\nX-Forwarded-Prefix: /q\r\nX-Real-IP: 7.7.7.7\r\nX-Kong-Request-Id: spoofed\r\nVia: 1.0 me\r\n"
	for _, c := range []struct {
		name string
		opts option
		want []string
		not  []string
	}{
		{"untrusted", nil,
			[]string{"X-Forwarded-For: 9.9.9.9, 8.8.8.8, 127.0.0.1\r\n", "X-Forwarded-Proto: http\r\n", "X-Forwarded-Host: gw.test\r\n",
				"X-Forwarded-Path: /ok\r\n", "X-Forwarded-Prefix: /ok\r\n", "X-Real-IP: 127.0.0.1\r\n", "Via: 1.0 me, 1.1 kong/3.9.1\r\n"},
			[]string{"evil", "spoofed", "7.7.7.7", "/q"}},
		{"trusted", func(o *Options, _ *graph.Endpoint, _ *upstream.Spec) { o.TrustedIPs = trustLoopback },
			[]string{"X-Forwarded-For: 9.9.9.9, 8.8.8.8, 127.0.0.1\r\n", "X-Forwarded-Proto: https\r\n", "X-Forwarded-Host: evil\r\n",
				"X-Forwarded-Port: 1\r\n", "X-Forwarded-Path: /p\r\n", "X-Forwarded-Prefix: /q\r\n", "X-Real-IP: 7.7.7.7\r\n"},
			[]string{"spoofed"}},
		{"recursive", func(o *Options, _ *graph.Endpoint, _ *upstream.Spec) {
			o.TrustedIPs = append([]netip.Prefix{netip.MustParsePrefix("8.0.0.0/8")}, trustLoopback...)
			o.RealIPHeader, o.RealIPRecursive = "X-Forwarded-For", true
		}, []string{"X-Real-IP: 9.9.9.9\r\n"}, nil},
		{"not recursive", func(o *Options, _ *graph.Endpoint, _ *upstream.Spec) {
			o.TrustedIPs, o.RealIPHeader = trustLoopback, "X-Forwarded-For"
		}, []string{"X-Real-IP: 8.8.8.8\r\n"}, nil},
		{"mapped port", func(o *Options, _ *graph.Endpoint, _ *upstream.Spec) { o.PortMaps = everyPortIs(80) },
			[]string{"X-Forwarded-Port: 80\r\n"}, nil},
		{"preserved host", func(_ *Options, e *graph.Endpoint, _ *upstream.Spec) { e.PreserveHost = true },
			[]string{"Host: GW.test:99\r\n"}, nil},
		{"other identity", func(o *Options, _ *graph.Endpoint, _ *upstream.Spec) { o.Identity = &Identity{} },
			[]string{"Via: 1.0 me\r\n"}, []string{"kong"}},
	} {
		up := startUpstream(t, hello)
		opts := []option{}
		if c.opts != nil {
			opts = append(opts, c.opts)
		}
		g := startGate(t, up.addr, opts...)
		g.send("GET /ok HTTP/1.1\r\nHost: GW.test:99\r\n" + spoof + "\r\n")
		got := up.requests()[0]
		for _, w := range c.want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: upstream saw %q, want %q", c.name, got, w)
			}
		}
		for _, w := range c.not {
			if strings.Contains(got, w) {
				t.Errorf("%s: upstream saw %q, want no %q", c.name, got, w)
			}
		}
	}
}
