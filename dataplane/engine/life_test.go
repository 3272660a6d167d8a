package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/graph"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
	"github.com/sekifuda/sekifuda/plugin"
)

func TestSwapLetsOldExchangesFinish(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	revisions := make(chan uint64, 4)
	hold := chainOf(requestFunc(func(x *plugin.Exchange) plugin.Verdict {
		close(entered)
		<-leave
		revisions <- x.Revision
		return plugin.Exit(200, "", "old")
	}))
	g := startGate(t, "", withChain(hold))
	c, r := g.dial()
	io.WriteString(c, getOK+"\r\n")
	<-entered
	next := *g.end
	next.Chain = chainOf(requestFunc(func(x *plugin.Exchange) plugin.Verdict {
		revisions <- x.Revision
		return plugin.Exit(200, "", "new")
	}))
	retired := g.Swap(&testGraph{routes: []testRoute{{"/ok", &next}}}, 2)
	if retired.Quiesced() {
		t.Error("quiesced while an exchange is under way")
	}
	if got := bodyOf(g.send(getOK + "\r\n")); got != "new" || <-revisions != 2 {
		t.Errorf("after the swap: %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := retired.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("wait = %v", err)
	}
	close(leave)
	if got := bodyOf(readAnswer(t, r, "GET")); got != "old" || <-revisions != 1 {
		t.Errorf("the old exchange: %q", got)
	}
	if err := retired.Wait(t.Context()); err != nil {
		t.Errorf("wait = %v", err)
	}
}

func TestShutdownFinishesExchanges(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	g := startGate(t, "", withChain(chainOf(requestFunc(func(x *plugin.Exchange) plugin.Verdict {
		if x.Request.Query == "hold" {
			close(entered)
			<-leave
		}
		return plugin.Exit(200, "", "done")
	}))))
	idle, idleR := g.dial()
	io.WriteString(idle, getOK+"\r\n")
	readAnswer(t, idleR, "GET")
	busy, busyR := g.dial()
	io.WriteString(busy, "GET /ok?hold HTTP/1.1\r\nHost: a\r\n\r\n")
	<-entered
	over := make(chan error, 1)
	go func() { over <- g.Shutdown(context.Background()) }()
	if _, err := idleR.ReadByte(); err != io.EOF {
		t.Errorf("idle connection: %v, want EOF", err)
	}
	eventually(t, "listener closed", func() bool {
		c, err := net.Dial("tcp", g.addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	select {
	case err := <-over:
		t.Fatalf("shut down (%v) while an exchange is under way", err)
	default:
	}
	close(leave)
	if a := readAnswer(t, busyR, "GET"); bodyOf(a) != "done" || !a.Close {
		t.Errorf("answer: close = %v", a.Close)
	}
	if err := <-over; err != nil {
		t.Error(err)
	}
}

func TestShutdownGivesUp(t *testing.T) {
	t.Parallel()
	u := &rawUpstream{}
	asked := make(chan struct{})
	serveTCP(t, u, func(c net.Conn) { readRequest(bufio.NewReader(c)); close(asked); io.Copy(io.Discard, c) })
	g := startGate(t, u.addr)
	c, r := g.dial()
	io.WriteString(c, getOK+"\r\n")
	<-asked
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := g.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("shutdown = %v", err)
	}
	if _, err := r.ReadByte(); err == nil {
		t.Error("connection still open")
	}
}

func TestCounts(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, hello)
	g := startGate(t, up.addr)
	c, r := g.dial()
	for range 3 {
		io.WriteString(c, getOK+"\r\n")
		readAnswer(t, r, "GET")
	}
	g.send("GET /ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	eventually(t, "counts", func() bool {
		n := g.Counts()
		return n.Requests == 4 && n.Active == 1 && n.Waiting == 1 && n.Accepted == 2 && n.Handled == 2
	})
}

func TestRetries(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, method string
		retries      int
		conns        int
	}{
		{"GET is tried again", "GET", 2, 3},
		{"PUT is tried again", "PUT", 1, 2},
		{"POST is not", "POST", 5, 1},
		{"no retries", "GET", 0, 1},
	} {
		up := startUpstream(t, func(int, string, string) string { return "" })
		tries := make(chan string, 1)
		g := startGate(t, up.addr, func(_ *Options, e *graph.Endpoint, s *upstream.Spec) {
			s.Retries = c.retries
			e.Chain = chainOf(logFunc(func(x *plugin.Exchange) { tries <- fmt.Sprint(len(x.Upstream.Tries), x.Response.UpstreamStatus) }))
		})
		r := g.send(c.method + " /ok HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
		if r.StatusCode != 502 || up.conns() != c.conns {
			t.Errorf("%s: %d after %d connections, want %d", c.name, r.StatusCode, up.conns(), c.conns)
		}
		want := fmt.Sprint(c.conns, strings.TrimPrefix(strings.Repeat(", 502", c.conns), ", "))
		if got := <-tries; got != want {
			t.Errorf("%s: log says %q, want %q", c.name, got, want)
		}
	}
}

func TestConnectFailureIsRetriedForAllMethods(t *testing.T) {
	t.Parallel()
	dead := listen(t)
	dead.Close()
	tries := make(chan int, 1)
	g := startGate(t, dead.Addr().String(), func(_ *Options, e *graph.Endpoint, s *upstream.Spec) {
		s.Retries = 2
		e.Chain = chainOf(logFunc(func(x *plugin.Exchange) { tries <- len(x.Upstream.Tries) }))
	})
	if r := g.send("POST /ok HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"); r.StatusCode != 502 || <-tries != 3 {
		t.Errorf("answer = %d", r.StatusCode)
	}
}

// TestStaleConnections has the upstream close a kept connection: the next request succeeds
// without counting as a failed try, and a POST is never sent twice.
func TestStaleConnections(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "POST"} {
		var served atomic.Int32
		u := &rawUpstream{}
		closed := make(chan struct{}, 8)
		serveTCP(t, u, func(c net.Conn) {
			if _, _, err := readRequest(bufio.NewReader(c)); err != nil {
				return
			}
			served.Add(1)
			io.WriteString(c, hello(0, "", ""))
			c.Close()
			closed <- struct{}{}
		})
		g := startGate(t, u.addr, func(_ *Options, _ *graph.Endpoint, s *upstream.Spec) { s.Retries = 0 })
		c, r := g.dial()
		for range 3 {
			io.WriteString(c, method+" /ok HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
			if a := readAnswer(t, r, method); a.StatusCode != 200 {
				t.Fatalf("%s: %d", method, a.StatusCode)
			}
			<-closed
		}
		if n := served.Load(); n != 3 {
			t.Errorf("%s: served %d times, want 3", method, n)
		}
	}
}

func TestUnsolicitedBytesSpoilAConnection(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, func(n int, _, _ string) string {
		return hello(0, "", "") + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	})
	g := startGate(t, up.addr)
	c, r := g.dial()
	for range 3 {
		io.WriteString(c, getOK+"\r\n")
		if got := bodyOf(readAnswer(t, r, "GET")); got != "hello" {
			t.Fatalf("answer = %q", got)
		}
	}
}

