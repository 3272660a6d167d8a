package engine

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/engine/h1"
	"github.com/sekifuda/sekifuda/dataplane/socket"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
)

// conn is one HTTP/1.1 connection: a goroutine reads requests from it, one after the other.
// It is the client of its exchanges.
type conn struct {
	eng   *Engine
	net   net.Conn
	tcp   socket.Conn // below TLS; nil when there is none
	tls   *tls.ConnectionState
	peer  netip.AddrPort
	local netip.AddrPort
	claim netip.AddrPort // whose it is, by the word of a proxy in front

	// in holds what was read: in[:next] is the request under way, whose strings point there;
	// in[next:] was sent after it.
	in   []byte
	next int
	out  []byte

	readBy  upstream.Deadline
	writeBy upstream.Deadline

	mu   sync.Mutex // of ex for all but the connection's goroutine, and of idle.seen
	ex   *exchange  // nil: the connection rests
	idle idle

	body    incoming
	answer  outgoing
	phase   atomic.Int32
	handled atomic.Uint64
	closing atomic.Bool // no further request
}

// inSize is what a connection reads at once; a larger head makes its buffer grow.
const inSize = 8 << 10

func newConn(e *Engine, c net.Conn, tcp socket.Conn, state *tls.ConnectionState) *conn {
	n := &conn{eng: e, net: c, tcp: tcp, tls: state}
	n.peer, n.local = addrPort(c.RemoteAddr()), e.opt.door(c)
	n.equip()
	n.ex.look()
	return n
}

