package ops

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

// supervisor keeps what a process says to systemd.
type supervisor struct {
	path string
	mu   sync.Mutex
	said string
}

func newSupervisor(t *testing.T) *supervisor {
	t.Helper()
	s := &supervisor{path: filepath.Join(t.TempDir(), "notify")}
	l, err := net.ListenPacket("unixgram", s.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		b := make([]byte, 4096)
		for {
			n, _, err := l.ReadFrom(b)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.said += string(b[:n]) + "\n"
			s.mu.Unlock()
		}
	}()
	return s
}

// hears waits until a line was said so often.
func (s *supervisor) hears(t *testing.T, line string, times int) {
	t.Helper()
	stack.Eventually(t, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if n := strings.Count(s.said, line+"\n"); n < times {
			return fmt.Errorf("heard %s %d times, want %d, in\n%s", line, n, times, s.said)
		}
		return nil
	})
}

// TestProcessesTellTheirSupervisor has a process wait for its database, say so, become ready, stay
// alive, hand over and stop, as systemd hears it.
func TestProcessesTellTheirSupervisor(t *testing.T) {
	t.Parallel()
	s, database := newSupervisor(t), services.NewPostgres(t)
	database.Stop(t)
	env := []string{"NOTIFY_SOCKET=" + s.path, "WATCHDOG_USEC=200000"}
	go func() {
		s.hears(t, "STATUS=waiting for the store", 1)
		database.Start(t)
	}()
	p := stack.StartEnv(t, env, "controlplane", stack.ReplicaArgs(t, database.URL)...)
	s.hears(t, "READY=1", 1)
	s.hears(t, fmt.Sprint("MAINPID=", p.PID()), 1)
	s.hears(t, "WATCHDOG=1", 3)
	p.Stop()
	s.hears(t, "STOPPING=1", 1)

	// A node that was never configured is up; a probe of it asks nobody else.
	n := stack.StartEnv(t, env, "dataplane", stack.NodeArgs(t, "127.0.0.1:1", "default", "n")...)
	s.hears(t, fmt.Sprint("MAINPID=", n.PID()), 1)
	out, code := stack.Shell(t, nil, stack.Binary(t)+" status --ready --status-listen "+n.Addr("status"))
	if code != 1 || !strings.Contains(out, "not ready: ") {
		t.Errorf("seki status --ready of an empty node: exit %d %s", code, out)
	}
}

// TestSupervisorFollowsHandOver has the process that takes over be the one to watch.
func TestSupervisorFollowsHandOver(t *testing.T) {
	t.Parallel()
	s, a := newSupervisor(t), stack.FreePorts(t, 5)
	p := stack.StartEnv(t, []string{"NOTIFY_SOCKET=" + s.path, "WATCHDOG_USEC=200000"}, "run", "--data-dir", t.TempDir(), "--proxy-listen", a[0],
		"--proxy-tls-listen", a[1], "--admin-listen", a[2], "--grpc-listen", a[3], "--status-listen", a[4], "--console-listen", "off")
	p.WaitReady()
	s.hears(t, fmt.Sprint("MAINPID=", p.PID()), 1)
	if err := p.HandOver(); err != nil {
		t.Fatal(err)
	}
	s.hears(t, "STATUS=serving; took over from another process", 1)
	s.hears(t, "READY=1", 2)
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.Contains(s.said, "STOPPING") {
		t.Errorf("the process that handed over says that the service stops:\n%s", s.said)
	}
}
