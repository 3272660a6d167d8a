package filelog

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func newFilter(t *testing.T, c *Config) *filter {
	t.Helper()
	f, err := New(c, plugintest.NewHost())
	if err != nil {
		t.Fatal(err)
	}
	return f.(*filter)
}

func exchange(target string) *plugin.Exchange {
	x := plugintest.Request{Target: target}.Exchange()
	x.Response.Status = 200
	return x
}

// end runs the filter's work to its end, which writes what waits.
func end(t *testing.T, f *filter) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")
}

// TestSharedFile writes from two filters of one path at once: every line is there, whole.
func TestSharedFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	a, b := newFilter(t, &Config{Path: &path}), newFilter(t, &Config{Path: &path})
	var wg sync.WaitGroup
	for _, f := range []*filter{a, b, a, b} {
		wg.Go(func() {
			for range 500 {
				f.OnLog(exchange("/x"))
			}
		})
	}
	wg.Wait()
	end(t, a)
	end(t, b)
	got := lines(t, path)
	if len(got) != 2000 {
		t.Fatalf("%d lines, want 2000", len(got))
	}
	for _, l := range got {
		if !json.Valid([]byte(l)) {
			t.Fatalf("not JSON: %s", l)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// TestReopen rotates the file: after Reopen lines go to the new one.
func TestReopen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	f := newFilter(t, &Config{Path: &path})
	f.OnLog(exchange("/old"))
	end(t, f)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	f.Reopen()
	f.OnLog(exchange("/new"))
	end(t, f)
	if got := lines(t, path); len(got) != 1 || !strings.Contains(got[0], "/new") {
		t.Errorf("new file: %q", got)
	}
	if got := lines(t, path+".1"); len(got) != 1 || !strings.Contains(got[0], "/old") {
		t.Errorf("old file: %q", got)
	}
}

// TestNoFolder loses nothing while the file cannot be opened, and says so.
func TestNoFolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "missing")
	path := filepath.Join(dir, "a.log")
	h := plugintest.NewHost()
	v, err := New(&Config{Path: &path}, h)
	if err != nil {
		t.Fatal(err)
	}
	f := v.(*filter)
	f.OnLog(exchange("/early"))
	end(t, f)
	if !strings.Contains(h.Logged(), "no such file or directory") {
		t.Errorf("log: %s", h.Logged())
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	end(t, f)
	if got := lines(t, path); len(got) != 1 || !strings.Contains(got[0], "/early") {
		t.Errorf("%q", got)
	}
}

func TestBound(t *testing.T) {
	t.Parallel()
	f := &file{path: filepath.Join(t.TempDir(), "missing", "a.log")}
	line := strings.Repeat("x", 1<<20)
	for range 20 {
		f.append(func(b []byte) []byte { return append(b, line...) })
	}
	if len(f.wait) > keepAtMost+1<<20 || f.dropped != 12 {
		t.Errorf("%d bytes wait, %d dropped", len(f.wait), f.dropped)
	}
}

func TestBadCustomField(t *testing.T) {
	t.Parallel()
	path := "/dev/null"
	_, err := New(&Config{Path: &path, CustomFieldsByLua: map[string]string{"f": "os.exit()"}}, plugintest.NewHost())
	if err == nil || !strings.HasPrefix(err.Error(), "config.custom_fields_by_lua: f: ") {
		t.Errorf("New = %v", err)
	}
}

func TestNoAllocation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	f, x := newFilter(t, &Config{Path: &path}), exchange("/x")
	for range 1000 {
		f.OnLog(x)
	}
	end(t, f)
	if n := testing.AllocsPerRun(100, func() { f.OnLog(x) }); n > 0.1 {
		t.Errorf("OnLog allocates %v times", n)
	}
}
