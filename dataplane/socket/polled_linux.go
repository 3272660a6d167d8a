//go:build linux && !386 && !s390x

package socket

import (
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// polled is a connection whose readiness this package keeps itself: it knows without a system
// call that there is nothing to read, and that the peer has hung up.
type polled struct {
	fd            int
	turn          int32 // tells it from an earlier connection of the same descriptor
	local, remote net.Addr
	users         atomic.Int32 // those inside a call, and one for being open; gone is beside it
	hung          atomic.Bool  // the peer has closed its sending side, or all
	in, out       side
}

// gone marks users of a connection that was closed.
const gone = 1 << 30

// poll takes the descriptor from c. It returns nil, and leaves c alone, when that fails.
func poll(c *net.TCPConn) net.Conn {
	raw, err := c.SyscallConn()
	if err != nil || thePoller() == nil {
		return nil
	}
	fd, errno := uintptr(0), syscall.Errno(0)
	err = raw.Control(func(old uintptr) {
		fd, _, errno = syscall.RawSyscall(syscall.SYS_FCNTL, old, syscall.F_DUPFD_CLOEXEC, 0)
	})
	if err != nil || errno != 0 {
		return nil
	}
	p := &polled{fd: int(fd), local: c.LocalAddr(), remote: c.RemoteAddr()}
	p.users.Store(1)
	p.in.init()
	p.out.init()
	if !thePoller().add(p) {
		syscall.Close(p.fd)
		return nil
	}
	c.Close() // this descriptor only: the connection lives in the other
	return p
}

// notice is what the poller calls with what has happened to the connection.
func (c *polled) notice(events uint32) {
	if events&(syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
		c.hung.Store(true)
	}
	if events&^syscall.EPOLLOUT != 0 {
		c.in.wakeReady()
	}
	if events&(syscall.EPOLLOUT|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
		c.out.wakeReady()
	}
}

// enter keeps the descriptor open for the length of a call.
func (c *polled) enter() bool {
	for {
		n := c.users.Load()
		if n&gone != 0 {
			return false
		}
		if c.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (c *polled) leave() {
	if c.users.Add(-1) == gone {
		thePoller().remove(c)
		syscall.Close(c.fd)
	}
}

func (c *polled) closed() bool { return c.users.Load()&gone != 0 }

// Read implements net.Conn. A read that does not fill b has emptied the socket: then the next
// one waits for news first. The end is no news when it came with the last bytes, so a socket
// that has hung up is always tried.
func (c *polled) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if !c.enter() {
		return 0, fault(c, "read", net.ErrClosed)
	}
	defer c.leave()
	for {
		if err := c.in.wait(c); err != nil {
			return 0, fault(c, "read", err)
		}
		c.in.ready.Store(false)
		n, err := call(recvfrom, uintptr(c.fd), b, 0)
		if err == syscall.EAGAIN {
			continue
		}
		if err != 0 || n == 0 || n == len(b) || c.hung.Load() {
			c.in.ready.Store(true)
		}
		switch {
		case err != 0:
			return 0, fault(c, "read", os.NewSyscallError("read", err))
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// Write implements net.Conn.
func (c *polled) Write(b []byte) (int, error) {
	if !c.enter() {
		return 0, fault(c, "write", net.ErrClosed)
	}
	defer c.leave()
	done := 0
	for done < len(b) {
		if err := c.out.wait(c); err != nil {
			return done, fault(c, "write", err)
		}
		n, err := c.send(b[done:])
		if err == syscall.EAGAIN {
			continue
		}
		if err != 0 {
			return done, fault(c, "write", os.NewSyscallError("write", err))
		}
		done += n
	}
	return done, nil
}

// send writes what the socket takes. It mostly takes all, so only then is it noted that there is
// no room, and tried again: there may have been some between the two.
func (c *polled) send(b []byte) (int, syscall.Errno) {
	n, err := call(sendto, uintptr(c.fd), b, syscall.MSG_NOSIGNAL)
	if err != syscall.EAGAIN {
		return n, err
	}
	c.out.ready.Store(false)
	if n, err = call(sendto, uintptr(c.fd), b, syscall.MSG_NOSIGNAL); err != syscall.EAGAIN {
		c.out.ready.Store(true)
	}
	return n, err
}

// Close implements net.Conn. Calls under way return.
func (c *polled) Close() error {
	for {
		n := c.users.Load()
		if n&gone != 0 {
			return fault(c, "close", net.ErrClosed)
		}
		if c.users.CompareAndSwap(n, n|gone) {
			break
		}
	}
	c.in.stop()
	c.out.stop()
	c.leave()
	return nil
}

func (c *polled) CloseWrite() error {
	if !c.enter() {
		return fault(c, "close", net.ErrClosed)
	}
	defer c.leave()
	if err := syscall.Shutdown(c.fd, syscall.SHUT_WR); err != nil {
		return fault(c, "close", os.NewSyscallError("shutdown", err))
	}
	return nil
}

func (c *polled) HungUp() bool { return c.hung.Load() || c.closed() }

func (c *polled) Woken() bool { return c.in.waited }

func (c *polled) Quiet() bool { return !c.in.ready.Load() && !c.hung.Load() && !c.closed() }

func (c *polled) Readable() bool {
	if c.hung.Load() || !c.enter() {
		return true
	}
	defer c.leave()
	var b [1]byte
	_, err := call(recvfrom, uintptr(c.fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return err != syscall.EAGAIN
}

// Later implements Parker.
func (c *polled) Later(f func()) { c.in.call(c, f) }

func (c *polled) LocalAddr() net.Addr  { return c.local }
func (c *polled) RemoteAddr() net.Addr { return c.remote }

func (c *polled) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

func (c *polled) SetReadDeadline(t time.Time) error  { return c.setDeadline(&c.in, t) }
func (c *polled) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.out, t) }

func (c *polled) setDeadline(s *side, t time.Time) error {
	if c.closed() {
		return fault(c, "set", net.ErrClosed)
	}
	s.deadline(t)
	return nil
}
