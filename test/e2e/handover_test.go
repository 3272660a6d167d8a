package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/sekifuda/sekifuda/test/stack"
)

// TestHandOver swaps the binary twice under clients of every kind, each of which would notice a
// request that failed: on kept connections and new ones, over HTTP/2, in the middle of an answer,
// and through the Admin API.
func TestHandOver(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := run(t, t.TempDir())
	admin := p.URLs["admin"]
	tick := make(chan struct{})
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stream" {
			for i := range 3 {
				fmt.Fprintf(w, "part %d\n", i)
				w.(http.Flusher).Flush()
				<-tick
			}
		}
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s", body)
	}))
	t.Cleanup(up.Close)
	put(t, admin+"/services/up", fmt.Sprintf(`{"url":%q}`, up.URL))
	put(t, admin+"/services/up/routes/up", `{"paths":["/up"]}`)
	var wg sync.WaitGroup
	var sent, failed atomic.Int64
	client := func(ask func(n int64) error) {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := ask(sent.Add(1)); err != nil && ctx.Err() == nil {
					failed.Add(1)
					t.Error(err)
					return
				}
			}
		})
	}
	for range 4 {
		client((&kept{addr: p.Addr("proxy")}).ask)
	}
	client(func(n int64) error { return (&kept{addr: p.Addr("proxy"), once: true}).ask(n) })
	h2 := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	client(func(n int64) error { return posted(h2, p.URLs["proxy TLS"]+"/up/"+fmt.Sprint(n), n) })
	// Before the load: nobody else's request may take the ticks.
	stream, err := http.Get(p.URLs["proxy"] + "/up/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	parts := bufio.NewReader(stream.Body)
	part(t, parts, "part 0\n")
	var written []string
	writer := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	client(func(n int64) error {
		url := fmt.Sprintf("%s/consumers/c%d", admin, n)
		req, err := http.NewRequest(http.MethodPut, url, nil)
		if err != nil {
			return err
		}
		res, err := writer.Do(req)
		if err != nil {
			return fmt.Errorf("a write: %w", err)
		}
		written = append(written, url)
		if res.Body.Close(); res.StatusCode != http.StatusOK {
			return fmt.Errorf("a write: %s", res.Status)
		}
		return nil
	})
	for i := 1; i <= 2; i++ {
		before := sent.Load()
		stack.Eventually(t, func() error { return more(&sent, before+200) })
		if err := p.HandOver(); err != nil {
			t.Fatal(err)
		}
		before = sent.Load()
		stack.Eventually(t, func() error { return more(&sent, before+200) })
		tick <- struct{}{}
		if i < 2 {
			part(t, parts, fmt.Sprintf("part %d\n", i))
		}
	}
	close(tick)
	rest, err := io.ReadAll(parts)
	if err != nil || string(rest) != "part 2\n" {
		t.Errorf("the end of an answer that began before: %q, %v", rest, err)
	}
	cancel()
	wg.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d of %d requests failed", failed.Load(), sent.Load())
	}
	for _, url := range written {
		if code, out := call(t, http.MethodGet, url, ""); code != http.StatusOK {
			t.Errorf("a write that was answered is lost: %s: %d %s", url, code, out)
		}
	}
}

func more(n *atomic.Int64, than int64) error {
	if n.Load() < than {
		return errors.New("not enough requests yet")
	}
	return nil
}

