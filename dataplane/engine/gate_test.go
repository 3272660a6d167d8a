package engine

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/graph"
	"github.com/sekifuda/sekifuda/dataplane/router"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
	"github.com/sekifuda/sekifuda/plugin"
)

// testGraph serves endpoints by the longest path prefix.
type testGraph struct {
	routes []testRoute
	global *graph.Chain
	certs  map[string]*tls.Certificate
}

type testRoute struct {
	prefix string
	end    *graph.Endpoint
}

func (g *testGraph) Match(q *router.Request, m *router.Match[*graph.Endpoint]) bool {
	best := -1
	for i, r := range g.routes {
		if strings.HasPrefix(q.Path, r.prefix) && (best < 0 || len(r.prefix) > len(g.routes[best].prefix)) {
			best = i
		}
	}
	if best < 0 {
		return false
	}
	m.Value, m.Prefix = g.routes[best].end, q.Path[:len(g.routes[best].prefix)]
	return true
}

func (g *testGraph) Global() *graph.Chain                     { return g.global }
func (g *testGraph) Directory() plugin.Directory              { return nobody{} }
func (g *testGraph) Certificate(name string) *tls.Certificate { return g.certs[name] }

// gate is an engine on loopback in front of one upstream.
type gate struct {
	*Engine
	t    testing.TB
	addr string
	end  *graph.Endpoint
	g    *testGraph
}

// option changes a gate before it starts.
type option func(*Options, *graph.Endpoint, *upstream.Spec)

func startGate(t testing.TB, up string, opts ...option) *gate {
	t.Helper()
	spec := &upstream.Spec{
		ID: "s", Protocol: "http", Host: "127.0.0.1", Port: 1, Retries: 5,
		ConnectTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second,
	}
	if up != "" {
		ap := netip.MustParseAddrPort(up)
		spec.Host, spec.Port = ap.Addr().String(), int(ap.Port())
	}
	end := &graph.Endpoint{
		Route: &plugin.Route{ID: "r"}, Service: &plugin.Service{ID: "s", Host: spec.Host},
		Protocols: graph.HTTP | graph.HTTPS, StripPath: true, RequestBuffering: true, ResponseBuffering: true,
		RedirectStatus: 426,
	}
	o := Options{Logger: slog.New(slog.DiscardHandler)}
	for _, f := range opts {
		f(&o, end, spec)
	}
	if end.Service != nil {
		end.Upstream = upstream.New(spec, nil)
	}
	eng, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	eng.normalize = normalized
	g := &testGraph{routes: []testRoute{{"/ok", end}}}
	eng.Swap(g, 1)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { eng.Run(ctx) })
	l := listen(t)
	wg.Go(func() { eng.Serve(l) })
	t.Cleanup(func() {
		done, stop := context.WithTimeout(context.Background(), 5*time.Second)
		defer stop()
		eng.Shutdown(done)
		cancel()
		wg.Wait()
	})
	return &gate{Engine: eng, t: t, addr: l.Addr().String(), end: end, g: g}
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// raw sends bytes and returns a reader of what comes back.
func (g *gate) dial() (net.Conn, *bufio.Reader) {
	g.t.Helper()
	c, err := net.Dial("tcp", g.addr)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return c, bufio.NewReader(c)
}

// send sends one raw request on a new connection and returns the answer with its body read.
func (g *gate) send(raw string) *http.Response {
	g.t.Helper()
	c, r := g.dial()
	if _, err := io.WriteString(c, raw); err != nil {
		g.t.Fatal(err)
	}
	method, _, _ := strings.Cut(strings.TrimLeft(raw, "\r\n"), " ")
	return readAnswer(g.t, r, method)
}

func readAnswer(t testing.TB, r *bufio.Reader, method string) *http.Response {
	t.Helper()
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("read answer: %v", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("read body: %v", err)
	}
	resp.Body = io.NopCloser(strings.NewReader(string(body)))
	return resp
}

func bodyOf(r *http.Response) string {
	b, _ := io.ReadAll(r.Body)
	return string(b)
}

// rawUpstream serves connections with a function and keeps the requests it saw.
type rawUpstream struct {
	addr string
	mu   sync.Mutex
	seen []string
	conn int
}

// startUpstream answers each request with what answer returns; an empty answer closes.
func startUpstream(t *testing.T, answer func(n int, head, body string) string) *rawUpstream {
	t.Helper()
	u := &rawUpstream{}
	n := 0
	serveTCP(t, u, func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			head, body, err := readRequest(r)
			if err != nil {
				return
			}
			u.mu.Lock()
			n++
			k := n
			u.seen = append(u.seen, head+body)
			u.mu.Unlock()
			a := answer(k, head, body)
			if a == "" {
				return
			}
			if _, err := io.WriteString(c, a); err != nil {
				return
			}
		}
	})
	return u
}

func serveTCP(t testing.TB, u *rawUpstream, serve func(net.Conn)) {
	t.Helper()
	l := listen(t)
	u.addr = l.Addr().String()
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			u.mu.Lock()
			u.conn++
			u.mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
}

func (u *rawUpstream) conns() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.conn
}

func (u *rawUpstream) requests() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]string(nil), u.seen...)
}

// readRequest reads one request as it is on the wire.
func readRequest(r *bufio.Reader) (head, body string, err error) {
	var h strings.Builder
	length, chunked := 0, false
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", "", err
		}
		h.WriteString(line)
		if line == "\r\n" {
			break
		}
		if v, ok := strings.CutPrefix(line, "Content-Length: "); ok {
			length, _ = strconv.Atoi(strings.TrimSpace(v))
		}
		chunked = chunked || line == "Transfer-Encoding: chunked\r\n"
	}
	if chunked {
		var b strings.Builder
		for !strings.HasSuffix(b.String(), "0\r\n\r\n") {
			c, err := r.ReadByte()
			if err != nil {
				return h.String(), b.String(), err
			}
			b.WriteByte(c)
		}
		return h.String(), b.String(), nil
	}
	b := make([]byte, length)
	_, err = io.ReadFull(r, b)
	return h.String(), string(b), err
}

// hello answers every request with 200 and "hello".
func hello(int, string, string) string {
	return "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
}

// eventually polls until ok or ten seconds have passed.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	end := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 10 s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// noNames knows no name.
type noNames struct{}

func (noNames) Resolve(_ context.Context, host string) (upstream.Answer, error) {
	return upstream.Answer{}, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}
