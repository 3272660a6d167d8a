//go:build unix

package services

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// A server that is not up, or not down, after this long never will be; the machine may be
// busy with other packages' tests.
const patience = 60 * time.Second

// account is the user that servers run as: ourselves, or nobody special when we are root
// (PostgreSQL refuses root).
type account struct {
	root     bool
	uid, gid int
}

func unprivileged() (account, error) {
	if os.Geteuid() != 0 {
		return account{}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err := errors.Join(err1, err2); err != nil {
			return account{}, fmt.Errorf("look up user %s: %w", name, err)
		}
		return account{true, uid, gid}, nil
	}
	return account{}, errors.New("tests run as root and there is no user postgres or nobody to run servers as: add one, or run the tests as another user")
}

func (a account) own(path string) error {
	if !a.root {
		return nil
	}
	return os.Chown(path, a.uid, a.gid)
}

// attributes put a program into a process group of its own, out of reach of the terminal's
// interrupt: its reaper ends it in the right order.
func (a account) attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if a.root {
		attr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	return attr
}

// reaper removes a server and its folder when this process is gone, even killed: it reads
// from a pipe whose other end only this process holds.
type reaper struct {
	pipe io.WriteCloser
	cmd  *exec.Cmd
}

// The pid file is read at the end: servers are restarted meanwhile.
const reap = `trap '' INT TERM HUP; cat >/dev/null
pid=$(cat "$1/pid" 2>/dev/null)
if [ -n "$pid" ]; then
  kill -QUIT "$pid" 2>/dev/null
  n=0; while kill -0 "$pid" 2>/dev/null && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done
  kill -KILL "$pid" 2>/dev/null
fi
rm -rf "$1"`

func startReaper(dir string) (*reaper, error) {
	cmd := exec.Command("/bin/sh", "-c", reap, "reaper", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("make reaper's pipe: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start reaper: %w", err)
	}
	return &reaper{pipe, cmd}, nil
}

// end lets the reaper do its work now and waits for it.
func (r *reaper) end() error {
	return errors.Join(r.pipe.Close(), r.cmd.Wait())
}

// server is one program that listens on a port.
type server struct {
	as   account
	dir  string
	args []string
	log  string
	ping func(context.Context) error

	mu   sync.Mutex
	cmd  *exec.Cmd
	gone chan struct{} // closed when cmd has ended
}

// start starts the program and returns when it answers.
func (s *server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.spawn(); err != nil {
		return err
	}
	for {
		err := s.ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.gone:
			return fmt.Errorf("%s ended at once: %s", filepath.Base(s.args[0]), s.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w: %s", filepath.Base(s.args[0]), err, s.tail())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *server) spawn() error {
	out, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open server's log: %w", err)
	}
	defer out.Close()
	cmd := exec.Command(s.args[0], s.args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = s.dir, out, out, s.as.attributes()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", filepath.Base(s.args[0]), err)
	}
	gone := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(gone)
	}()
	s.cmd, s.gone = cmd, gone
	return os.WriteFile(filepath.Join(s.dir, "pid"), strconv.AppendInt(nil, int64(cmd.Process.Pid), 10), 0o600)
}

// signal sends sig and returns when the program has ended.
func (s *server) signal(sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return nil
	}
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", s.args[0], err)
	}
	select {
	case <-s.gone:
	case <-time.After(patience):
		return fmt.Errorf("%s does not end: %s", s.args[0], s.tail())
	}
	s.cmd = nil
	return os.Remove(filepath.Join(s.dir, "pid"))
}

// tail is the end of the program's log, for a test's failure.
func (s *server) tail() string {
	log, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	log = bytes.TrimSpace(log)
	return string(log[max(0, len(log)-2000):])
}
