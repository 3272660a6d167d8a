package engine

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/graph"
	"github.com/sekifuda/sekifuda/plugin"
)

// steadyPair is a client and an upstream that allocate nothing themselves, with a gate between.
type steadyPair struct {
	c       net.Conn
	request []byte
	buf     []byte
}

func newSteadyPair(t testing.TB, request string, chain *graph.Chain) *steadyPair {
	t.Helper()
	u := &rawUpstream{}
	serveTCP(t, u, func(c net.Conn) {
		answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1024\r\nX-A: 1\r\n\r\n" + string(make([]byte, 1024)))
		end := []byte("\r\n\r\n")
		buf := make([]byte, 16<<10)
		n := 0
		for {
			k, err := c.Read(buf[n:])
			if err != nil {
				return
			}
			if n += k; bytes.Contains(buf[:n], end) {
				n = 0
				if _, err := c.Write(answer); err != nil {
					return
				}
			}
		}
	})
	g := startGate(t, u.addr, withChain(chain))
	c, _ := g.dial()
	c.SetDeadline(time.Now().Add(time.Minute))
	return &steadyPair{c: c, request: []byte(request), buf: make([]byte, 16<<10)}
}

// once sends a request and reads the answer: its head and 1,024 bytes.
func (p *steadyPair) once(t testing.TB) {
	if _, err := p.c.Write(p.request); err != nil {
		t.Fatal(err)
	}
	n := 0
	for {
		k, err := p.c.Read(p.buf[n:])
		if err != nil {
			t.Fatal(err)
		}
		n += k
		if i := bytes.Index(p.buf[:n], headEnd); i >= 0 && n == i+4+1024 {
			return
		}
	}
}

var headEnd = []byte("\r\n\r\n")

const plainRequest = "GET /ok/v1/things?limit=10 HTTP/1.1\r\nHost: h5.example.com\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\napikey: key-1\r\n\r\n"

func steadyChain() *graph.Chain {
	return chainOf(
		requestFunc(func(x *plugin.Exchange) plugin.Verdict {
			x.Request.Header.Set("X-Consumer-Username", "a")
			x.Early.Append("X-Limit", "10")
			return plugin.Next
		}),
		responseFunc(func(x *plugin.Exchange) { x.Response.Header.Set("X-B", "2") }),
		logFunc(func(*plugin.Exchange) {}))
}

// TestSteadyStateDoesNotAllocate pins the plain path and one with filters. It must not run
// beside others: the count is of the whole process.
func TestSteadyStateDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates; the plain run of this test counts")
	}
	for name, chain := range map[string]*graph.Chain{"plain": nil, "filters": steadyChain()} {
		p := newSteadyPair(t, plainRequest, chain)
		for range 50 {
			p.once(t)
		}
		// Less than one in twenty exchanges: the date is made once a second, the watch looks
		// four times a second.
		if n := testing.AllocsPerRun(2000, func() { p.once(t) }); n >= 0.05 {
			t.Errorf("%s: %v allocations per exchange", name, n)
		}
	}
}

func BenchmarkProxy(b *testing.B) {
	for _, c := range []struct {
		name  string
		chain *graph.Chain
	}{{"plain", nil}, {"filters", steadyChain()}} {
		b.Run(c.name, func(b *testing.B) {
			p := newSteadyPair(b, plainRequest, c.chain)
			p.once(b)
			b.ReportAllocs()
			for b.Loop() {
				p.once(b)
			}
		})
	}
}
