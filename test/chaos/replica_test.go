package chaos

import (
	"fmt"
	"testing"

	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

// few is what a quick run does in the place of many.
func few(quick, many int) int {
	if full() {
		return many
	}
	return quick
}

// TestReplicaKilled kills replicas in a write loop, one after the other and each several times.
// Their nodes go on elsewhere, by differences.
func TestReplicaKilled(t *testing.T) {
	t.Parallel()
	row(t)
	db := services.Postgres(t)
	databases := []string{db, db, db}[:few(2, 3)]
	h := open(t, databases...)
	var nodes []string
	for i := range h.replicas {
		h.witness(fmt.Sprint("w", i), "default", h.relay(i).Addr)
		id := fmt.Sprint("n", i)
		nodes = append(nodes, id)
		stack.StartNode(t, h.relay(i).Addr, "default", id)
	}
	w := h.write(8)
	for range few(1, 3) {
		for _, p := range h.replicas {
			w.more(100)
			p.Kill()
			w.more(100)
			p.Restart()
		}
	}
	w.more(100)
	w.stop()
	h.converge(nodes...)
	got := w.holds(h)
	for _, n := range h.witnesses {
		if full := n.fulls.Load(); full != 1 {
			t.Errorf("node %s was sent everything %d times, want once and differences from then on", n.id, full)
		}
	}
	t.Logf("%d writes acknowledged over %d kills, %d moves enforced", w.count.Load(), few(1, 3)*len(h.replicas), len(got.Seen))
}
