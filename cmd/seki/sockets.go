package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// firstSocket is the descriptor of the first socket that a process is started with, by a process
// that hands over to it or by systemd (sd_listen_fds(3)).
const firstSocket = 3

// sockets are listening sockets that were there before the process, or that it keeps to take up
// again. They go by the flag and the address by which they were asked for, those of systemd by
// where they listen.
type sockets struct {
	named map[string][]*os.File
	found []net.Listener
}

// socketName is what a socket goes by: addresses with port 0 are not the same socket.
func socketName(flagName, addr string) string { return flagName + "=" + addr }

// take returns the socket that is there for a flag's address, nil when there is none.
func (s *sockets) take(flagName, addr string) (net.Listener, error) {
	name := socketName(flagName, addr)
	if kept := s.named[name]; len(kept) > 0 {
		s.named[name] = kept[1:]
		l, err := net.FileListener(kept[0])
		if err != nil {
			return nil, fmt.Errorf("--%s %s: take over the socket: %w", flagName, addr, err)
		}
		return l, kept[0].Close()
	}
	for i, l := range s.found {
		if l != nil && listensAt(l, addr) {
			s.found[i] = nil
			return l, nil
		}
	}
	return nil, nil
}

// keep adds sockets to be taken.
func (s *sockets) keep(name string, f *os.File) {
	if s.named == nil {
		s.named = map[string][]*os.File{}
	}
	s.named[name] = append(s.named[name], f)
}

// drop closes what nobody took.
func (s *sockets) drop() {
	for _, kept := range s.named {
		for _, f := range kept {
			_ = f.Close()
		}
	}
	for _, l := range s.found {
		if l != nil {
			_ = l.Close()
		}
	}
	*s = sockets{}
}

// listensAt reports whether a listener is where a flag wants one: the same port, and the same
// host or both on all.
func listensAt(l net.Listener, addr string) bool {
	want, err := net.ResolveTCPAddr("tcp", addr)
	at, ok := l.Addr().(*net.TCPAddr)
	if err != nil || !ok || at.Port != want.Port {
		return false
	}
	everywhere := func(ip net.IP) bool { return len(ip) == 0 || ip.IsUnspecified() }
	return at.IP.Equal(want.IP) || everywhere(at.IP) && everywhere(want.IP)
}

// activated are the sockets that systemd listens at for this process: LISTEN_FDS of them, when
// LISTEN_PID is this process.
func activated(getenv func(string) string) ([]net.Listener, error) {
	if getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	n, err := strconv.Atoi(getenv("LISTEN_FDS"))
	if err != nil || n < 0 {
		return nil, fmt.Errorf("LISTEN_FDS %q: expected a number of sockets", getenv("LISTEN_FDS"))
	}
	var all []net.Listener
	for fd := firstSocket; fd < firstSocket+n; fd++ {
		f := os.NewFile(uintptr(fd), "LISTEN_FDS "+strconv.Itoa(fd))
		l, err := net.FileListener(f)
		if err != nil {
			return nil, fmt.Errorf("socket %d of LISTEN_FDS: %w", fd-firstSocket, err)
		}
		all = append(all, l)
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// withoutSockets is an environment that speaks of no sockets.
func withoutSockets(environ []string) []string {
	var kept []string
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		switch name {
		case handoverEnv, "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES":
		default:
			kept = append(kept, e)
		}
	}
	return kept
}
