package chaos

import (
	"syscall"
	"testing"

	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

// TestReplicaBehind sends a node from the replica that moved it to one that has not heard of the
// revision: one that is cut off from PostgreSQL, then one that was stopped. The node is never
// taken back.
func TestReplicaBehind(t *testing.T) {
	t.Parallel()
	longRow(t)
	db := services.Postgres(t)
	line := stack.NewRelay(t, db)
	h := open(t, db, line.URL(t, db))
	relay := h.relay(0)
	h.witness("w", "default", relay.Addr)
	node := stack.StartNode(t, relay.Addr, "default", "n")
	h.route(0, "first")
	node.Answers("/first", 200, "served")
	h.converge("n")

	line.HoldAll()
	h.route(0, "second")
	h.converge("n")
	relay.To(h.replicas[1].Addr("feed"))
	h.replicas[0].Kill()
	says(t, node, "ahead of this replica") // it was asked, waited, and sent the node away
	node.Answers("/second", 200, "served")
	line.Release()
	h.route(1, "third")
	node.Answers("/third", 200, "served")
	node.Answers("/second", 200, "served")

	h.replicas[0].Restart()
	h.replicas[0].WaitReady()
	h.replicas[1].Signal(syscall.SIGSTOP)
	h.route(0, "fourth")
	relay.To(h.replicas[0].Addr("feed"))
	relay.Cut()
	node.Answers("/fourth", 200, "served")
	relay.To(h.replicas[1].Addr("feed"))
	relay.Cut()
	h.replicas[1].Signal(syscall.SIGCONT)
	h.route(1, "fifth")
	node.Answers("/fifth", 200, "served")
	h.converge("n")
	(&history{house: h}).holds(h)
}
