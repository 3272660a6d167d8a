package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

// TestAllDead kills all replicas and PostgreSQL; a node that is started then serves from its
// disk, and goes on with the history when everything is back.
func TestAllDead(t *testing.T) {
	t.Parallel()
	longRow(t)
	pg := services.NewPostgres(t)
	h := open(t, pg.URL, pg.URL)
	h.witness("w", "default", h.relay(0).Addr)
	node := stack.StartNode(t, h.relay(0).Addr, "default", "n")
	w := h.write(4)
	w.more(50)
	w.stop()
	h.route(0, "v")
	h.converge("n")
	h.onDisk("n", true)

	for _, p := range h.replicas {
		p.Kill()
	}
	pg.Kill(t)
	node.Kill()
	node.Restart()
	node.Answers("/v", 200, "served")
	says(t, node, "the node goes on with what it runs")

	pg.Start(t)
	for _, p := range h.replicas {
		p.Restart()
	}
	h.route(1, "later")
	node.Answers("/later", 200, "served")
	node.Answers("/v", 200, "served")
	h.converge("n")
	w.holds(h)
}

// onDisk waits until a node reports that its disk has what it runs, or that it has not.
func (h *house) onDisk(id string, want bool) {
	h.Helper()
	stack.Eventually(h, func() error {
		n, _, err := h.node(id)
		if err == nil && n.GetOnDisk() != want {
			err = fmt.Errorf("node %s reports on_disk = %t, want %t", id, n.GetOnDisk(), want)
		}
		return err
	})
}

// TestStalledNode stops a node's process. The others do not wait for it, and it catches up.
func TestStalledNode(t *testing.T) {
	t.Parallel()
	row(t)
	h := open(t, services.Postgres(t))
	feed := h.replicas[0].Addr("feed")
	a, b := h.witness("a", "default", feed), h.witness("b", "default", feed)
	node := stack.StartNode(t, feed, "default", "stalled")
	h.route(0, "first")
	node.Answers("/first", 200, "served")
	h.converge("stalled")
	before := a.moves.Load()

	node.Signal(syscall.SIGSTOP)
	large := "/" + strings.Repeat("x", 200_000) // more than sockets hold for a reader that is away
	for i := range few(20, 100) {
		rev := h.must(0, service(fmt.Sprintf("00000000-0000-4000-8000-%012x", i), large))
		a.reach(rev)
		b.reach(rev)
	}
	h.route(0, "second")
	if moved := a.moves.Load() - before; moved < int64(few(20, 100)) {
		t.Errorf("the others were moved %d times: they had to wait", moved)
	}
	node.Signal(syscall.SIGCONT)
	node.Answers("/second", 200, "served")
	h.converge("stalled")
	(&history{house: h}).holds(h)
}

// TestHalfOpen has a connection over which nothing passes any more, and neither end is told. The
// control plane shows the node as away, and the node comes back by another connection.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	longRow(t)
	h := open(t, services.Postgres(t))
	relay := h.relay(0)
	node := stack.StartNode(t, relay.Addr, "default", "n")
	h.route(0, "first")
	node.Answers("/first", 200, "served")
	h.converge("n")

	relay.HoldAll()
	h.route(0, "second")
	stack.Eventually(t, func() error {
		if _, at, err := h.node("n"); err == nil {
			return fmt.Errorf("the node counts as connected, at %v", at)
		}
		return nil
	})
	node.Answers("/first", 200, "served")
	node.Answers("/second", 404, "no Route matched")
	relay.Hold() // what hangs hangs on; new connections pass
	node.Answers("/second", 200, "served")
	h.converge("n")
	(&history{house: h}).holds(h)
}

// TestDamagedDisk flips a bit of a dead node's newest file, tears its end off, and spoils all of
// them. With nobody to ask, the node serves a revision that was, or none; never half of one.
func TestDamagedDisk(t *testing.T) {
	t.Parallel()
	row(t)
	h := open(t, services.Postgres(t))
	dir := t.TempDir()
	node := stack.StartNode(t, h.replicas[0].Addr("feed"), "default", "n", "--data-dir", dir)
	for _, name := range []string{"one", "two", "three"} {
		h.route(0, name)
		node.Answers("/"+name, 200, "served")
	}
	h.converge("n")
	node.Stop()
	h.replicas[0].Kill()
	newest := newestFile(t, dir)
	whole, err := os.ReadFile(newest)
	if err != nil {
		t.Fatal(err)
	}
	// Each of three routes is two revisions: damage at the end costs the last of them.
	for name, damage := range map[string]func(b []byte) []byte{
		"whole":       func(b []byte) []byte { return b },
		"a bit flips": func(b []byte) []byte { b[len(b)-20] ^= 4; return b },
		"a torn end":  func(b []byte) []byte { return b[:len(b)-7] },
	} {
		if err := os.WriteFile(newest, damage(slices.Clone(whole)), 0o600); err != nil {
			t.Fatal(err)
		}
		node.Restart()
		node.Answers("/one", 200, "served")
		node.Answers("/two", 200, "served")
		if name == "whole" {
			node.Answers("/three", 200, "served")
		} else {
			node.Answers("/three", 404, "no Route matched")
		}
		node.Kill()
	}
	for _, n := range files(t, dir) {
		if err := os.WriteFile(n, []byte("nothing of ours"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	node.Restart()
	if code, _, err := stack.Try("GET", node.URLs["status"]+"/status/ready", ""); err != nil || code != 503 {
		t.Errorf("a node with nothing to run says %d, %v that it is ready, want 503", code, err)
	}
	h.replicas[0].Restart()
	node.Answers("/three", 200, "served")
	h.converge("n")
	(&history{house: h}).holds(h)
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "snapshots", "*.lkg"))
	if err != nil || len(all) == 0 {
		t.Fatalf("no configuration in %s: %v", dir, err)
	}
	return all
}

// newestFile is the file that is appended to.
func newestFile(t *testing.T, dir string) string {
	t.Helper()
	return slices.MaxFunc(files(t, dir), func(a, b string) int { return fileNumber(a) - fileNumber(b) })
}

func fileNumber(path string) int {
	n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "config-"), ".lkg"))
	return n
}
