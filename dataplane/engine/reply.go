package engine

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/engine/h1"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
)

// reply is the upstream's answer as it is read from an HTTP/1.1 connection.
type reply struct {
	conn *upstream.Conn
	head h1.Head
	buf  *[]byte // from replyBuffers; the head's strings point into it
	b    []byte  // *buf, or a larger one for a large head
	end  int     // of the head in b
	w    int     // of what was read

	left    int64
	chunked bool
	toEOF   bool
	done    bool
	reused  bool // the connection has served before
	heard   bool // at least one byte of an answer
	coding  h1.Chunks
	h2      bool // the answer came over HTTP/2
}

// replySize is what is read of an upstream at once.
const replySize = 32 << 10

// replyBuffers lend memory to exchanges that wait for an upstream; idle connections have none.
var replyBuffers = sync.Pool{New: func() any { b := make([]byte, replySize); return &b }}

func (r *reply) begin(c *upstream.Conn) {
	if r.buf == nil {
		r.buf = replyBuffers.Get().(*[]byte)
	}
	r.conn, r.b, r.end, r.w, r.heard, r.done, r.h2 = c, *r.buf, 0, 0, false, false, false
}

// release gives the memory back, after the log phase.
func (r *reply) release() {
	if r.buf != nil {
		replyBuffers.Put(r.buf)
	}
	r.conn, r.buf, r.b = nil, nil, nil
	r.h2 = false
}

// version is the upstream's protocol for Via.
func (r *reply) version() string {
	if r.h2 {
		return "2"
	}
	return "1.1"
}

// errInvalid says that the upstream's answer is no HTTP.
var errInvalid = errors.New("upstream's answer is malformed")

// readHead reads the next head. Each read has timeout.
func (r *reply) readHead(e *exchange, timeout time.Duration) error {
	rest := copy(r.b, r.b[r.end:r.w]) // after an informational answer
	r.end, r.w = 0, rest
	scanned := 0
	for {
		n, next, err := h1.ResponseLimits.Scan(r.b[:r.w], scanned)
		if err != nil {
			return errInvalid
		}
		scanned = next
		if n > 0 {
			r.end = n
			if r.head.ParseResponse(r.b[:n], h1.ResponseLimits.Fields, &e.x.Response.Header) != nil {
				return errInvalid
			}
			return nil
		}
		if r.w == len(r.b) {
			r.b = append(r.b, make([]byte, len(r.b))...) // Scan bounds it
		}
		k, err := r.conn.Read(r.b[r.w:], e.now, timeout)
		e.look()
		r.w += k
		r.heard = r.heard || k > 0
		if k == 0 && err != nil {
			return err
		}
	}
}

// frame settles how the body ends.
func (r *reply) frame(bodyless bool) {
	h := &r.head
	r.left, r.chunked, r.toEOF = h.Length, false, false
	switch {
	case bodyless || h.Length == 0 && !h.Chunked:
		r.done = true
	case h.Chunked:
		r.chunked = true
		r.coding.Reset()
	case h.Length < 0:
		r.toEOF = true
	}
	// The head must stay until the log phase: the body goes behind it, or elsewhere.
	if len(r.b)-r.end < replySize/2 {
		b := make([]byte, replySize)
		r.w = copy(b[h1.SizeRoom:], r.b[r.end:r.w]) + h1.SizeRoom
		r.b, r.end = b, h1.SizeRoom
	}
}

// early returns the bounds of the part of the body that came with the head.
func (r *reply) early() (lo, hi int, err error) {
	n, err := r.decode(r.b[r.end:r.w])
	return r.end, r.end + n, err
}

// next reads some more of the body. hi==lo only at its end.
func (r *reply) next(e *exchange, timeout time.Duration) (lo, hi int, err error) {
	lo = r.end + h1.SizeRoom
	for !r.done {
		k, err := r.conn.Read(r.b[lo:len(r.b)-h1.EndRoom], e.now, timeout)
		e.look()
		if k == 0 && err != nil {
			if r.toEOF && errors.Is(err, io.EOF) {
				r.done = true
				break
			}
			return lo, lo, err
		}
		n, err := r.decode(r.b[lo : lo+k])
		if err != nil || n > 0 {
			return lo, lo + n, err
		}
	}
	return lo, lo, nil
}

func (r *reply) decode(p []byte) (data int, err error) {
	used := len(p)
	switch {
	case r.done:
		used = 0
	case r.chunked:
		data, used, err = r.coding.Decode(p)
		r.done = r.coding.Done()
	case r.toEOF:
		data = len(p)
	default:
		data = int(min(int64(len(p)), r.left))
		used = data
		r.left -= int64(data)
		r.done = r.left == 0
	}
	if used < len(p) {
		r.head.Close = true // not to be used again
	}
	return data, err
}

// settle gives the connection back, or closes it when it cannot serve another exchange.
func (r *reply) settle(e *exchange, clean bool) {
	c := r.conn
	if c == nil {
		return
	}
	r.conn = nil
	untouched := e.watch.detach()
	if !clean || !untouched || !r.done || r.toEOF || r.head.Close {
		c.Close()
		return
	}
	c.Release(e.now)
}
