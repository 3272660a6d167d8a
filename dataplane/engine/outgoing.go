package engine

import (
	"fmt"
	"strconv"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/engine/h1"
	"github.com/sekifuda/sekifuda/plugin"
)

// outgoing is how far an answer was written to an HTTP/1.1 connection.
type outgoing struct {
	chunked   bool
	close     bool // the connection ends after it
	broken    bool // writing failed, or the answer is cut off
	tunnelled bool
}

func (a *outgoing) reset() { *a = outgoing{} }

func (c *conn) write(b []byte) error {
	err := c.writeBy.Arm(c.net.SetWriteDeadline, c.ex.now, c.eng.opt.BodyTimeout)
	if err == nil {
		_, err = c.net.Write(b)
	}
	if err != nil {
		c.answer.broken = true
	}
	return err
}

// start writes the head of the answer and, with the same write, the first bytes of its body.
// last says that they are all.
func (c *conn) start(e *exchange, first []byte, last bool) error {
	r := &e.x.Response
	a := &c.answer
	switching := r.Status == 101
	// While a pump runs the body is its own.
	a.close = e.head.Close || c.closing.Load() || c.eng.leaving.Load() || e.body.pumping || !c.discard()
	o := append(c.out[:0], "HTTP/1.1 "...)
	o = strconv.AppendInt(o, int64(r.Status), 10)
	o = append(o, ' ')
	o = h1.AppendValue(o, e.reason)
	o = append(o, "\r\nDate: "...)
	o = append(o, c.eng.date(e.now)...)
	o = append(o, "\r\n"...)
	lines := r.Header.Fields()
	for i := range lines {
		if !framedByGate(lines[i].Name) {
			o = h1.AppendLine(o, &lines[i])
		}
	}
	switch {
	case e.bodyless:
		// The length of what a GET would get is told, unless a filter took it out.
		if _, told := r.Header.Lookup("Content-Length"); told && r.Length >= 0 && r.Status >= 200 && r.Status != 204 {
			o = appendLength(o, r.Length)
		}
	case r.Length >= 0:
		o = appendLength(o, r.Length)
	case e.head.Minor > 0:
		a.chunked = true
		o = append(o, "Transfer-Encoding: chunked\r\n"...)
	default:
		a.close = true
	}
	switch {
	case switching:
		o = append(o, "Connection: upgrade\r\n\r\n"...)
	case e.connection != "":
		o = append(o, "Connection: "...)
		o = append(o, e.connection...)
		if a.close {
			o = append(o, ", close"...)
		}
		o = append(o, "\r\n\r\n"...)
	case a.close:
		o = append(o, "Connection: close\r\n\r\n"...)
	default:
		o = append(o, "Connection: keep-alive\r\n\r\n"...)
	}
	if e.bodyless {
		first = nil
	}
	o = appendBody(o, first, a.chunked, last)
	c.keepOut(o)
	r.Size += int64(len(o))
	return c.write(o)
}

// maxOut is the most that a connection keeps of its output buffer.
const maxOut = 64 << 10

func appendLength(o []byte, n int64) []byte {
	o = append(o, "Content-Length: "...)
	o = strconv.AppendInt(o, n, 10)
	return append(o, "\r\n"...)
}

func appendBody(o, data []byte, chunked, last bool) []byte {
	if !chunked {
		return append(o, data...)
	}
	if len(data) > 0 {
		o = strconv.AppendInt(o, int64(len(data)), 16)
		o = append(o, "\r\n"...)
		o = append(o, data...)
		o = append(o, "\r\n"...)
	}
	if last {
		o = append(o, h1.LastChunk...)
	}
	return o
}

// framedByGate names the fields that start writes itself.
func framedByGate(name string) bool {
	switch len(name) {
	case 4:
		return plugin.EqualName(name, "date")
	case 10:
		return plugin.EqualName(name, "connection") || plugin.EqualName(name, "keep-alive")
	case 14:
		return plugin.EqualName(name, "content-length")
	case 17:
		return plugin.EqualName(name, "transfer-encoding")
	}
	return false
}

// send writes b[lo:hi] of the body. There is room around it for the framing of a chunk.
func (c *conn) send(e *exchange, b []byte, lo, hi int) error {
	if c.answer.chunked {
		lo, hi = h1.FrameChunk(b, lo, hi)
	}
	e.x.Response.Size += int64(hi - lo)
	return c.write(b[lo:hi])
}

// finish ends the body.
func (c *conn) finish(e *exchange, trailer *plugin.Header) error {
	if !c.answer.chunked {
		return nil
	}
	o := append(c.out[:0], "0\r\n"...)
	if e.head.Trailers {
		for _, f := range trailer.Fields() {
			o = h1.AppendField(o, f.Name, f.Value)
		}
	}
	o = append(o, "\r\n"...)
	c.out = o[:0]
	e.x.Response.Size += int64(len(o))
	return c.write(o)
}

// cut says that the answer cannot be completed: the client learns it by the connection's end.
func (c *conn) cut() { c.answer.broken = true }

// interim passes an informational answer on. HTTP/1.0 knows none.
func (c *conn) interim(e *exchange, status int, reason string, h *plugin.Header) error {
	if e.head.Minor == 0 {
		return nil
	}
	o := append(c.out[:0], "HTTP/1.1 "...)
	o = strconv.AppendInt(o, int64(status), 10)
	o = append(o, ' ')
	o = h1.AppendValue(o, reason)
	o = append(o, "\r\n"...)
	for _, f := range h.Fields() {
		if !framedByGate(f.Name) {
			o = h1.AppendField(o, f.Name, f.Value)
		}
	}
	o = append(o, "\r\n"...)
	c.out = o[:0]
	if err := c.write(o); err != nil {
		return fmt.Errorf("%w: %w", errClient, err)
	}
	return nil
}

// date returns the current Date, made once a second.
func (e *Engine) date(now time.Time) string {
	s := now.Unix()
	if d := e.dated.Load(); d != nil && d.second == s {
		return d.text
	}
	d := &dated{s, now.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")}
	e.dated.Store(d)
	return d.text
}

type dated struct {
	second int64
	text   string
}
