package engine

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/dataplane/graph"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
)

// announce has a gate serve another listener, on which PROXY headers come first.
func (g *gate) announce() {
	l := listen(g.t)
	g.addr = l.Addr().String()
	done := make(chan struct{})
	go func() { defer close(done); g.Serve(Announced{l}) }()
	g.t.Cleanup(func() { l.Close(); g.Shutdown(context.Background()); <-done })
}

func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	const (
		header  = "PROXY TCP4 192.0.2.7 10.0.0.1 4567 80\r\n"
		request = "GET /ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	)
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for _, c := range []struct {
		name, header, realIP string
		trusted              []netip.Prefix
		client               string // by X-Real-IP at the upstream; "" for a connection that is closed
		malformed, untrusted uint64
	}{
		{"believed", header, FromProxyProtocol, loopback, "192.0.2.7", 0, 0},
		{"not asked for", header, "X-Real-IP", loopback, "127.0.0.1", 0, 0},
		{"spoofed", header, FromProxyProtocol, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, "127.0.0.1", 0, 1},
		{"nobody is trusted", header, FromProxyProtocol, nil, "127.0.0.1", 0, 1},
		{"says nothing", "PROXY UNKNOWN\r\n", FromProxyProtocol, loopback, "127.0.0.1", 0, 0},
		{"none", "", FromProxyProtocol, loopback, "", 1, 0},
		{"malformed", "PROXY TCP4 192.0.2.7 10.0.0.1 4567 99999\r\n", FromProxyProtocol, loopback, "", 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			up := startUpstream(t, func(int, string, string) string { return hello(0, "", "") })
			g := startGate(t, up.addr, func(o *Options, _ *graph.Endpoint, _ *upstream.Spec) {
				o.RealIPHeader, o.TrustedIPs = c.realIP, c.trusted
			})
			g.announce()
			conn, r := g.dial()
			if _, err := io.WriteString(conn, c.header+request); err != nil {
				t.Fatal(err)
			}
			answer, err := http.ReadResponse(r, nil)
			if c.client == "" {
				if err == nil {
					t.Errorf("it is answered with %s, want it closed", answer.Status)
				}
			} else {
				if err != nil || answer.StatusCode != 200 {
					t.Fatalf("answer %v (%v), want 200", answer, err)
				}
				up.mu.Lock()
				seen := up.seen[0]
				up.mu.Unlock()
				if !strings.Contains(seen, "\r\nX-Real-IP: "+c.client+"\r\n") {
					t.Errorf("the upstream saw\n%s\nwant X-Real-IP: %s", seen, c.client)
				}
			}
			if n := g.Counts(); n.MalformedProxy != c.malformed || n.UntrustedProxy != c.untrusted {
				t.Errorf("counts: %d malformed, %d untrusted; want %d, %d", n.MalformedProxy, n.UntrustedProxy, c.malformed, c.untrusted)
			}
		})
	}
}
