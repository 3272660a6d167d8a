package engine

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/graph"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
	"github.com/sekifuda/sekifuda/model/schema"
	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/logentry"
)

// logged keeps the log entry of each session, and refuses those that it is told to.
type logged struct {
	entries chan string
	refuse  atomic.Bool
}

func (l *logged) OnRequest(*plugin.Exchange) plugin.Verdict {
	if l.refuse.Load() {
		return plugin.Deny(403, "no")
	}
	return plugin.Verdict{}
}

func (l *logged) OnLog(x *plugin.Exchange) { l.entries <- string(logentry.Append(nil, x)) }

// streamGate serves sessions at its address, by one endpoint.
func streamGate(t *testing.T, up string, secure bool, opts ...option) (*gate, *logged) {
	t.Helper()
	log := &logged{entries: make(chan string, 10)}
	g := startGate(t, up, append([]option{func(_ *Options, e *graph.Endpoint, s *upstream.Spec) {
		e.Protocols, s.Protocol = graph.TCP, "tcp"
		in := &graph.Instance{Plugin: &plugin.Plugin{Plugin: &schema.Plugin{Name: "log"}}, Request: log, Log: log}
		e.Chain = &graph.Chain{Steps: []graph.Step{{Any: in}}}
	}}, opts...)...)
	g.g.routes[0].prefix = "\x00"
	l := listen(t)
	g.addr = l.Addr().String()
	done := make(chan struct{})
	go func() { defer close(done); g.ServeStream(l, secure) }()
	t.Cleanup(func() { l.Close(); <-done })
	return g, log
}

// echoing answers each line with itself, and the end with the number of lines.
func echoing(t *testing.T, wrap func(net.Conn) net.Conn) string {
	u := &rawUpstream{}
	serveTCP(t, u, func(c net.Conn) {
		if wrap != nil {
			c = wrap(c)
		}
		r, n := bufio.NewReader(c), 0
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				fmt.Fprintf(c, "%d lines\n", n)
				return
			}
			n++
			io.WriteString(c, "got "+line)
		}
	})
	return u.addr
}

// talk says two lines, half-closes and returns all that comes back.
func talk(t *testing.T, c net.Conn) string {
	t.Helper()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(c)
	var all strings.Builder
	for _, word := range []string{"a\n", "bc\n"} {
		io.WriteString(c, word)
		line, _ := r.ReadString('\n')
		all.WriteString(line)
	}
	c.(interface{ CloseWrite() error }).CloseWrite()
	rest, _ := io.ReadAll(r)
	return all.String() + string(rest)
}

const talked = "got a\ngot bc\n2 lines\n"

func TestSession(t *testing.T) {
	t.Parallel()
	g, log := streamGate(t, echoing(t, nil), false)
	c, _ := g.dial()
	if got := talk(t, c); got != talked {
		t.Fatalf("the client heard %q, want %q", got, talked)
	}
	var entry struct {
		Session  struct{ Received, Sent, Status int }
		Upstream struct{ Received, Sent int }
		Tries    []struct{ State string }
		Client   string `json:"client_ip"`
	}
	if err := json.Unmarshal([]byte(<-log.entries), &entry); err != nil {
		t.Fatal(err)
	}
	if s := entry.Session; s.Received != 5 || s.Sent != len(talked) || s.Status != 200 || entry.Upstream.Sent != 5 || entry.Upstream.Received != len(talked) ||
		len(entry.Tries) != 1 || entry.Client != "127.0.0.1" {
		t.Errorf("log entry %+v", entry)
	}
}

func TestSessionsThatEndAtOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change option
		refuse bool
		status string
	}{
		{"refused by a filter", nil, true, `"status":403`},
		{"no upstream", func(_ *Options, _ *graph.Endpoint, s *upstream.Spec) { s.Port, s.Retries = 1, 1 }, false, `"status":502`},
		{"no service", func(_ *Options, e *graph.Endpoint, _ *upstream.Spec) { e.Service = nil }, false, `"status":500`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var more []option
			if c.change != nil {
				more = append(more, c.change)
			}
			g, log := streamGate(t, echoing(t, nil), false, more...)
			log.refuse.Store(c.refuse)
			conn, r := g.dial()
			if b, err := io.ReadAll(r); len(b) > 0 {
				t.Errorf("the client heard %q (%v)", b, err)
			}
			conn.Close()
			if entry := <-log.entries; !strings.Contains(entry, c.status) {
				t.Errorf("log entry %s, want %s", entry, c.status)
			}
		})
	}
}

