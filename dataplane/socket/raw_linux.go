//go:build linux && !386 && !s390x

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
	b   []byte
	n   int
	err syscall.Errno
	try func(fd uintptr) bool // false: wait until the socket is ready
}

func (r *raw) init(c *net.TCPConn) {
	// The error is that of a nil connection.
	r.conn, _ = c.SyscallConn()
	r.read.try, r.write.try = r.readNow, r.writeNow
}

func (r *raw) readNow(fd uintptr) bool {
	a := &r.read
	n, err := call(recvfrom, fd, a.b, 0)
	if err == syscall.EAGAIN {
		return false
	}
	a.n, a.err = n, err
	return true
}

func (r *raw) writeNow(fd uintptr) bool {
	a := &r.write
	for len(a.b) > 0 {
		n, err := call(sendto, fd, a.b, syscall.MSG_NOSIGNAL)
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

// The system calls of sockets: read and write would first ask the file what it is, which costs
// 3 % of them.
const (
	recvfrom = syscall.SYS_RECVFROM
	sendto   = syscall.SYS_SENDTO
)

// call makes one system call on a socket that is non-blocking: the scheduler need not know.
func call(trap, fd uintptr, b []byte, flags uintptr) (int, syscall.Errno) {
	for {
		n, _, err := syscall.RawSyscall6(trap, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), flags, 0, 0)
		if err != syscall.EINTR {
			return int(n), err
		}
	}
}

// Read implements net.Conn.
func (c *announced) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	a := &c.raw.read
	a.b = b
	err := c.raw.conn.Read(a.try)
	a.b = nil
	switch {
	case err != nil:
		return 0, fault(c, "read", err)
	case a.err != 0:
		return 0, fault(c, "read", os.NewSyscallError("read", a.err))
	case a.n == 0:
		return 0, io.EOF
	}
	return a.n, nil
}

// Write implements net.Conn.
func (c *announced) Write(b []byte) (int, error) {
	a := &c.raw.write
	a.b, a.n, a.err = b, 0, 0
	err := c.raw.conn.Write(a.try)
	a.b = nil
	if err == nil && a.err != 0 {
		err = os.NewSyscallError("write", a.err)
	}
	if err != nil {
		return a.n, fault(c, "write", err)
	}
	return a.n, nil
}
