//go:build linux && !386 && !s390x

package socket

import (
	"os"
	"sync"
	"syscall"
	"unsafe"
)

// poller tells connections what has happened to them. Its descriptor waits in Go's own poller:
// a thread that waits in epoll_wait itself would lose its processor each time.
type poller struct {
	fd     int
	waits  syscall.RawConn
	events [128]syscall.EpollEvent

	mu    sync.Mutex
	turn  int32
	conns []*polled // by descriptor
}

// thePoller is one for the process and runs until its end, as Go's does. It is nil where the
// system has none.
var thePoller = sync.OnceValue(func() *poller {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		syscall.Close(fd)
		return nil
	}
	p := &poller{fd: fd}
	if p.waits, err = os.NewFile(uintptr(fd), "epoll").SyscallConn(); err != nil {
		return nil
	}
	go p.run()
	return p
})

func (p *poller) add(c *polled) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn++
	c.turn = p.turn
	if n := c.fd + 1 - len(p.conns); n > 0 {
		p.conns = append(p.conns, make([]*polled, n)...)
	}
	p.conns[c.fd] = c
	e := syscall.EpollEvent{
		Events: syscall.EPOLLIN | syscall.EPOLLOUT | syscall.EPOLLRDHUP | edgeTriggered, Fd: int32(c.fd), Pad: c.turn,
	}
	if err := syscall.EpollCtl(p.fd, syscall.EPOLL_CTL_ADD, c.fd, &e); err != nil {
		p.conns[c.fd] = nil
		return false
	}
	return true
}

// edgeTriggered is syscall.EPOLLET with the type of the field.
const edgeTriggered = 1 << 31

// remove comes before the descriptor is closed: afterwards it may be another's.
func (p *poller) remove(c *polled) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c.fd] = nil
}

func (p *poller) run() {
	for {
		// It returns only with an error of the descriptor, which nobody closes.
		if p.waits.Read(p.drain) != nil {
			return
		}
	}
}

// drain passes on all that has happened; then the caller waits for more.
func (p *poller) drain(fd uintptr) bool {
	for {
		n, _, err := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, fd, uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), 0, 0, 0)
		if err == syscall.EINTR {
			continue
		}
		if err != 0 || n == 0 {
			return false
		}
		p.pass(p.events[:n])
		if int(n) < len(p.events) {
			return false
		}
	}
}

func (p *poller) pass(events []syscall.EpollEvent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range events {
		// An event of the same batch may have closed a connection whose descriptor was taken
		// again: the turn tells.
		if c := p.conns[events[i].Fd]; c != nil && c.turn == events[i].Pad {
			c.notice(events[i].Events)
		}
	}
}
