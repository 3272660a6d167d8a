// Package socket reads and writes TCP connections at the least cost to the scheduler.
//
// The net package announces every system call to Go's scheduler, which may then give the
// processor to another thread; under load that is a seventh of what a proxied request costs,
// and more at a moderate rate. The sockets here are non-blocking, so that such a call never
// waits: it is made without the announcement.
//
// It knows bytes and connections, no protocol. Enter at Wrap.
package socket

import (
	"net"
	"os"
)

// Conn is a TCP connection. Unlike a *net.TCPConn it bears one reader and one writer at a time;
// deadlines and Close may come from anywhere.
type Conn interface {
	net.Conn
	CloseWrite() error
	// HungUp reports whether the peer has closed its sending side, even if bytes of it are
	// unread: nginx takes that for the client's end too.
	HungUp() bool
	// Readable reports whether a read would not wait: there are bytes, the end, or an error.
	Readable() bool
	// Woken reports whether the last Read had to wait. Then all that has come over any
	// connection before its bytes came was noticed.
	Woken() bool
	// Quiet reports, without a system call, that nothing was noticed of the peer since a Read
	// took all there was. false: nobody knows.
	Quiet() bool
}

// Parker is a connection for which nobody need wait: no goroutine, no buffer.
type Parker interface {
	// Later has f called, in a goroutine of its own, when Read would not wait any more: there
	// are bytes, the end, an error, a deadline or a Close. Until then nobody may read.
	Later(f func())
}

// Wrap returns c as a Conn when it is a TCP connection of the net package, else c itself. c is
// not used afterwards.
func Wrap(c net.Conn) net.Conn {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	if own {
		if p := poll(t); p != nil {
			return p
		}
	}
	return announce(t)
}

func announce(t *net.TCPConn) *announced {
	s := &announced{TCPConn: t}
	s.init(t)
	s.peek.init()
	return s
}

// own has connections wait in a poller of this package, which spares the read that finds
// nothing, and memory while they are idle. SEKI_POLLER=net has them wait in the net package's.
var own = os.Getenv("SEKI_POLLER") != "net"

// announced waits in the net package's poller. The name is what its system calls would be
// without raw.
type announced struct {
	*net.TCPConn
	raw
	peek peek
}

// Woken and Quiet implement Conn: who waits in the net package's poller is told nothing.
func (c *announced) Woken() bool { return false }
func (c *announced) Quiet() bool { return false }

func (c *announced) HungUp() bool { return hungUp(c.TCPConn) }

// fault puts an error in the words of the net package.
func fault(c net.Conn, op string, err error) error {
	if o, ok := err.(*net.OpError); ok {
		err = o.Err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
