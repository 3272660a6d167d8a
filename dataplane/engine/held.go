package engine

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/sekifuda/sekifuda/dataplane/engine/h1"
	"github.com/sekifuda/sekifuda/plugin"
)

// held is as much of a request's body as the gate has in its hands.
type held struct {
	data     []byte
	complete bool // data is all of it
	replaced bool // by a filter: what the client still sends is not wanted
	own      []byte
	pumping  bool
	pumped   chan error // the end of a pump, one value
	seen     int64      // bytes read of the client, for the limit
}

// holdSize is how much of a body is read before an upstream is asked, where the route buffers
// requests: a slow client then holds no upstream connection for a small body, and the request
// can be sent again to another target. What is longer is streamed.
const holdSize = 64 << 10

// maxBody bounds what a filter may ask to be held in memory without a bound of its own.
const maxBody = 64 << 20

func (b *held) reset() {
	b.data, b.complete, b.replaced, b.pumping, b.seen = nil, false, false, false, 0
}

// release keeps the memory of a small body for the next one.
func (b *held) release() {
	if cap(b.own) > holdSize {
		b.own = nil
	}
	b.data = nil
}

// hold reads the body until it is complete or limit bytes are held.
func (e *exchange) hold(limit int) error {
	b := &e.body
	if b.complete {
		return nil
	}
	if b.data == nil {
		if data, ok := e.client.whole(); ok {
			b.data, b.complete, b.seen = data, true, int64(len(data))
			return nil
		}
		b.data = b.own[:0]
	}
	for len(b.data) < limit {
		if len(b.data) == cap(b.data) {
			b.data = slices.Grow(b.data, max(8<<10, len(b.data)))
			b.own = b.data
		}
		e.waited = true
		n, err := e.readBody(b.data[len(b.data):min(cap(b.data), limit)])
		b.data = b.data[:len(b.data)+n]
		if errors.Is(err, io.EOF) {
			b.complete = true
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var errBodyLimit = &h1.Error{Status: 413}

// readBody reads from the client and minds the gate's limit.
func (e *exchange) readBody(p []byte) (int, error) {
	n, err := e.client.readBody(p)
	e.body.seen += int64(n)
	if limit := e.eng.opt.MaxBodyBytes; limit > 0 && e.body.seen > limit {
		return 0, errBodyLimit
	}
	return n, err
}

// ReadBody implements plugin.Engine.
func (e *exchange) ReadBody(limit int64) ([]byte, error) {
	if limit <= 0 || limit > maxBody {
		limit = maxBody
	}
	if e.head.Length > limit && !e.body.replaced {
		return nil, plugin.ErrBodyTooLarge
	}
	if err := e.hold(int(limit) + 1); err != nil {
		if errors.Is(err, errBodyLimit) {
			err = plugin.ErrBodyTooLarge
		}
		return nil, err
	}
	if int64(len(e.body.data)) > limit {
		return nil, plugin.ErrBodyTooLarge
	}
	return e.body.data, nil
}

// SetBody implements plugin.Engine.
func (e *exchange) SetBody(b []byte) {
	e.body.replaced = e.body.replaced || !e.body.complete
	e.body.data, e.body.complete = b, true
}

// Context implements plugin.Engine.
func (e *exchange) Context() context.Context { return e.watch.context() }