func TestSessionOverTLS(t *testing.T) {
	t.Parallel()
	own, err := selfSigned(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	inner := func(c net.Conn) net.Conn { return tls.Server(c, &tls.Config{Certificates: []tls.Certificate{*own}}) }
	for _, c := range []struct {
		name      string
		protocols graph.Protocols
		service   string
		upstream  func(net.Conn) net.Conn
		theirs    bool // the client meets the upstream's certificate
	}{
		{"ends at the gate", graph.TLS, "tcp", nil, false},
		{"ends at the gate and begins again", graph.TLS, "tls", inner, false},
		{"passes through", graph.Passthrough, "tcp", inner, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g, log := streamGate(t, echoing(t, c.upstream), true, func(_ *Options, e *graph.Endpoint, s *upstream.Spec) {
				e.Protocols, s.Protocol = c.protocols, c.service
			})
			conn, err := tls.Dial("tcp", g.addr, &tls.Config{ServerName: "a.test", InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			met := conn.ConnectionState().PeerCertificates[0]
			theirs, err := x509.ParseCertificate(own.Certificate[0])
			if err != nil {
				t.Fatal(err)
			}
			if met.Equal(theirs) != c.theirs {
				t.Errorf("the client meets the upstream's certificate: %v, want %v", !c.theirs, c.theirs)
			}
			if got := talk(t, conn); got != talked {
				t.Errorf("the client heard %q, want %q", got, talked)
			}
			conn.Close()
			entry := <-log.entries
			if strings.Contains(entry, `"tls":{"version":"TLSv1.3"`) == c.theirs {
				t.Errorf("log entry %s", entry)
			}
		})
	}
}

// TestSessionWantsHandshake: what begins otherwise on such a listener is closed.
func TestSessionWantsHandshake(t *testing.T) {
	t.Parallel()
	g, _ := streamGate(t, echoing(t, nil), true, func(_ *Options, e *graph.Endpoint, _ *upstream.Spec) { e.Protocols = graph.TLS })
	c, r := g.dial()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if b, _ := io.ReadAll(r); len(b) > 0 {
		t.Errorf("the client heard %q", b)
	}
}

// TestSessionIdle: when neither end says anything for the read timeout, the session ends.
func TestSessionIdle(t *testing.T) {
	t.Parallel()
	g, _ := streamGate(t, echoing(t, nil), false, func(_ *Options, _ *graph.Endpoint, s *upstream.Spec) { s.ReadTimeout = 50 * time.Millisecond })
	_, r := g.dial()
	if _, err := io.ReadAll(r); err != nil {
		t.Errorf("an idle session: %v, want its end", err)
	}
}

// TestSessionsDrain: a session goes on while the gate drains, and ends with the drain.
func TestSessionsDrain(t *testing.T) {
	t.Parallel()
	g, log := streamGate(t, echoing(t, nil), false)
	c, r := g.dial()
	say := func() {
		io.WriteString(c, "a\n")
		if line, err := r.ReadString('\n'); line != "got a\n" {
			t.Fatalf("the session is cut: %q (%v)", line, err)
		}
	}
	say()
	ctx, cancel := context.WithCancel(context.Background())
	down := make(chan error, 1)
	go func() { down <- g.Shutdown(ctx) }()
	for { // the drain has begun when nobody new is let in
		other, err := net.Dial("tcp", g.addr)
		if err != nil {
			break
		}
		other.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := other.Read(make([]byte, 1)); err == io.EOF || g.isClosing() {
			other.Close()
			break
		}
		other.Close()
	}
	say()
	cancel()
	if err := <-down; err == nil {
		t.Error("Shutdown = nil, want the context's error: a session was under way")
	}
	if _, err := io.ReadAll(r); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("after the drain: %v", err)
	}
	<-log.entries
}
