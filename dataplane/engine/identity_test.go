package engine

import (
	"slices"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/dataplane/graph"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
	"github.com/sekifuda/sekifuda/plugin"
)

// TestIdentity has each word of Kong's settings on a proxied answer, on one of the gate's own,
// and on the request.
func TestIdentity(t *testing.T) {
	t.Parallel()
	all := []string{"Server", "Via", "X-Kong-Proxy-Latency", "X-Kong-Request-Id", "X-Kong-Response-Latency", "X-Kong-Upstream-Latency", "X-Kong-Upstream-Status"}
	for _, c := range []struct {
		headers, upstream string
		proxied, own      string
		id                bool // goes upstream
	}{
		{KongHeaders, KongHeadersUpstream, "Server Via X-Kong-Proxy-Latency X-Kong-Request-Id X-Kong-Upstream-Latency", "Server X-Kong-Request-Id X-Kong-Response-Latency", true},
		{"off", "off", "", "", false},
		{"off, via", "", "Via", "", false},
		{"Server", "off", "Server", "Server", false},
		{"latency_tokens", "x-kong-request-id", "X-Kong-Proxy-Latency X-Kong-Upstream-Latency", "X-Kong-Response-Latency", true},
		{"X-KONG-UPSTREAM-STATUS,x-kong-proxy-latency", "off", "X-Kong-Proxy-Latency X-Kong-Upstream-Status", "", false},
		{"x-kong-upstream-latency, x-kong-response-latency, x-kong-admin-latency", "off", "X-Kong-Upstream-Latency", "X-Kong-Response-Latency", false},
	} {
		t.Run(c.headers, func(t *testing.T) {
			t.Parallel()
			up := startUpstream(t, func(int, string, string) string { return hello(0, "", "") })
			g := startGate(t, up.addr, func(o *Options, _ *graph.Endpoint, _ *upstream.Spec) {
				var err error
				if o.Identity, err = ParseIdentity(c.headers, c.upstream); err != nil {
					t.Fatal(err)
				}
			})
			for path, want := range map[string]string{"/ok": c.proxied, "/none": c.own} {
				h := g.send("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n").Header
				shown := slices.DeleteFunc(slices.Clone(all), func(n string) bool { return h.Get(n) == "" })
				if got := strings.Join(shown, " "); got != want {
					t.Errorf("%s has %s, want %s", path, got, want)
				}
			}
			up.mu.Lock()
			defer up.mu.Unlock()
			if got := strings.Contains(up.seen[0], "X-Kong-Request-Id: "); got != c.id {
				t.Errorf("the upstream is told the id: %v, want %v", got, c.id)
			}
			if !strings.Contains(up.seen[0], "Via: 1.1 kong/3.9.1\r\n") {
				t.Error("the upstream is not told Via, which no setting takes away")
			}
		})
	}
	for words, want := range map[string]bool{KongHeaders: true, "off": false, "x-kong-admin-latency": true, "x-kong-proxy-latency": false} {
		if id, err := ParseIdentity(words, ""); err != nil || id.AdminLatency != want {
			t.Errorf("%q shows the Admin API's latency: %v, want %v (%v)", words, !want, want, err)
		}
	}
	for _, bad := range [][2]string{{"x", ""}, {"", "server_tokens"}} {
		if _, err := ParseIdentity(bad[0], bad[1]); err == nil {
			t.Errorf("ParseIdentity(%q, %q) is accepted", bad[0], bad[1])
		}
	}
}

func TestDebugHeader(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, func(int, string, string) string { return hello(0, "", "") })
	for _, c := range []struct {
		allowed     bool
		line        string
		id, service string
	}{
		{true, "Kong-Debug: 1\r\n", "r", "svc"}, {true, "", "", ""}, {false, "Kong-Debug: 1\r\n", "", ""},
	} {
		g := startGate(t, up.addr, func(o *Options, e *graph.Endpoint, _ *upstream.Spec) {
			o.DebugHeader = c.allowed
			e.Service = &plugin.Service{ID: "s", Name: "svc"}
		})
		h := g.send("GET /ok HTTP/1.1\r\nHost: a\r\n" + c.line + "\r\n").Header
		if h.Get("Kong-Route-Id") != c.id || h.Get("Kong-Service-Name") != c.service || h.Get("Kong-Route-Name") != "" {
			t.Errorf("allowed %v, %q: %v", c.allowed, c.line, h)
		}
	}
}

func TestErrorType(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]string{"": "text/plain; charset=utf-8", "application/json": "application/json; charset=utf-8", "text/html": "text/html; charset=utf-8"} {
		g := startGate(t, "127.0.0.1:1", func(o *Options, _ *graph.Endpoint, _ *upstream.Spec) { o.ErrorType = kind })
		for _, raw := range []string{"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n", "GET /ok HTTP/1.1\r\nHost a\r\n\r\n"} {
			if got := g.send(raw).Header.Get("Content-Type"); got != want {
				t.Errorf("with %q, %q is answered with %s, want %s", kind, raw, got, want)
			}
		}
	}
}

func TestErrorPagesOfTheUser(t *testing.T) {
	t.Parallel()
	page, err := ParsePage("100%% ours: %s (%s)\n")
	if err != nil {
		t.Fatal(err)
	}
	g := startGate(t, "127.0.0.1:1", func(o *Options, _ *graph.Endpoint, _ *upstream.Spec) {
		o.Pages = map[string]Page{"text/html": page}
	})
	for accept, want := range map[string]string{
		"text/html": "100% ours: no Route matched with those values (ID)\n", "text/plain": "no Route matched with those values\nrequest_id: ID\n",
	} {
		r := g.send("GET /none HTTP/1.1\r\nHost: a\r\nAccept: " + accept + "\r\n\r\n")
		if got, want := bodyOf(r), strings.ReplaceAll(want, "ID", r.Header.Get("X-Kong-Request-Id")); got != want {
			t.Errorf("%s: %q, want %q", accept, got, want)
		}
	}
}

func TestParsePage(t *testing.T) {
	t.Parallel()
	for template, want := range map[string]string{"": "", "a%sb%sc": "a|b|c", "%%s%s": "%s|", "%s": "|", "%s%s%s": "!", "%d": "!", "a%": "!"} {
		p, err := ParsePage(template)
		if got := strings.Join(p, "|"); err == nil && got != want || (err != nil) != (want == "!") {
			t.Errorf("ParsePage(%q) = %q, %v; want %q", template, got, err, want)
		}
	}
}
