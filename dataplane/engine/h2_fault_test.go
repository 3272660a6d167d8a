package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sekifuda/sekifuda/dataplane/graph"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
)

// h2wire is a client that sends frames as it likes.
type h2wire struct {
	t *testing.T
	c net.Conn
	*http2.Framer
	block bytes.Buffer
	enc   *hpack.Encoder
}

func dialH2(t *testing.T, g *gate) *h2wire {
	t.Helper()
	c, _ := g.dial()
	c.SetDeadline(time.Now().Add(time.Minute)) // a million frames take a while
	w := &h2wire{t: t, c: c, Framer: http2.NewFramer(c, c)}
	w.enc = hpack.NewEncoder(&w.block)
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return w
}

// header encodes the pseudo-header of a request and more lines.
func (w *h2wire) header(method, path string, lines ...string) []byte {
	w.block.Reset()
	all := append([]string{":method", method, ":scheme", "http", ":authority", "a", ":path", path}, lines...)
	for i := 0; i < len(all); i += 2 {
		w.enc.WriteField(hpack.HeaderField{Name: all[i], Value: all[i+1]})
	}
	return w.block.Bytes()
}

func (w *h2wire) open(stream uint32, end bool, block []byte) error {
	return w.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block, EndStream: end, EndHeaders: true})
}

// status reads until the answer of a stream begins; its end is an error.
func (w *h2wire) status(stream uint32) (string, error) {
	status := ""
	dec := hpack.NewDecoder(4096, func(f hpack.HeaderField) {
		if f.Name == ":status" {
			status = f.Value
		}
	})
	for {
		f, err := w.ReadFrame()
		if err != nil {
			return "", err
		}
		switch f := f.(type) {
		case *http2.HeadersFrame:
			if _, err := dec.Write(f.HeaderBlockFragment()); err != nil {
				return "", err
			}
			if f.StreamID == stream {
				return status, nil
			}
		case *http2.RSTStreamFrame:
			if f.StreamID == stream {
				return "", fmt.Errorf("stream reset: %v", f.ErrCode)
			}
		case *http2.GoAwayFrame:
			return "", fmt.Errorf("goaway: %v", f.ErrCode)
		}
	}
}

// ends waits until the gate ends the connection.
func (w *h2wire) ends() error {
	for {
		if _, err := w.ReadFrame(); err != nil {
			var n net.Error
			if errors.As(err, &n) && n.Timeout() {
				return fmt.Errorf("the connection is still open: %w", err)
			}
			return nil
		}
	}
}

