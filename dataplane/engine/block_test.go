package engine

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/block"
	"github.com/sekifuda/sekifuda/dataplane/graph"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
	"github.com/sekifuda/sekifuda/plugin"
)

// setOf is a set of blocks that holds for an hour.
func setOf(kindsAndTargets ...string) *block.Set {
	var list []block.Entry
	for i := 0; i < len(kindsAndTargets); i += 2 {
		list = append(list, block.Entry{Kind: kindsAndTargets[i], Target: kindsAndTargets[i+1], Until: time.Now().Add(time.Hour), Detail: "a detail"})
	}
	s, _ := block.New(list, time.Now())
	return s
}

// authenticated has every request be of consumer c by key k.
var authenticated = requestFunc(func(x *plugin.Exchange) plugin.Verdict {
	x.Consumer = &plugin.Consumer{ID: "c"}
	x.Credential = &plugin.Credential{ID: "k", Consumer: x.Consumer}
	return plugin.Next
})

// TestBlockRefuses blocks by each kind, and counts what filters behind the block and the upstream
// see of it.
func TestBlockRefuses(t *testing.T) {
	u := startUpstream(t, hello)
	var behind, logs atomic.Int32
	g := startGate(t, u.addr, withChain(chainOf(authenticated,
		requestFunc(func(*plugin.Exchange) plugin.Verdict { behind.Add(1); return plugin.Next }),
		logFunc(func(x *plugin.Exchange) {
			if x.Reason != "blocked" || x.Decided.Detail != "a detail" {
				t.Errorf("the log sees %q, %+v", x.Reason, x.Decided)
			}
			logs.Add(1)
		}))))
	for _, c := range []struct {
		kind, target string
		code         int
	}{
		{"consumer", "c", 403}, {"key", "k", 403}, {"route", "r", 503}, {"service", "s", 503},
		{"cidr", "127.0.0.0/8", 403}, {"cidr", "127.0.0.1/32", 403},
	} {
		g.Block(setOf("route", "another", "cidr", "10.0.0.0/8", "cidr", "::/0", c.kind, c.target))
		r := g.send(getOK + "\r\n")
		if r.StatusCode != c.code || !strings.Contains(bodyOf(r), "for now") || (r.Header.Get("Retry-After") != "") != (c.code == 503) {
			t.Errorf("%s %s: %d %s, want %d", c.kind, c.target, r.StatusCode, r.Header, c.code)
		}
	}
	if n := len(u.requests()); n != 0 || behind.Load() != 0 {
		t.Errorf("the upstream saw %d and later filters %d of what was blocked", n, behind.Load())
	}
	eventually(t, "logs of blocked requests", func() bool { return logs.Load() == 4 }) // those by address met no route
}

// TestBlockEnds lets requests pass past a block's end, and without any.
func TestBlockEnds(t *testing.T) {
	u := startUpstream(t, hello)
	var now atomic.Int64
	now.Store(time.Now().UnixNano())
	g := startGate(t, u.addr, func(o *Options, _ *graph.Endpoint, _ *upstream.Spec) {
		o.Now = func() time.Time { return time.Unix(0, now.Load()) }
	})
	s := setOf("route", "r")
	g.Block(s)
	if r := g.send(getOK + "\r\n"); r.StatusCode != 503 {
		t.Errorf("blocked: %d", r.StatusCode)
	}
	now.Store(s.Next().UnixNano())
	if r := g.send(getOK + "\r\n"); r.StatusCode != 200 {
		t.Errorf("past its end: %d", r.StatusCode)
	}
	g.Block(setOf("consumer", "c", "cidr", "192.0.2.1/32", "route", "q"))
	if r := g.send(getOK + "\r\n"); r.StatusCode != 200 {
		t.Errorf("others are blocked: %d", r.StatusCode)
	}
}

