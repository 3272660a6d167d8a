package socket

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// raw makes the system calls. The two functions are made once: a call allocates nothing.
type raw struct {
	conn  syscall.RawConn
	read  attempt
	write attempt
}

// attempt is what one direction is about to do and has done.
type attempt struct {
	b    []byte
	n    int
	err  syscall.Errno
	call func(fd uintptr) bool // false: wait until the socket is ready
}

func (r *raw) init(c *net.TCPConn) bool {
	var err error
	if r.conn, err = c.SyscallConn(); err != nil {
		return false
	}
	r.read.call, r.write.call = r.readNow, r.writeNow
	return true
}

func (r *raw) readNow(fd uintptr) bool {
	a := &r.read
	n, err := a.now(syscall.SYS_READ, fd)
	if err == syscall.EAGAIN {
		return false
	}
	a.n, a.err = n, err
	return true
}

func (r *raw) writeNow(fd uintptr) bool {
	a := &r.write
	for len(a.b) > 0 {
		n, err := a.now(syscall.SYS_WRITE, fd)
		if err != 0 {
			a.err = err
			return err != syscall.EAGAIN
		}
		a.n += n
		a.b = a.b[n:]
	}
	a.err = 0
	return true
}

// now makes one call. The socket is non-blocking, so the scheduler need not know of it.
func (a *attempt) now(trap, fd uintptr) (int, syscall.Errno) {
	for {
		n, _, err := syscall.RawSyscall(trap, fd, uintptr(unsafe.Pointer(&a.b[0])), uintptr(len(a.b)))
		if err != syscall.EINTR {
			return int(n), err
		}
	}
}

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	a := &c.raw.read
	a.b = b
	err := c.raw.conn.Read(a.call)
	a.b = nil
	switch {
	case err != nil:
		return 0, c.fault("read", err)
	case a.err != 0:
		return 0, c.fault("read", os.NewSyscallError("read", a.err))
	case a.n == 0:
		return 0, io.EOF
	}
	return a.n, nil
}

// Write implements net.Conn.
func (c *Conn) Write(b []byte) (int, error) {
	a := &c.raw.write
	a.b, a.n, a.err = b, 0, 0
	err := c.raw.conn.Write(a.call)
	a.b = nil
	if err == nil && a.err != 0 {
		err = os.NewSyscallError("write", a.err)
	}
	if err != nil {
		return a.n, c.fault("write", err)
	}
	return a.n, nil
}

// fault puts an error in the words of the net package, whose own for raw access differ.
func (c *Conn) fault(op string, err error) error {
	if o, ok := err.(*net.OpError); ok {
		err = o.Err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
