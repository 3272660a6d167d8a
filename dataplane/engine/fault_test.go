package engine

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/dataplane/graph"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
)

// TestUpstreamDiesAtEveryByte has the upstream end its connection after each byte of answers of
// every framing, in order and by a reset. A client gets the whole answer only when all of it was
// sent, a 502 when its head was not, and else an answer that cannot be taken for whole.
func TestUpstreamDiesAtEveryByte(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"length":   "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello",
		"chunked":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nX-T: v\r\n\r\n",
		"no body":  "HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",
		"an early": "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
	} {
		for _, reset := range []bool{false, true} {
			t.Run(fmt.Sprint(name, reset), func(t *testing.T) {
				t.Parallel()
				u := &rawUpstream{}
				serveTCP(t, u, func(c net.Conn) {
					head, _, err := readRequest(bufio.NewReader(c))
					if err != nil {
						return
					}
					var n int
					fmt.Sscanf(head, "GET /%d", &n)
					io.WriteString(c, answer[:n])
					if reset {
						c.(*net.TCPConn).SetLinger(0)
					}
				})
				g := startGate(t, u.addr, func(_ *Options, _ *graph.Endpoint, s *upstream.Spec) { s.Retries = 0 })
				head := strings.LastIndex(answer, "\r\n\r\nhello")
				if head < 0 {
					head = strings.Index(answer, "\r\n\r\n")
				}
				for n := range len(answer) + 1 {
					status, body, err := dying(g, n)
					switch {
					case n == len(answer) && (err != nil || status == 502) && !reset:
						t.Errorf("all was sent: %d %q %v", status, body, err)
					case n < head+4 && status != 502:
						t.Errorf("%q: %d %q %v, want 502", answer[:n], status, body, err)
					case n >= head+4 && n < len(answer) && err == nil && status != 502:
						t.Errorf("%q: taken for whole: %d %q", answer[:n], status, body)
					case err == nil && status != 502 && body != "hello" && name != "no body":
						t.Errorf("%q: body %q", answer[:n], body)
					}
				}
				eventually(t, "nothing is left", func() bool { return g.Counts().Active == 0 })
			})
		}
	}
}

// dying asks for an answer that ends after n bytes, on a connection of its own.
func dying(g *gate, n int) (status int, body string, err error) {
	c, r := g.dial()
	defer c.Close()
	fmt.Fprintf(c, "GET /ok/%d HTTP/1.1\r\nHost: a\r\n\r\n", n)
	res, err := http.ReadResponse(r, nil)
	for err == nil && res.StatusCode == http.StatusEarlyHints {
		res, err = http.ReadResponse(r, nil)
	}
	if err != nil {
		return 0, "", err
	}
	raw, err := io.ReadAll(res.Body)
	return res.StatusCode, string(raw), err
}

// TestClientDiesAtEveryByte has the client leave after each byte of a request, in order and by a
// reset: the upstream never sees a request that was not whole, and nothing is left behind.
func TestClientDiesAtEveryByte(t *testing.T) {
	t.Parallel()
	u := startUpstream(t, hello)
	g := startGate(t, u.addr)
	for _, request := range []string{
		"POST /ok HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
		"POST /ok HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
	} {
		for _, reset := range []bool{false, true} {
			for n := range len(request) {
				c, _ := g.dial()
				io.WriteString(c, request[:n])
				if reset {
					c.(*net.TCPConn).SetLinger(0)
				}
				c.Close()
			}
		}
	}
	// What is longer than the gate holds goes upstream as it comes, and ends there as it began.
	c, _ := g.dial()
	io.WriteString(c, "POST /ok HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n40000\r\n"+strings.Repeat("x", 3*holdSize))
	c.Close()
	eventually(t, "nothing is left", func() bool { return g.Counts().Active == 0 })
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.seen) > 0 {
		t.Errorf("the upstream saw %d requests, the first %q", len(u.seen), u.seen[0])
	}
}

// hoard accepts no more connections than a process has descriptors.
type hoard struct {
	net.Listener
	refuse int
}

type exhausted struct{ error }

func (exhausted) Timeout() bool   { return false }
func (exhausted) Temporary() bool { return true }

func (h *hoard) Accept() (net.Conn, error) {
	if h.refuse > 0 {
		h.refuse--
		return nil, exhausted{errors.New("accept4: too many open files")}
	}
	return h.Listener.Accept()
}

// TestOutOfDescriptors has accept fail for a while: the gate goes on when it can.
func TestOutOfDescriptors(t *testing.T) {
	t.Parallel()
	u := startUpstream(t, hello)
	g := startGate(t, u.addr)
	l := listen(t)
	go g.Serve(&hoard{l, 3})
	g.addr = l.Addr().String()
	if res := g.send("GET /ok HTTP/1.1\r\nHost: a\r\n\r\n"); res.StatusCode != 200 {
		t.Errorf("after accept failed: %s", res.Status)
	}
}
