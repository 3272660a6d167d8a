package engine

import (
	"errors"
	"io"
	"sync"

	"github.com/sekifuda/sekifuda/dataplane/engine/h1"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
)

// pumpBuffers lend memory to bodies that are streamed to an upstream.
var pumpBuffers = sync.Pool{New: func() any { b := make([]byte, 16<<10); return &b }}

// startPump streams the body to the upstream beside the reading of its answer, which may come
// before the body's end.
func (e *exchange) startPump(c *upstream.Conn) {
	e.body.pumping = true
	go func() {
		err := e.pump(c)
		e.body.pumped <- err
		if err != nil && !errors.Is(err, errUpstreamWrite) {
			c.Abort() // nobody can complete this request: do not wait for its answer
		}
	}()
}

// errUpstreamWrite says that the upstream takes no more of the body; its answer tells why.
var errUpstreamWrite = errors.New("upstream stopped reading")

func (e *exchange) pump(c *upstream.Conn) error {
	buf := pumpBuffers.Get().(*[]byte)
	defer pumpBuffers.Put(buf)
	b := *buf
	chunked := e.head.Length < 0
	timeout := e.endpoint.Upstream.Spec.WriteTimeout
	pass := func(b []byte, lo, hi int) bool {
		if chunked {
			lo, hi = h1.FrameChunk(b, lo, hi)
		}
		_, err := c.Write(b[lo:hi], e.eng.opt.Now(), timeout)
		return err == nil
	}
	// What is held already goes first.
	for rest := e.body.data; len(rest) > 0; {
		n := copy(b[h1.SizeRoom:len(b)-h1.EndRoom], rest)
		if !pass(b, h1.SizeRoom, h1.SizeRoom+n) {
			return errUpstreamWrite
		}
		rest = rest[n:]
	}
	for {
		n, err := e.readBody(b[h1.SizeRoom : len(b)-h1.EndRoom])
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if !pass(b, h1.SizeRoom, h1.SizeRoom+n) {
			return errUpstreamWrite
		}
	}
	if chunked {
		if _, err := c.Write([]byte(h1.LastChunk), e.eng.opt.Now(), timeout); err != nil {
			return errUpstreamWrite
		}
	}
	return nil
}

// pumpFault waits for a pump that is over or will be, because the upstream's connection is
// broken, and returns what the client did wrong, if anything.
func (e *exchange) pumpFault() error {
	if !e.body.pumping {
		return nil
	}
	select {
	case err := <-e.body.pumped:
		e.body.pumping = false
		e.body.complete = false
		if err != nil && !errors.Is(err, errUpstreamWrite) {
			return err
		}
	default:
	}
	return nil
}

// stopPump ends a pump. body.pumping stays true when it had to be cut short: then neither
// connection can be used again.
func (e *exchange) stopPump() {
	if !e.body.pumping {
		return
	}
	select {
	case err := <-e.body.pumped:
		e.body.pumping = err != nil
		return
	default:
	}
	e.client.stopBody()
	if c := e.reply.conn; c != nil {
		c.Abort()
	}
	<-e.body.pumped
}
