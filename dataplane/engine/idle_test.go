package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/graph"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
)

// resting counts the connections that have neither buffers nor an exchange.
func (g *gate) resting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for t := range g.conns {
		if c, ok := t.(*conn); ok {
			c.mu.Lock()
			if c.ex == nil {
				n++
			}
			c.mu.Unlock()
		}
	}
	return n
}

func TestIdleConnectionsRest(t *testing.T) {
	t.Parallel()
	u := startUpstream(t, hello)
	g := startGate(t, u.addr)
	c, r := g.dial()
	for i := range 3 {
		io.WriteString(c, "GET /ok HTTP/1.1\r\nHost: a\r\n\r\n")
		if a := readAnswer(t, r, "GET"); a.StatusCode != 200 {
			t.Fatalf("answer %d after a rest: %s", i, a.Status)
		}
		eventually(t, "the connection rests", func() bool { return g.resting() == 1 })
		g.mu.Lock()
		n := len(g.exchanges)
		g.mu.Unlock()
		if counts := g.Counts(); counts.Waiting != 1 || n != 0 {
			t.Errorf("%d waiting, %d exchanges, want 1 and 0", counts.Waiting, n)
		}
	}
	// One that has never asked rests too, and may still begin with HTTP/2's preface.
	h2, _ := g.dial()
	eventually(t, "both rest", func() bool { return g.resting() == 2 })
	io.WriteString(h2, preface+"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	if b := make([]byte, 9); true {
		if _, err := io.ReadFull(h2, b); err != nil || b[3] != 4 {
			t.Errorf("first frame %x, %v, want SETTINGS", b, err)
		}
	}
}

func TestRestKeepsTheIdleTimeout(t *testing.T) {
	t.Parallel()
	g := startGate(t, "", func(o *Options, _ *graph.Endpoint, _ *upstream.Spec) { o.IdleTimeout = 1500 * time.Millisecond })
	c, r := g.dial()
	begun := time.Now()
	eventually(t, "the connection rests", func() bool { return g.resting() == 1 })
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("read of an idle connection: %v", err)
	}
	if took := time.Since(begun); took < 1400*time.Millisecond {
		t.Errorf("ended after %v", took)
	}
	c.Close()
	eventually(t, "nothing is kept", func() bool { return g.Counts().Active == 0 })
}

func TestRestEndsWithTheClientAndTheGate(t *testing.T) {
	t.Parallel()
	g := startGate(t, "")
	a, _ := g.dial()
	g.dial()
	eventually(t, "both rest", func() bool { return g.resting() == 2 })
	a.Close()
	eventually(t, "one is left", func() bool { return g.Counts().Active == 1 })
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := g.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// TestRestingConnectionsAllocateLittle bounds what a plain connection keeps: with the client's
// end, which is in this process too. It must not run beside others.
func TestRestingConnectionsAllocateLittle(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates; the plain run of this test counts")
	}
	const n = 500
	u := startUpstream(t, hello)
	g := startGate(t, u.addr)
	before := inUse()
	for range n {
		c, err := net.Dial("tcp", g.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, "GET /ok HTTP/1.1\r\nHost: a\r\n\r\n")
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all rest", func() bool { return g.resting() == n })
	each := (inUse() - before) / n
	t.Logf("%d bytes a connection", each)
	// Goroutines that wait in the net package's poller keep their stacks.
	if most := int64(10 << 10); each > most {
		t.Errorf("%d bytes a connection, want at most %d", each, most)
	}
}

// inUse returns the bytes of live objects and stacks.
func inUse() int64 {
	runtime.GC()
	runtime.GC() // what pools keep goes with the second
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// TestRestDoesNotDisturbRequests looks at the connections without a pause while requests with
// bodies in pieces come: no look may end one.
func TestRestDoesNotDisturbRequests(t *testing.T) {
	t.Parallel()
	u := startUpstream(t, hello)
	g := startGate(t, u.addr)
	stop := make(chan struct{})
	var looks, clients sync.WaitGroup
	looks.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				g.watch()
			}
		}
	})
	for range 8 {
		clients.Go(func() {
			c, r := g.dial()
			for i := range 100 {
				body := strings.Repeat("b", i)
				for _, piece := range []string{"POST /ok HTTP/1.1\r\nHo", fmt.Sprintf("st: a\r\nContent-Length: %d\r\n\r\n", i), body[:i/2], body[i/2:]} {
					if err := sendPiece(c, piece); err != nil {
						t.Error(err)
						return
					}
				}
				if a := readAnswer(t, r, "POST"); a.StatusCode != 200 {
					t.Errorf("answer %s", a.Status)
					return
				}
			}
		})
	}
	clients.Wait()
	close(stop)
	looks.Wait()
}

func sendPiece(c net.Conn, s string) error {
	if s == "" {
		return nil
	}
	_, err := io.WriteString(c, s)
	return err
}
