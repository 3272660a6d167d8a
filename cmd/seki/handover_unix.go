//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sekifuda/sekifuda/dataplane"
)

// self is the path by which this process was started: what lies there later is its successor.
var self = func() string {
	path, err := exec.LookPath(os.Args[0])
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		path, _ = os.Executable()
	}
	return path
}()

// handOverOnSignal hands over at SIGUSR2, until ctx ends or a successor serves.
func (p *process) handOverOnSignal(ctx context.Context, d *desk, dp *dataplane.DataPlane, fail context.CancelCauseFunc) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR2)
	defer signal.Stop(asked)
	for {
		select {
		case <-ctx.Done():
			return
		case <-asked:
		}
		err := p.handOver(ctx, d, dp, fail)
		if err == nil {
			notice(ctx, p.log, "handed over")
			if dp != nil {
				dp.HandedOver()
			}
			if p.asked != nil {
				_ = p.asked.Close() // it is the successor that is asked how things are
			}
			fail(errHandedOver)
			return
		}
		p.log.Error("nothing was handed over; this process goes on", "binary", self, "error", err)
	}
}

// held are descriptors of listening sockets beside those that are served. Files of package os are
// not used: their descriptors would be made blocking, and with them the sockets that are served.
type held struct {
	names []string
	fds   []int
}

// duplicate holds the sockets of listeners; those that were closed are left out.
func duplicate(all []socket) (*held, error) {
	h := &held{}
	for _, s := range all {
		raw, err := s.l.(*net.TCPListener).SyscallConn()
		if err != nil {
			h.close()
			return nil, err
		}
		var fd int
		var failed error
		if err := raw.Control(func(at uintptr) {
			fd, failed = unix.FcntlInt(at, unix.F_DUPFD_CLOEXEC, 0)
		}); err != nil {
			continue // it is not open
		}
		if failed != nil {
			h.close()
			return nil, fmt.Errorf("duplicate the socket of --%s: %w", s.name, failed)
		}
		h.names, h.fds = append(h.names, s.name), append(h.fds, fd)
	}
	return h, nil
}

func (h *held) close() {
	for _, fd := range h.fds {
		_ = unix.Close(fd)
	}
	h.fds = nil
}

// give gives the sockets to who opens listeners.
func (h *held) give(to *sockets) error {
	for i, fd := range h.fds {
		again, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return err
		}
		to.keep(h.names[i], os.NewFile(uintptr(again), h.names[i]))
	}
	return nil
}

// spawn starts the successor.
func (p *process) spawn(h *held) (*successor, error) {
	theirs, say, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	hear, mine, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, theirs.Close(), say.Close())
	}
	defer theirs.Close()
	defer mine.Close()
	files := []uintptr{0, 1, 2}
	for _, fd := range h.fds {
		files = append(files, uintptr(fd))
	}
	files = append(files, mine.Fd(), theirs.Fd())
	env := append(withoutSockets(p.call.environ), handoverEnv+"="+strings.Join(h.names, ","))
	pid, err := syscall.ForkExec(self, os.Args, &syscall.ProcAttr{Env: env, Files: files})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", self, err), say.Close(), hear.Close())
	}
	s := &successor{pid: pid, say: say, words: make(chan string), ended: make(chan struct{})}
	go s.listen(hear)
	go func() {
		defer close(s.ended)
		var status syscall.WaitStatus
		for {
			if _, err := syscall.Wait4(pid, &status, 0, nil); err != syscall.EINTR {
				return
			}
		}
	}()
	return s, nil
}

// listen passes on words until the successor has none.
func (s *successor) listen(hear *os.File) {
	defer hear.Close()
	defer close(s.words)
	lines := bufio.NewScanner(hear)
	for lines.Scan() {
		select {
		case s.words <- lines.Text():
		case <-s.ended:
			return
		}
	}
}

// kill ends the successor and returns when it is gone.
func (s *successor) kill() {
	_ = syscall.Kill(s.pid, syscall.SIGKILL) // it may have ended
	<-s.ended
	_ = s.say.Close()
}