func part(t *testing.T, from *bufio.Reader, want string) {
	t.Helper()
	if got, err := from.ReadString('\n'); got != want || err != nil {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}

// kept is a client that never sends a request twice: whatever goes wrong is an error, unless the
// answer before said that the connection ends.
type kept struct {
	addr string
	once bool
	conn net.Conn
	from *bufio.Reader
}

func (k *kept) ask(n int64) error {
	if k.conn == nil {
		c, err := net.Dial("tcp", k.addr)
		if err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		k.conn, k.from = c, bufio.NewReader(c)
	}
	body := fmt.Sprint(n)
	fmt.Fprintf(k.conn, "POST /up/ HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	res, err := http.ReadResponse(k.from, nil)
	if err != nil {
		return fmt.Errorf("request %d: %w", n, err)
	}
	got, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || string(got) != body {
		return fmt.Errorf("request %d: %s %q %w", n, res.Status, got, err)
	}
	if res.Close || k.once {
		k.conn.Close()
		k.conn = nil
	}
	return nil
}

func posted(c *http.Client, url string, n int64) error {
	// A stream above the last one that GOAWAY names was not served, and the client sends it again
	// (RFC 9113 6.8): its body can be read twice.
	res, err := c.Post(url, "text/plain", strings.NewReader(fmt.Sprint(n)))
	if err != nil {
		return fmt.Errorf("over HTTP/2: %w", err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || string(got) != fmt.Sprint(n) || res.ProtoMajor != 2 {
		return fmt.Errorf("over HTTP/2: %s %s %q %w", res.Proto, res.Status, got, err)
	}
	return nil
}

// TestHandOverRefused puts binaries in place that do not take over, at each step of the talk: the
// process goes on, with its Admin API and its node, and can hand over to a better one later.
func TestHandOverRefused(t *testing.T) {
	t.Parallel()
	good, err := os.ReadFile(stack.Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), "seki")
	replace := func(content []byte) {
		t.Helper()
		if err := os.WriteFile(bin+".new", content, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(bin+".new", bin); err != nil {
			t.Fatal(err)
		}
	}
	replace(good)
	a := stack.FreePorts(t, 3)
	p := stack.StartBinary(t, bin, nil, "run", "--data-dir", t.TempDir(), "--proxy-listen", a[0], "--proxy-tls-listen", "off",
		"--admin-listen", a[1], "--status-listen", a[2], "--grpc-listen", "off", "--console-listen", "off")
	p.WaitReady()
	up := echo(t)
	serves := func(name string) {
		t.Helper()
		put(t, p.URLs["admin"]+"/services/"+name, fmt.Sprintf(`{"url":%q}`, up.URL))
		put(t, p.URLs["admin"]+"/services/"+name+"/routes/"+name, fmt.Sprintf(`{"paths":["/%s"]}`, name))
		p.Answers("/"+name, http.StatusOK, "GET /")
	}
	serves("first")
	const words = `#!/usr/bin/env bash
names=${SEKI_HANDOVER//[^,]/}
say=$((3 + ${#names} + 1))
hear=$((say + 1))
`
	for name, script := range map[string]string{
		"no program":   "neither",
		"ends at once": "#!/bin/sh\nexit 3\n",
		"wrong word":   words + "echo hello >&$say\nsleep 60\n",
		"ends after go": words + `echo prepared >&$say
read -r line <&$hear
exit 4
`,
	} {
		replace([]byte(script))
		if err := p.HandOver(); err == nil {
			t.Errorf("%s: took over", name)
		} else {
			t.Logf("%s: %v", name, err)
		}
		serves(strings.ReplaceAll(name, " ", "-"))
	}
	replace(good)
	if err := p.HandOver(); err != nil {
		t.Fatal(err)
	}
	serves("last")
}

// TestHandOverFleet swaps a control plane and a node of a fleet: the node is connected after each,
// and what is written reaches it.
func TestHandOverFleet(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "blue")
	up := echo(t)
	n := 0
	reaches := func() {
		t.Helper()
		n++
		name := fmt.Sprintf("r%d", n)
		put(t, f.Replicas[0].URLs["admin"]+"/services/"+name, fmt.Sprintf(`{"url":%q}`, up.URL))
		put(t, f.Replicas[0].URLs["admin"]+"/services/"+name+"/routes/"+name, fmt.Sprintf(`{"paths":["/%s"]}`, name))
		f.Answers("blue", "/"+name, http.StatusOK, "GET /")
	}
	reaches()
	for _, p := range []*stack.Process{f.Nodes["blue"][0], f.Replicas[0], f.Nodes["blue"][0]} {
		if err := p.HandOver(); err != nil {
			t.Fatal(err)
		}
		reaches()
	}
}

// TestSocketActivation starts a process with sockets as systemd does: it listens at none itself,
// and a client that came before it waits.
func TestSocketActivation(t *testing.T) {
	t.Parallel()
	var files []*os.File
	var addrs []string
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		files, addrs = append(files, f), append(addrs, l.Addr().String())
		l.Close()
	}
	early, err := net.Dial("tcp", addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	fmt.Fprintf(early, "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n")
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=2 exec "$0" "$@"`, stack.Binary(t), "run", "--data-dir", t.TempDir(),
		"--proxy-listen", addrs[0], "--admin-listen", addrs[1], "--proxy-tls-listen", "off", "--grpc-listen", "off", "--console-listen", "off", "--status-listen", "off")
	cmd.ExtraFiles = files
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	for _, f := range files {
		f.Close()
	}
	res, err := http.ReadResponse(bufio.NewReader(early), nil)
	if err != nil || res.StatusCode != http.StatusNotFound {
		t.Fatalf("a client that was early: %v, %v", res, err)
	}
	if code, out := call(t, http.MethodGet, "http://"+addrs[1]+"/status", ""); code != http.StatusOK {
		t.Errorf("Admin API: %d %s", code, out)
	}
}

// TestBlocksCutWhatDrains blocks a route whose stream is left to the process that drains.
func TestBlocksCutWhatDrains(t *testing.T) {
	t.Parallel()
	p := run(t, t.TempDir())
	admin := p.URLs["admin"]
	gone := make(chan struct{})
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "part 0")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(gone)
	}))
	t.Cleanup(up.Close)
	put(t, admin+"/services/up", fmt.Sprintf(`{"url":%q}`, up.URL))
	put(t, admin+"/services/up/routes/up", `{"paths":["/up"]}`)
	stream, err := http.Get(p.URLs["proxy"] + "/up")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	parts := bufio.NewReader(stream.Body)
	part(t, parts, "part 0\n")
	if err := p.HandOver(); err != nil {
		t.Fatal(err)
	}
	if code, out := call(t, http.MethodPut, admin+"/sekifuda/blocks/route/up", `{}`); code != http.StatusOK && code != http.StatusCreated {
		t.Fatalf("block: %d %s", code, out)
	}
	if rest, err := io.ReadAll(parts); err == nil {
		t.Errorf("a stream that was blocked ended as if it were whole: %q", rest)
	}
	<-gone
}
