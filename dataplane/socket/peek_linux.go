//go:build linux && !386 && !s390x

package socket

import (
	"syscall"
	"unsafe"
)

// peek looks whether a read would not wait, for as little as it costs: every request over a kept
// connection asks.
type peek struct {
	b    [1]byte
	wait bool
	look func(fd uintptr)
}

func (p *peek) init() { p.look = p.now }

func (p *peek) now(fd uintptr) {
	_, _, err := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&p.b[0])), 1,
		syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	p.wait = err == syscall.EAGAIN
}

// Readable implements Conn.
func (c *announced) Readable() bool {
	return c.raw.conn.Control(c.peek.look) != nil || !c.peek.wait
}
