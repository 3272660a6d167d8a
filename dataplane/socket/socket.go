// Package socket reads and writes TCP connections at the least cost to the scheduler.
//
// The net package announces every system call to Go's scheduler, which may then give the
// processor to another thread; under load that is a seventh of what a proxied request costs,
// and more at a moderate rate. The sockets here are non-blocking, so that such a call never
// waits: it is made without the announcement. Waiting, deadlines and closing stay with the net
// package and its poller.
//
// It knows bytes and connections, no protocol. Enter at Wrap.
package socket

import "net"

// Conn is a TCP connection. Unlike a *net.TCPConn it bears one reader and one writer at a time;
// deadlines and Close may come from anywhere.
type Conn struct {
	*net.TCPConn
	raw
}

// Wrap returns c as a Conn when it is a TCP connection of the net package, else c itself.
func Wrap(c net.Conn) net.Conn {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	s := &Conn{TCPConn: t}
	if !s.init(t) {
		return c
	}
	return s
}

// TCP returns the connection of the net package that c is or wraps, or nil.
func TCP(c net.Conn) *net.TCPConn {
	if s, ok := c.(*Conn); ok {
		return s.TCPConn
	}
	t, _ := c.(*net.TCPConn)
	return t
}
