package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

// TestDiskFull fills the file system that a node keeps its configurations on. The node enforces
// what comes all the same, says that its disk has not what it runs, and writes it once there is
// room; meanwhile a restart finds what was written before.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	longRow(t)
	dir := t.TempDir()
	if err := mountSmall(dir); err != nil {
		notHere(t, fmt.Sprintf("no file system of its own: %v", err))
	}
	t.Cleanup(func() {
		if err := unmount(dir); err != nil {
			t.Error(err)
		}
	})
	h := open(t, services.Postgres(t))
	node := stack.StartNode(t, h.replicas[0].Addr("feed"), "default", "n", "--data-dir", dir)
	h.route(0, "before")
	node.Answers("/before", 200, "served")
	h.onDisk("n", true)

	ballast := filepath.Join(dir, "ballast")
	fill(t, ballast)
	h.must(0, service("00000000-0000-4000-8000-000000000001", "/"+strings.Repeat("x", 100_000)))
	h.route(0, "after")
	node.Answers("/after", 200, "served")
	h.converge("n")
	h.onDisk("n", false)
	says(t, node, "last good configuration is not on disk")
	h.replicas[0].Kill()
	node.Kill()
	node.Restart()
	node.Answers("/before", 200, "served")
	node.Answers("/after", 404, "no Route matched")

	h.replicas[0].Restart()
	node.Answers("/after", 200, "served")
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	h.onDisk("n", true)
	h.replicas[0].Kill()
	node.Kill()
	node.Restart()
	node.Answers("/after", 200, "served")
}

// fill writes until nothing fits any more.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 64 << 10; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
}