// TestHTTP2Floods sends what is known to exhaust servers: each ends the connection or is refused,
// and the gate serves others meanwhile and has nothing left afterwards.
func TestHTTP2Floods(t *testing.T) {
	t.Parallel()
	many := func(n int, f func(i uint32) error) error {
		for i := range n {
			if err := f(uint32(2*i + 1)); err != nil {
				return nil // the gate has ended it: that is what it should do
			}
		}
		return nil
	}
	for name, flood := range map[string]func(w *h2wire) error{
		// CVE-2023-44487: streams that are opened and reset at once.
		"rapid reset": func(w *h2wire) error {
			return many(30_000, func(i uint32) error {
				if err := w.open(i, true, w.header("GET", "/ok/slow")); err != nil {
					return err
				}
				return w.WriteRSTStream(i, http2.ErrCodeCancel)
			})
		},
		// CVE-2023-45288: a header that never ends.
		"continuation": func(w *h2wire) error {
			if err := w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: w.header("GET", "/ok")}); err != nil {
				return err
			}
			w.block.Reset()
			w.enc.WriteField(hpack.HeaderField{Name: "x-a", Value: strings.Repeat("b", 8000), Sensitive: true})
			piece := bytes.Clone(w.block.Bytes())
			return many(100_000, func(uint32) error { return w.WriteContinuation(1, false, piece) })
		},
		// CVE-2019-9512 and 9515: answers that nobody reads.
		"ping": func(w *h2wire) error {
			return many(1_000_000, func(uint32) error { return w.WritePing(false, [8]byte{}) })
		},
		"settings": func(w *h2wire) error {
			return many(1_000_000, func(uint32) error { return w.WriteSettings() })
		},
		// CVE-2016-6581: a few bytes that decode to very many.
		"hpack bomb": func(w *h2wire) error {
			big := strings.Repeat("x", 4000)
			return many(20, func(i uint32) error {
				var lines []string
				for range 5000 {
					lines = append(lines, "x-b", big)
				}
				return w.open(i, true, w.header("GET", "/ok", lines...))
			})
		},
		"empty data": func(w *h2wire) error {
			if err := w.open(1, false, w.header("POST", "/ok")); err != nil {
				return err
			}
			return many(200_000, func(uint32) error { return w.WriteData(1, false, nil) })
		},
		// CVE-2019-9513: streams that depend on each other in turn.
		"priority": func(w *h2wire) error {
			return many(200_000, func(i uint32) error {
				return w.WritePriority(i, http2.PriorityParam{StreamDep: (i + 2) % 1000})
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := startUpstream(t, hello)
			g := startGate(t, u.addr)
			w := dialH2(t, g)
			done := make(chan error, 1)
			go func() { done <- flood(w) }()
			other := dialH2(t, g)
			if err := other.open(1, true, other.header("GET", "/ok")); err != nil {
				t.Fatal(err)
			}
			if status, err := other.status(1); status != "200" || err != nil {
				t.Errorf("another client meanwhile: %q, %v", status, err)
			}
			other.c.Close()
			<-done // until then nobody reads
			switch name {
			case "empty data", "priority", "settings": // cost what they send
			case "rapid reset": // ends it once too many are queued, which a fast gate need not come to
			case "hpack bomb":
				if status, err := w.status(1); status != "431" {
					t.Errorf("answer %q, %v", status, err)
				}
			default:
				if err := w.ends(); err != nil {
					t.Error(err)
				}
			}
			w.c.Close()
			eventually(t, "nothing is left", func() bool { return g.Counts().Active == 0 })
		})
	}
}

// TestHTTP2Bounds has headers that are too large, and windows that stay shut.
func TestHTTP2Bounds(t *testing.T) {
	t.Parallel()
	u := startUpstream(t, func(int, string, string) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", 1<<20, strings.Repeat("y", 1<<20))
	})
	g := startGate(t, u.addr, func(o *Options, _ *graph.Endpoint, _ *upstream.Spec) { o.BodyTimeout = 300 * time.Millisecond })
	w := dialH2(t, g)
	if err := w.open(1, true, w.header("GET", "/ok", "x-large", strings.Repeat("z", 15_000), "x-larger", strings.Repeat("z", 100))); err != nil {
		t.Fatal(err)
	}
	if status, err := w.status(1); status != "200" || err != nil {
		t.Errorf("a large header: %q, %v", status, err)
	}
	// Nobody opens the window: the stream ends, the connection need not.
	for {
		f, err := w.ReadFrame()
		if err != nil {
			break // ended as a whole
		}
		if r, ok := f.(*http2.RSTStreamFrame); ok && r.StreamID == 1 {
			break
		}
	}
	w.c.Close()
	eventually(t, "nothing is left", func() bool { return g.Counts().Active == 0 })
}

// TestHTTP2ClientDies leaves in the middle of a body, by a reset of the stream and of the
// connection: the upstream sees no whole request.
func TestHTTP2ClientDies(t *testing.T) {
	t.Parallel()
	u := startUpstream(t, hello)
	g := startGate(t, u.addr)
	for _, lines := range [][]string{nil, {"content-length", "5"}} {
		for _, reset := range []bool{false, true} {
			w := dialH2(t, g)
			if err := w.open(1, false, w.header("POST", "/ok", lines...)); err != nil {
				t.Fatal(err)
			}
			if err := w.WriteData(1, false, []byte("hel")); err != nil {
				t.Fatal(err)
			}
			if reset {
				w.WriteRSTStream(1, http2.ErrCodeCancel)
				w.ReadFrame()
			}
			w.c.Close()
		}
	}
	eventually(t, "nothing is left", func() bool { return g.Counts().Active == 0 })
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.seen) > 0 {
		t.Errorf("the upstream saw %q", u.seen)
	}
}
