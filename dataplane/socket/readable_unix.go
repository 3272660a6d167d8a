//go:build unix && (!linux || 386 || s390x)

package socket

import (
	"net"
	"syscall"
)

// readable reports whether a read would not wait: there are bytes, the end, or an error.
func readable(c *net.TCPConn) bool {
	rc, err := c.SyscallConn()
	if err != nil {
		return true
	}
	there := true
	err = rc.Control(func(fd uintptr) {
		var b [1]byte
		_, _, e := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		there = e != syscall.EAGAIN && e != syscall.EWOULDBLOCK
	})
	return there || err != nil
}