// TestBlockCuts blocks what is under way: an answer that streams, a WebSocket, a session.
func TestBlockCuts(t *testing.T) {
	streaming := startUpstream(t, func(int, string, string) string {
		return "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegun"
	})
	tunnel := &rawUpstream{}
	serveTCP(t, tunnel, func(c net.Conn) {
		readRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nbegun")
		io.Copy(io.Discard, c)
	})
	for name, c := range map[string]struct {
		up, request string
	}{
		"stream":    {streaming.addr, getOK + "\r\n"},
		"websocket": {tunnel.addr, getOK + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"},
	} {
		g := startGate(t, c.up, withChain(chainOf(authenticated)))
		conn, r := g.dial()
		io.WriteString(conn, c.request)
		readUntil(t, r, "begun")
		g.Block(setOf("consumer", "another"))
		g.Block(setOf("consumer", "c"))
		if rest, err := io.ReadAll(r); isTimeout(err) {
			t.Errorf("%s: goes on after its consumer was blocked (%q)", name, rest)
		}
	}
	g, log := streamGate(t, echoing(t, nil), false)
	conn, r := g.dial()
	io.WriteString(conn, "a\n")
	readUntil(t, r, "got a\n")
	g.Block(setOf("service", "s"))
	if _, err := io.ReadAll(r); isTimeout(err) {
		t.Error("a session goes on after its service was blocked")
	}
	if entry := <-log.entries; !strings.Contains(entry, `"status":200`) {
		t.Errorf("the session's log entry is %s", entry)
	}
	g.Block(setOf("cidr", "127.0.0.1/32"))
	conn, r = g.dial()
	io.WriteString(conn, "a\n")
	if rest, err := io.ReadAll(r); isTimeout(err) || len(rest) > 0 {
		t.Errorf("a session of a blocked address is answered %q, %v", rest, err)
	}
}

func readUntil(t *testing.T, r *bufio.Reader, end string) {
	t.Helper()
	var b strings.Builder
	for !strings.HasSuffix(b.String(), end) {
		c, err := r.ReadByte()
		if err != nil {
			t.Fatalf("read %q: %v", b.String(), err)
		}
		b.WriteByte(c)
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

// TestBlocksDoNotAllocate pins what passes while others are blocked, and the look when nobody is.
func TestBlocksDoNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates; the plain run of this test counts")
	}
	s := setOf("consumer", "another", "key", "another", "route", "another", "service", "another", "cidr", "192.0.2.0/24", "cidr", "2001:db8::/32")
	e := &exchange{eng: &Engine{}}
	e.x.Client, e.x.Route, e.x.Service = netip.MustParseAddr("127.0.0.1"), &plugin.Route{ID: "r"}, &plugin.Service{ID: "s"}
	e.x.Consumer, e.x.Credential = &plugin.Consumer{ID: "c"}, &plugin.Credential{ID: "k"}
	look := func() {
		if s := e.eng.blocks.Load(); s != nil && (e.blockedClient(s).Done() || e.blockedWay(s).Done() || e.blockedWho(s).Done() || e.cutOff()) {
			t.Fatal("blocked")
		}
	}
	for _, set := range []*block.Set{nil, s} {
		e.eng.blocks.Store(set)
		if n := testing.AllocsPerRun(100, look); n != 0 {
			t.Errorf("%v blocks: %v allocations", len(set.Entries()), n)
		}
	}
}

// BenchmarkBlockLooks is what an exchange pays for the possibility of blocks.
func BenchmarkBlockLooks(b *testing.B) {
	for name, set := range map[string]*block.Set{"none": nil, "six": setOf("consumer", "another", "key", "another", "route", "another", "service", "another", "cidr", "192.0.2.0/24", "cidr", "2001:db8::/32")} {
		b.Run(name, func(b *testing.B) {
			e := &exchange{eng: &Engine{}}
			e.x.Client, e.x.Route, e.x.Service = netip.MustParseAddr("127.0.0.1"), &plugin.Route{ID: "r"}, &plugin.Service{ID: "s"}
			e.x.Consumer, e.x.Credential = &plugin.Consumer{ID: "c"}, &plugin.Credential{ID: "k"}
			e.eng.blocks.Store(set)
			for b.Loop() {
				for range 4 { // of an exchange's looks, each where it is taken
					if s := e.eng.blocks.Load(); s == nil {
						continue
					}
				}
				if s := e.eng.blocks.Load(); s != nil {
					e.blockedClient(s)
					e.blockedWay(s)
					e.blockedWho(s)
					e.cutOff()
					e.noteBlocked()
				}
			}
		})
	}
}
