package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/dataplane"
)

// supervisor is who started the process and wants to hear how it is: systemd, by sd_notify(3) and
// sd_watchdog_enabled(3). One that was started by nobody who listens is nil, and says nothing.
type supervisor struct {
	conn net.Conn
	// every is how often it wants to hear that the process is alive; 0: never.
	every time.Duration
}

// supervised finds who wants to hear. successor is whether the process takes over from another one,
// for whose number the watchdog was set.
func supervised(getenv func(string) string, successor bool) (*supervisor, error) {
	path := getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil, nil
	}
	if strings.HasPrefix(path, "@") {
		path = "\x00" + path[1:] // of no file system
	}
	conn, err := net.Dial("unixgram", path)
	if err != nil {
		return nil, fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	s := &supervisor{conn: conn}
	if pid := getenv("WATCHDOG_PID"); pid == "" || pid == strconv.Itoa(os.Getpid()) || successor {
		if us, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64); err == nil && us > 0 {
			s.every = time.Duration(us) * time.Microsecond
		}
	}
	return s, nil
}

// say tells lines of VARIABLE=VALUE. Who does not listen any more is not waited for.
func (s *supervisor) say(lines ...string) {
	if s != nil {
		_, _ = s.conn.Write([]byte(strings.Join(lines, "\n"))) // there is nobody to tell that nobody listens
	}
}

// ready says that this process serves, and that it is the one to watch.
func (s *supervisor) ready(what string) {
	s.say("READY=1", "MAINPID="+strconv.Itoa(os.Getpid()), "STATUS="+what)
}

// watch says twice in each interval that the process is alive, as long as alive returns, until
// ctx ends. One that hangs says nothing more: it is killed, its stacks are in the journal, and it
// is started anew.
func (s *supervisor) watch(ctx context.Context, alive func()) {
	if s == nil || s.every == 0 {
		return
	}
	tick := time.NewTicker(s.every / 2)
	defer tick.Stop()
	for {
		alive()
		s.say("WATCHDOG=1")
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// alive returns when what everything else needs can be had: the locks of both planes.
func alive(d *desk, dp *dataplane.DataPlane) func() {
	return func() {
		if dp != nil {
			dp.Alive()
		}
		if d != nil {
			if cp := d.cp.Load(); cp != nil {
				cp.Alive()
			}
		}
	}
}
