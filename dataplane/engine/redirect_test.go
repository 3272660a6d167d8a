package engine

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/dataplane/graph"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
	"github.com/sekifuda/sekifuda/plugin"
)

func TestFiltersRedirectToAnotherServer(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, hello)
	for name, service := range map[string]option{
		"a service that is not there": func(*Options, *graph.Endpoint, *upstream.Spec) {},
		"a route without a service": func(_ *Options, e *graph.Endpoint, _ *upstream.Spec) {
			e.Service = nil
		},
	} {
		g := startGate(t, "", withChain(chainOf(requestFunc(func(x *plugin.Exchange) plugin.Verdict {
			x.Upstream.Scheme, x.Upstream.Authority, x.Upstream.Host = "http", up.addr, "model.test"
			x.Upstream.Path = "/v1/chat"
			return plugin.Next
		}))), service)
		for range 2 {
			if r := g.send(getOK + "\r\n"); r.StatusCode != 200 {
				t.Errorf("%s: status = %d, want 200", name, r.StatusCode)
			}
		}
	}
	for _, seen := range up.requests() {
		if !strings.HasPrefix(seen, "GET /v1/chat HTTP/1.1\r\nHost: model.test\r\n") {
			t.Errorf("upstream saw %q", seen)
		}
	}
}

func TestWaysAreRememberedAndBounded(t *testing.T) {
	t.Parallel()
	from, w := &graph.Endpoint{}, &ways{}
	one, err := w.to(from, "https", "a.test:443")
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := w.to(from, "https", "a.test:443"); again != one {
		t.Error("the same way is made twice")
	}
	if s := one.Upstream.Spec; s.Protocol != "https" || s.Host != "a.test" || s.Port != 443 || s.Retries != 5 {
		t.Errorf("way = %+v", s)
	}
	for i := range 2 * maxWays {
		if _, err := w.to(from, "http", fmt.Sprintf("h%d.test:80", i)); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.known) > maxWays {
		t.Errorf("%d ways are remembered, want at most %d", len(w.known), maxWays)
	}
	for _, bad := range []string{"a.test", "a.test:x", "a.test:65536"} {
		if _, err := w.to(from, "http", bad); err == nil {
			t.Errorf("to(%q) = nil, want an error", bad)
		}
	}
}

func TestFiltersEditPieceByPiece(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"with a length": "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabcdef",
		"in chunks":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
	} {
		up := startUpstream(t, func(int, string, string) string { return answer })
		g := startGate(t, up.addr, withChain(chainOf(responseFunc(func(x *plugin.Exchange) {
			x.Response.Edit(func(piece []byte, last bool) []byte {
				out := bytes.ToUpper(piece)
				if last {
					out = append(out, "!"...)
				}
				return out
			})
		}))))
		r := g.send(getOK + "\r\n")
		if body := bodyOf(r); body != "ABCDEF!" || r.Header.Get("Content-Length") != "" {
			t.Errorf("%s: body = %q, head %v", name, body, r.Header)
		}
		if r := g.send(getOK + "\r\n"); bodyOf(r) != "ABCDEF!" {
			t.Errorf("%s: the connection is not in step", name)
		}
	}
}