func TestUpstreamConnectionsAreKept(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, hello)
	g := startGate(t, up.addr)
	for range 5 {
		g.send("GET /ok HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	}
	if n := up.conns(); n != 1 {
		t.Errorf("upstream connections = %d, want 1", n)
	}
}

func TestNoPeer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, message string
		opt           option
	}{
		{"no such name", "name resolution failed", func(_ *Options, _ *graph.Endpoint, s *upstream.Spec) { s.Host = "no-such-host.invalid" }},
		{"no target", "failure to get a peer from the ring-balancer", func(_ *Options, _ *graph.Endpoint, s *upstream.Spec) { s.Balancer = &upstream.BalancerSpec{ID: "u"} }},
		{"no service", "no Service found with those values", func(_ *Options, e *graph.Endpoint, _ *upstream.Spec) { e.Service = nil }},
	} {
		g := startGate(t, "", c.opt, func(o *Options, _ *graph.Endpoint, _ *upstream.Spec) {
			o.Network = upstream.NewNetwork(upstream.NetworkOptions{Resolver: noNames{}})
		})
		r := g.send(getOK + "\r\n")
		if r.StatusCode != 503 || !strings.Contains(bodyOf(r), c.message) || r.Header.Get("Via") != "" || r.Header.Get("X-Kong-Response-Latency") == "" {
			t.Errorf("%s: %d %v", c.name, r.StatusCode, r.Header)
		}
	}
}

func TestSlowDripCannotHoldAConnection(t *testing.T) {
	t.Parallel()
	g := startGate(t, "", func(o *Options, _ *graph.Endpoint, _ *upstream.Spec) { o.HeaderTimeout = 200 * time.Millisecond })
	c, r := g.dial()
	end := make(chan struct{})
	go func() {
		defer close(end)
		for _, b := range []byte(strings.Repeat("GET /ok HTTP/1.1\r\nX: ", 1000)) {
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(5 * time.Millisecond) // the client's own pace, not a wait for the gate
		}
	}()
	start := time.Now()
	if _, err := r.ReadByte(); err == nil {
		t.Error("an answer to half a head")
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("held for %v", d)
	}
	c.Close()
	<-end
}

// TestRefusedBodyKeepsTheConnection has a filter refuse requests whose bodies came with them.
func TestRefusedBodyKeepsTheConnection(t *testing.T) {
	t.Parallel()
	g := startGate(t, "", withChain(chainOf(requestFunc(func(x *plugin.Exchange) plugin.Verdict { return plugin.Deny(401, "") }))))
	c, r := g.dial()
	for _, body := range []string{"Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"} {
		io.WriteString(c, "POST /ok HTTP/1.1\r\nHost: a\r\n"+body)
		if a := readAnswer(t, r, "POST"); a.StatusCode != 401 || a.Close {
			t.Errorf("answer = %d, close %v", a.StatusCode, a.Close)
		}
	}
	io.WriteString(c, "POST /ok HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nGET /ok HTTP/1.1\r\nHost: a\r\n\r\n")
	if a := readAnswer(t, r, "POST"); a.StatusCode != 401 || !a.Close {
		t.Errorf("half a body: %d, close %v", a.StatusCode, a.Close)
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("after half a body: %v, want EOF", err)
	}
}
