package engine

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/sekifuda/sekifuda/dataplane/engine/h1"
)

// incoming is how far a request's body was read from an HTTP/1.1 connection.
type incoming struct {
	left    int64 // of a body with a length
	chunked bool
	expects bool // the client waits for 100 Continue
	done    bool
	coding  h1.Chunks
	stopped atomic.Bool // no further read
}

func (b *incoming) begin(h *h1.Head) {
	b.stopped.Store(false)
	b.left, b.chunked, b.expects = max(h.Length, 0), h.Chunked, h.Expect100
	b.done = !h.Chunked && h.Length <= 0
	if h.Chunked {
		b.coding.Reset()
	}
}

// errClient marks errors of the client's side, which are not the upstream's fault.
var errClient = errors.New("client's connection")

// whole returns the body when all of it was sent along with the head and has a length.
func (c *conn) whole() ([]byte, bool) {
	b := &c.body
	if b.done || b.chunked || b.left > int64(len(c.in)-c.next) {
		return nil, b.done
	}
	body := c.in[c.next : c.next+int(b.left)]
	c.next += len(body)
	b.left, b.done = 0, true
	return body, true
}

// readBody reads some of the body. At its end it returns io.EOF with no bytes; an *h1.Error is
// the client's fault, errClient a broken connection.
func (c *conn) readBody(p []byte) (int, error) {
	for {
		if c.body.done {
			return 0, io.EOF
		}
		early := c.in[c.next:]
		n := copy(p, early)
		c.next += n
		if n == 0 {
			var err error
			if n, err = c.readMore(p); err != nil {
				return 0, err
			}
		}
		data, used, err := c.body.decode(p[:n])
		if err != nil {
			return 0, err
		}
		if used < n {
			// What follows the body is the next request.
			if len(early) > 0 {
				c.next -= n - used
			} else {
				c.in = append(c.in, p[used:n]...)
			}
		}
		if data > 0 {
			return data, nil
		}
	}
}

// discard skips what has come of a body that nobody reads and reports whether that is all of
// it: then the connection can go on.
func (c *conn) discard() bool {
	b := &c.body
	if b.done {
		return true
	}
	_, used, err := b.decode(c.in[c.next:])
	c.next += used
	return err == nil && b.done
}

func (c *conn) readMore(p []byte) (int, error) {
	if c.body.expects {
		c.body.expects = false
		if err := c.write([]byte(continueLine)); err != nil {
			return 0, fmt.Errorf("%w: %w", errClient, err)
		}
	}
	if !c.body.chunked && int64(len(p)) > c.body.left {
		p = p[:c.body.left]
	}
	if err := c.readBy.Arm(c.net.SetReadDeadline, c.eng.opt.Now(), c.eng.opt.BodyTimeout); err != nil {
		return 0, fmt.Errorf("%w: %w", errClient, err)
	}
	if b := &c.body; b.stopped.Load() { // armed over stopBody's
		return 0, errClient
	}
	n, err := c.net.Read(p)
	if n > 0 {
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // the connection's end is not the body's
	}
	return 0, fmt.Errorf("%w: %w", errClient, err)
}

// decode finds the body's data in b and moves it to the front.
func (b *incoming) decode(p []byte) (data, used int, err error) {
	if b.chunked {
		data, used, err = b.coding.Decode(p)
		b.done = b.coding.Done()
		return data, used, err
	}
	data = int(min(int64(len(p)), b.left))
	b.left -= int64(data)
	b.done = b.left == 0
	return data, data, nil
}
