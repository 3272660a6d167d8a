package chaos

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

// TestReconnectStorm cuts 300 nodes off while things change, and lets all of them back at once.
// Everybody comes back by differences.
func TestReconnectStorm(t *testing.T) {
	t.Parallel()
	longRow(t)
	const nodes, changes = 300, 10
	db := services.Postgres(t)
	h := open(t, db, db)
	relay := h.relay(0)
	for i := range nodes {
		h.witness(fmt.Sprint("n", i), "default", relay.Addr)
	}
	h.must(0, batch(500, 200)...)
	h.converge()
	for cut := range 2 { // at the second one all of them go to the other replica
		relay.To(h.feeds(cut)...)
		relay.Refuse(true)
		relay.Cut()
		for i := range changes {
			h.must(i%2, service(fmt.Sprintf("00000000-0000-4000-8000-%012x", i), fmt.Sprint("/", cut)))
		}
		begin := time.Now()
		relay.Refuse(false)
		back := backAt(h, begin)
		t.Logf("cut %d: %d nodes back at head p50 %v, p99 %v, last %v", cut+1, nodes, back[nodes/2], back[nodes*99/100], back[nodes-1])
	}
	for _, w := range h.witnesses {
		if full := w.fulls.Load(); full != 1 {
			t.Errorf("node %s was sent everything %d times, want once", w.id, full)
		}
	}
	(&history{house: h}).holds(h)
}

// backAt waits for every witness, and tells how long each took, ascending.
func backAt(h *house, begin time.Time) (took []time.Duration) {
	h.Helper()
	head := h.sqlHead()
	missing := slices.Clone(h.witnesses)
	stack.Eventually(h, func() error {
		missing = slices.DeleteFunc(missing, func(w *witness) bool {
			there := w.client.Status().Running.Staged == head
			if there {
				took = append(took, time.Since(begin).Round(time.Millisecond))
			}
			return there
		})
		if len(missing) > 0 {
			return fmt.Errorf("%d nodes are not back", len(missing))
		}
		return nil
	})
	return took
}
