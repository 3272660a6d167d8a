package engine

import (
	"net"

	"github.com/sekifuda/sekifuda/plugin"
)

// client is the protocol's side of an exchange. It is used by the exchange's goroutine; only
// readBody may run in another one meanwhile.
type client interface {
	// whole returns the body without copying when all of it is here already.
	whole() (body []byte, ok bool)
	// readBody reads some of the body; io.EOF with no bytes is its end.
	readBody(p []byte) (int, error)
	// invite tells a client that waits for it to send the body.
	invite()
	// outBuffer lends memory for a message; keepOut gives it back.
	outBuffer() []byte
	keepOut(b []byte)
	// stopBody makes a readBody under way return with an error.
	stopBody()

	// start writes the head of the answer with the first bytes of the body.
	start(e *exchange, first []byte, last bool) error
	// send writes b[lo:hi] at once. Around it is room for the framing of a chunk.
	send(e *exchange, b []byte, lo, hi int) error
	// finish ends the body.
	finish(e *exchange, trailer *plugin.Header) error
	// cut says that the answer cannot be completed.
	cut()
	// interim writes an informational answer before the answer itself.
	interim(e *exchange, status int, reason string, h *plugin.Header) error
	// tunnel gives the connection away after a 101; early is what the client has sent on it.
	tunnel() (c net.Conn, early []byte)
	// gone reports whether the client has closed its end of the connection.
	gone() bool
}

var _ client = (*conn)(nil)

func (c *conn) stopBody() {
	c.body.stopped.Store(true)
	c.net.SetReadDeadline(past)
}

func (c *conn) outBuffer() []byte { return c.out[:0] }

func (c *conn) keepOut(b []byte) {
	if cap(b) <= maxOut {
		c.out = b[:0]
	}
}

// invite is for bodies that another goroutine will read: it must not write.
func (c *conn) invite() {
	if c.body.expects && len(c.in) == c.next {
		// A failure shows when the body is read.
		_ = c.write([]byte(continueLine))
	}
	c.body.expects = false
}

const continueLine = "HTTP/1.1 100 Continue\r\n\r\n"

func (c *conn) tunnel() (net.Conn, []byte) {
	c.answer.tunnelled = true
	c.readBy.Forget()
	c.writeBy.Forget()
	c.net.SetDeadline(never)
	return c.net, c.in[c.next:]
}