// claimed notes whose connection it is, by the word of a proxy in front.
func (c *conn) claimed(by netip.AddrPort) *conn {
	c.claim, c.ex.claim = by, by
	return c
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

// door is the address that c came in at, with the port that clients know it by.
func (o *Options) door(c net.Conn) netip.AddrPort {
	local := addrPort(c.LocalAddr())
	if port, ok := o.PortMaps[local.Port()]; ok {
		return netip.AddrPortFrom(local.Addr(), port)
	}
	return local
}

func (c *conn) state() (phase, uint64) { return phase(c.phase.Load()), c.handled.Load() }

func (c *conn) kill() { c.net.Close() }

func (c *conn) drain() {
	c.closing.Store(true)
	if p := phase(c.phase.Load()); p == waiting || p == resting {
		// The reader wakes up. A request that came in this very moment is lost, as it is
		// whenever a server closes an idle connection: clients know to send it again.
		c.net.SetReadDeadline(time.Unix(1, 0))
	}
}

func (c *conn) run() {
	if !c.eng.add(c) {
		c.eng.delist(c.ex)
		c.net.Close()
		return
	}
	c.live(true)
}

// next is what follows an exchange.
type next uint8

const (
	another next = iota // request
	end                 // of the connection
	parked              // the connection is somebody else's now
)

// live serves requests until the connection ends or is parked.
func (c *conn) live(first bool) {
	n := end
	defer func() {
		if n == parked {
			return
		}
		if p := recover(); p != nil {
			if e := c.ex; e != nil { // it is not used again
				e.panicked("exchange panicked", p)
				e.release()
				c.eng.delist(e)
			}
		} else if c.ex != nil {
			c.strip()
		}
		c.net.Close()
		c.eng.remove(c)
	}()
	for {
		n = end // a panic ends the connection
		if n = c.one(first); n != another {
			return
		}
		first = false
	}
}

// one reads and serves one request.
func (c *conn) one(first bool) next {
	c.phase.Store(int32(waiting))
	c.compact()
	n, start, err := c.readHead(first)
	if errors.Is(err, errParked) {
		return parked
	}
	if errors.Is(err, errHTTP2) {
		c.become(working)
		c.net.SetReadDeadline(never) // the library keeps its own time
		c.eng.h2.serve(&replayed{c.net, c.in}, c.claim, nil)
		return end
	}
	if err != nil && !isRefusal(err) {
		return end
	}
	c.become(working)
	c.handled.Add(1)
	e := c.ex
	e.begin(start)
	e.woken = c.tcp != nil && c.tcp.Woken()
	c.answer.reset()
	if err != nil {
		e.head = h1.Head{Length: -1} // nothing is known of this request
	} else {
		c.next = n
		err = e.head.ParseRequest(c.in[:n], c.eng.limits.Fields, &e.x.Request.Header)
	}
	e.x.Peer, e.x.Local, e.x.Request.TLS = c.peer, c.local, c.tls
	if err != nil {
		c.refuse(err)
		return end
	}
	c.body.begin(&e.head)
	e.x.Request.Size = int64(n)
	e.run()
	return c.settle()
}

func isRefusal(err error) bool {
	var r *h1.Error
	return errors.As(err, &r)
}

// refuse answers a head that was not understood and ends the connection: nobody knows where
// the next message would begin.
func (c *conn) refuse(err error) {
	status := 400
	var r *h1.Error
	if errors.As(err, &r) {
		status = r.Status
	}
	c.ex.head.Close = true
	c.body.begin(&h1.Head{Length: -1})
	c.ex.refuseHead(status)
	c.linger()
}

// settle decides after an exchange whether another request may follow.
func (c *conn) settle() next {
	a := &c.answer
	if a.broken || a.tunnelled {
		return end
	}
	if !c.body.done {
		c.linger()
		return end
	}
	if a.close {
		return end
	}
	return another
}

// compact moves what was sent early to the front of the buffer.
func (c *conn) compact() {
	rest := c.in[c.next:]
	if cap(c.in) > inSize && len(rest) <= inSize {
		c.in = make([]byte, 0, inSize) // a large head is rare: its memory is not kept
	}
	c.in = c.in[:copy(c.in[:cap(c.in)], rest)]
	c.next = 0
}

// preface begins an HTTP/2 connection with prior knowledge (RFC 9113 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

var errHTTP2 = errors.New("client speaks http/2")

// readHead reads until a whole request head is there and returns its length and the time of its first
// byte. The error is an *h1.Error, errHTTP2, or one of the connection's.
func (c *conn) readHead(first bool) (n int, start time.Time, err error) {
	scanned := 0
	for {
		if len(c.in) > 0 {
			if start.IsZero() {
				start = c.eng.opt.Now()
			}
			if first && c.tls == nil && isPreface(c.in) {
				if len(c.in) >= len(preface) {
					return 0, start, errHTTP2
				}
			} else {
				n, scanned, err = c.scan(scanned)
				if n > 0 || err != nil {
					return n, start, err
				}
			}
		}
		if err := c.fill(start); err != nil {
			return 0, start, err
		}
	}
}

func isPreface(b []byte) bool {
	return bytes.HasPrefix(b, []byte(preface[:min(len(b), len(preface))]))
}

func (c *conn) scan(from int) (n, scanned int, err error) {
	if from == 0 {
		blank, err := h1.SkipBlank(c.in)
		if err != nil {
			return 0, 0, err
		}
		c.in = c.in[:copy(c.in, c.in[blank:])]
	}
	return c.eng.limits.Scan(c.in, from)
}

// fill reads more of a head. start is zero while nothing of it is there.
func (c *conn) fill(start time.Time) error {
	if len(c.in) == cap(c.in) {
		c.in = append(c.in, 0)[:len(c.in)] // Scan bounds it
	}
	if start.IsZero() {
		if err := c.readBy.Arm(c.net.SetReadDeadline, c.ex.now, c.eng.opt.IdleTimeout); err != nil {
			return err
		}
		if c.closing.Load() { // armed over drain's
			return io.EOF
		}
	} else {
		// The whole head has its time, however many reads it takes.
		c.become(reading)
		c.readBy.Forget()
		if err := c.net.SetReadDeadline(start.Add(c.eng.opt.HeaderTimeout)); err != nil {
			return err
		}
	}
	n, err := c.net.Read(c.in[len(c.in):cap(c.in)])
	c.in = c.in[:len(c.in)+n]
	if n > 0 {
		return nil
	}
	if start.IsZero() && phase(c.phase.Load()) == resting {
		return c.park()
	}
	return err
}

// Bounds of the linger: how much and how long is read of a client that still sends after its
// answer, so that a reset does not destroy the answer before it is read. nginx waits 30 s at
// most and 5 s between reads.
const (
	lingerBytes = 64 << 20
	lingerTime  = 5 * time.Second
)

// linger closes this side and reads on for a while.
func (c *conn) linger() {
	half, ok := c.net.(interface{ CloseWrite() error })
	if !ok || c.answer.broken || half.CloseWrite() != nil {
		return
	}
	c.net.SetReadDeadline(c.eng.opt.Now().Add(lingerTime))
	b := c.in[:cap(c.in)]
	for left := lingerBytes; left > 0; {
		n, err := c.net.Read(b)
		if err != nil {
			return
		}
		left -= n
	}
}

// replayed is a connection of which some bytes were read already.
type replayed struct {
	net.Conn
	early []byte
}

func (r *replayed) Read(b []byte) (int, error) {
	if len(r.early) > 0 {
		n := copy(b, r.early)
		r.early = r.early[n:]
		return n, nil
	}
	return r.Conn.Read(b)
}
