// Package stack starts real seki processes for tests: the built binary, on ports of its own,
// with data folders that go with the test. Enter at Start.
package stack

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "seki-bin-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "seki")
	return bin, Build(bin)
})

// Build builds seki as bin, with more flags of go build.
func Build(bin string, flags ...string) error {
	cmd := exec.Command("go", append(append([]string{"build"}, flags...), "-o", bin, "./cmd/seki")...)
	cmd.Dir = Root()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build ./cmd/seki: %w\n%s", err, out)
	}
	return nil
}

// Binary returns the path of seki, built once per test process. Main removes it.
func Binary(t testing.TB) string {
	t.Helper()
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// Main runs a package's tests, then after, and removes the binary that they built.
func Main(m *testing.M, after ...func()) {
	code := m.Run()
	for _, f := range after {
		f()
	}
	if bin, err := build(); err == nil {
		_ = os.RemoveAll(filepath.Dir(bin))
	}
	os.Exit(code)
}

// Root is the repository's folder.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// Process is one seki process.
type Process struct {
	// URLs are what the process printed, by its own words: "proxy", "admin", "status", ...
	URLs map[string]string
	// Log is the file that holds its standard error.
	Log string

	t    testing.TB
	bin  string
	verb string
	args []string
	env  []string
	cmd  *exec.Cmd
	done chan struct{}
}

// startTimeout bounds how long a process may take to say its addresses. It is generous: a
// machine that runs every package's tests at once is slow.
const startTimeout = 60 * time.Second

// Start runs `seki verb args...` until the test ends. It returns once the process has
// printed its addresses.
func Start(t testing.TB, verb string, args ...string) *Process {
	t.Helper()
	return StartEnv(t, nil, verb, args...)
}

// StartEnv is Start with more environment.
func StartEnv(t testing.TB, env []string, verb string, args ...string) *Process {
	t.Helper()
	return StartBinary(t, Binary(t), env, verb, args...)
}

// StartBinary is StartEnv of another build.
func StartBinary(t testing.TB, bin string, env []string, verb string, args ...string) *Process {
	t.Helper()
	p := &Process{t: t, bin: bin, verb: verb, args: args, env: env, Log: filepath.Join(t.TempDir(), "stderr.log")}
	p.start(args)
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			raw, _ := os.ReadFile(p.Log)
			t.Logf("seki %s said:\n%s", verb, tail(raw, 4000))
		}
	})
	return p
}

func tail(raw []byte, n int) []byte { return raw[max(0, len(raw)-n):] }

var addressLine = regexp.MustCompile(`^ {2}(\S.*?) {2,}((?:https?|grpcs?)://\S+)$`)

func (p *Process) start(args []string) {
	p.t.Helper()
	log, err := os.OpenFile(p.Log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	p.cmd = exec.Command(p.bin, append([]string{p.verb}, args...)...)
	p.cmd.Stderr = log
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	cmd, done := p.cmd, make(chan struct{})
	p.done = done
	said := make(chan map[string]string, 1)
	go func() {
		urls := map[string]string{}
		for s := bufio.NewScanner(out); s.Scan(); {
			if m := addressLine.FindStringSubmatch(s.Text()); m != nil {
				urls[m[1]] = m[2]
			} else if strings.HasPrefix(s.Text(), "Ready") {
				select {
				case said <- urls:
				default: // a successor says it again
				}
				urls = map[string]string{} // whoever was sent the other reads it
			}
		}
		_ = cmd.Wait()
		close(done)
	}()
	select {
	case p.URLs = <-said:
	case <-done:
		raw, _ := os.ReadFile(p.Log)
		p.t.Fatalf("seki %s %s ended:\n%s", p.verb, strings.Join(args, " "), raw)
	case <-time.After(startTimeout):
		p.t.Fatalf("seki %s did not say its addresses within %v", p.verb, startTimeout)
	}
}

// Addr is an address without its scheme.
func (p *Process) Addr(name string) string {
	u := p.URLs[name]
	if i := strings.Index(u, "://"); i >= 0 {
		u = u[i+3:]
	}
	return u
}

// Stop sends SIGTERM and waits for the end.
func (p *Process) Stop() {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(startTimeout):
		p.t.Errorf("seki %s did not stop within %v of SIGTERM", p.verb, startTimeout)
		p.Kill()
	}
}

// Kill is kill -9.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Signal sends a signal.
func (p *Process) Signal(s os.Signal) { _ = p.cmd.Process.Signal(s) }

// Restart starts the process again on the addresses it had.
func (p *Process) Restart() {
	p.t.Helper()
	p.start(p.args)
}

// WaitReady waits until the status listener says 200 for /status/ready.
func (p *Process) WaitReady() {
	p.t.Helper()
	Eventually(p.t, func() error {
		res, err := http.Get(p.URLs["status"] + "/status/ready")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("/status/ready: %s", res.Status)
		}
		return nil
	})
}

// Eventually calls check until it succeeds, for as long as a slow machine may need.
func Eventually(t testing.TB, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	var err error
	for ctx.Err() == nil {
		if err = check(); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("still not so after %v: %v", startTimeout, err)
}

// FreePorts returns addresses on loopback that were free a moment ago, for processes that
// must come back on the same ones.
func FreePorts(t testing.TB, n int) []string {
	t.Helper()
	addrs := make([]string, n)
	for i := range addrs {
		l, err := listenLoopback()
		if err != nil {
			t.Fatal(err)
		}
		addrs[i] = l.Addr().String()
		defer l.Close()
	}
	return addrs
}

// Shell runs a command line in sh and returns what it printed and its exit code.
func Shell(t testing.TB, env []string, line string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", line)
	cmd.Env = append(os.Environ(), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("%s: still running after %v:\n%s", line, startTimeout, out.String())
	}
	if cmd.ProcessState == nil {
		t.Fatalf("%s: %v", line, err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// Ended reports whether the process is gone.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// PID is the process' number.
func (p *Process) PID() int { return p.cmd.Process.Pid }
