package filelog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func build(t testing.TB, c *Config, h *plugintest.Host) *filter {
	t.Helper()
	f, err := New(c, h)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return f.(*filter)
}

// serve runs the filter until the returned function is called, which waits for its end.
func serve(t testing.TB, f *filter) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() { cancel(); err = <-done })
		return err
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}

func log(f *filter, target string) {
	f.OnLog(plugintest.Request{Target: target}.Exchange())
}

func read(t testing.TB, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 0 && !bytes.HasSuffix(b, []byte("\n")) {
		t.Fatalf("%s does not end with a line", path)
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if len(b) == 0 {
		return nil
	}
	for _, l := range lines {
		if !json.Valid([]byte(l)) {
			t.Fatalf("%q is no JSON", l)
		}
	}
	return lines
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out: %s", what)
		}
	}
}

func TestWritesEveryLineBeforeRunEnds(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	f := build(t, &Config{Path: &path}, plugintest.NewHost())
	f.every = time.Hour
	stop := serve(t, f)
	const writers, each = 4, 500
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				log(f, fmt.Sprintf("/%d/%d", w, i))
			}
		})
	}
	wg.Wait()
	if err := stop(); err != nil {
		t.Fatalf("Run = %v", err)
	}
	seen := map[string]bool{}
	for _, l := range read(t, path) {
		var e struct{ Request struct{ URI string } }
		if err := json.Unmarshal([]byte(l), &e); err != nil {
			t.Fatal(err)
		}
		seen[e.Request.URI] = true
	}
	if len(seen) != writers*each {
		t.Errorf("%d different lines, want %d", len(seen), writers*each)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o600 != 0o600 {
		t.Errorf("mode = %v, %v", info.Mode(), err)
	}
}

func TestALineWaitsNoLongerThanTheInterval(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	f := build(t, &Config{Path: &path}, plugintest.NewHost())
	if f.every != time.Second {
		t.Errorf("interval = %v, want a second", f.every)
	}
	f.every = time.Millisecond
	serve(t, f)
	log(f, "/one")
	until(t, "the line is written", func() bool { return len(read(t, path)) == 1 })
}

func TestAFullBufferIsWrittenAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	f := build(t, &Config{Path: &path}, plugintest.NewHost())
	f.every = time.Hour
	serve(t, f)
	for range 2 {
		log(f, "/"+strings.Repeat("x", enough))
	}
	until(t, "the lines are written", func() bool { return len(read(t, path)) == 2 })
}

func TestInstancesOfAPathShareTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	one, two := build(t, &Config{Path: &path}, plugintest.NewHost()), build(t, &Config{Path: &path}, plugintest.NewHost())
	stopOne, stopTwo := serve(t, one), serve(t, two)
	log(one, "/1")
	log(two, "/2")
	if one.shared() != two.shared() {
		t.Error("two instances have two files")
	}
	if err := stopOne(); err != nil {
		t.Fatal(err)
	}
	log(two, "/3")
	if err := stopTwo(); err != nil {
		t.Fatal(err)
	}
	if got := len(read(t, path)); got != 3 {
		t.Errorf("%d lines, want 3", got)
	}
	files.mu.Lock()
	defer files.mu.Unlock()
	if _, ok := files.open[path]; ok {
		t.Error("the file is still open")
	}
}

func TestReopenFollowsTheName(t *testing.T) {
	t.Parallel()
	for _, always := range []bool{true, false} {
		path := filepath.Join(t.TempDir(), "a.log")
		f := build(t, &Config{Path: &path, Reopen: proto.Bool(always)}, plugintest.NewHost())
		f.every = time.Millisecond
		stop := serve(t, f)
		log(f, "/before")
		until(t, "the first line", func() bool { return len(read(t, path)) == 1 })
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
		if !always {
			f.Reopen()
		}
		log(f, "/after")
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if a, b := len(read(t, path+".1")), len(read(t, path)); a != 1 || b != 1 {
			t.Errorf("reopen %v: %d and %d lines, want one each", always, a, b)
		}
	}
}

func TestAFileThatCannotBeOpenedKeepsItsLines(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "missing")
	path := filepath.Join(dir, "a.log")
	h := plugintest.NewHost()
	f := build(t, &Config{Path: &path}, h)
	f.every = time.Millisecond
	stop := serve(t, f)
	log(f, "/kept")
	until(t, "the failure is logged", func() bool { return strings.Contains(h.Logged(), "no such file or directory") })
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	until(t, "the line is written", func() bool { return len(read(t, path)) == 1 })
	if err := stop(); err != nil {
		t.Errorf("Run = %v", err)
	}
	if n := strings.Count(h.Logged(), "log lines wait for their file"); n != 1 {
		t.Errorf("the failure is logged %d times, want once", n)
	}
}

func TestRunSaysThatLastLinesWereLost(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "missing", "a.log")
	f := build(t, &Config{Path: &path}, plugintest.NewHost())
	f.every = time.Hour
	stop := serve(t, f)
	log(f, "/lost")
	if err := stop(); err == nil {
		t.Error("Run = nil, want the error")
	}
}

func TestTheBufferIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "missing", "a.log")
	h := plugintest.NewHost()
	f := build(t, &Config{Path: &path}, h) // nobody runs it
	line := "/" + strings.Repeat("x", 256<<10)
	for range (kept + 3*tooMuch) / (256 << 10) {
		log(f, line)
	}
	file := f.shared()
	file.mu.Lock()
	n := len(file.buffer)
	file.mu.Unlock()
	if n > tooMuch+(1<<20) || !strings.Contains(h.Logged(), "log lines are lost") {
		t.Errorf("%d bytes wait, want at most %d and a word of those that are lost", n, tooMuch)
	}
	files.drop(file)
}

func TestNewRefusesWhatIsNoFile(t *testing.T) {
	t.Parallel()
	for _, c := range []*Config{{}, {Path: proto.String("a*")}, {Path: proto.String("a`b")}, {Path: proto.String("a"), CustomFieldsByLua: map[string]string{"x": "boom"}}} {
		if _, err := New(c, plugintest.NewHost()); err == nil {
			t.Errorf("New(%v) = nil, want an error", c)
		}
	}
}

func TestNewDoesNotTouchTheDisk(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	build(t, &Config{Path: &path}, plugintest.NewHost())
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat = %v, want no file", err)
	}
}

func TestOnLogDoesNotAllocate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	f := build(t, &Config{Path: &path}, plugintest.NewHost())
	x := plugintest.Request{Target: "/a?b=c", Lines: []string{"User-Agent: curl"}}.Exchange()
	x.Route = &plugin.Route{ID: "r", JSON: []byte(`{"id":"r"}`)}
	plugintest.Timed(x, time.UnixMilli(1700000000000))
	for range 200 { // the buffer grows once
		f.OnLog(x)
	}
	if err := f.shared().flush(); err != nil {
		t.Fatal(err)
	}
	for range 200 {
		f.OnLog(x)
	}
	_ = f.shared().flush()
	if n := testing.AllocsPerRun(50, func() { f.OnLog(x) }); n != 0 {
		t.Errorf("OnLog allocates %v times, want 0", n)
	}
	files.drop(f.shared())
}
