package chaos

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/protobuf/types/known/durationpb"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

// TestReplicaBehind sends a node from the replica that moved it to one that has not heard of the
// revision: one that is cut off from PostgreSQL, then one that was stopped. The node is never
// taken back.
func TestReplicaBehind(t *testing.T) {
	t.Parallel()
	row(t)
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
	stack.Eventually(t, func() error { // by now the replica behind has been asked
		for _, w := range h.witnesses {
			if !w.client.Status().Connected {
				return fmt.Errorf("node %s is not connected", w.id)
			}
		}
		return nil
	})
	for range 20 {
		node.Answers("/second", 200, "served")
	}
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

// TestReleaseWithoutLeader kills one of the two replicas that move a release while it bakes, at
// every stage another one. Every stage is entered once, in order, after it has baked.
func TestReleaseWithoutLeader(t *testing.T) {
	t.Parallel()
	longRow(t)
	db := services.Postgres(t)
	h := open(t, db, db)
	for i := range 12 {
		h.witness(fmt.Sprint("n", i), "g", h.relay(i).Addr)
	}
	base := h.must(0, service("00000000-0000-4000-8000-000000000001", "/old"))
	h.converge()
	pinned := &controlv1.Assignment{Mode: controlv1.Mode_MODE_PINNED}
	if _, err := h.desks[0].rollout.SetGroup(t.Context(), &controlv1.SetGroupRequest{Name: "g", Assignment: pinned}); err != nil {
		t.Fatal(err)
	}
	next := h.must(0, service("00000000-0000-4000-8000-000000000001", "/new"))
	bake := durationpb.New(2_000_000_000)
	stages := []*controlv1.Stage{{Share: 0.25, Bake: bake}, {Share: 0.5, Bake: bake}, {Share: 0.75, Bake: bake}, {Share: 1, Bake: bake}}
	made, err := h.desks[0].rollout.CreateRelease(t.Context(), &controlv1.CreateReleaseRequest{Group: "g", Stages: stages})
	if err != nil {
		t.Fatal(err)
	}
	id := made.GetRelease().GetId()
	for stage := range uint32(3) {
		dead := int(stage) % 2
		h.awaitRelease(1-dead, id, func(r *controlv1.Release) bool { return r.GetStage() >= stage })
		h.replicas[dead].Kill()
		h.awaitRelease(1-dead, id, func(r *controlv1.Release) bool { return r.GetStage() > stage })
		h.replicas[dead].Restart()
		h.replicas[dead].WaitReady()
	}
	r := h.awaitRelease(0, id, func(r *controlv1.Release) bool { return r.GetState() == controlv1.ReleaseState_RELEASE_STATE_DONE })
	if r.GetBase() != base || r.GetRev() != next {
		t.Errorf("the release went from %d to %d, want %d to %d", r.GetBase(), r.GetRev(), base, next)
	}
	oncePerStage(t, r)
	for _, w := range h.witnesses {
		stack.Eventually(t, func() error {
			if at := w.client.Status().Running; at.Staged != next {
				return fmt.Errorf("node %s is at %v, want %d", w.id, at, next)
			}
			return nil
		})
	}
	if faults := (&history{house: h}).of(h).backwards(); len(faults) > 0 {
		t.Errorf("nodes went back: %q", faults)
	}
}

// oncePerStage looks for every stage in the release's own story.
func oncePerStage(t *testing.T, r *controlv1.Release) {
	t.Helper()
	entered := 0
	var story []string
	for i, e := range r.GetEvents() {
		story = append(story, e.GetWhat())
		if !strings.HasPrefix(e.GetWhat(), "stage ") {
			continue
		}
		entered++
		if want := fmt.Sprintf("stage %d of 4", entered); !strings.HasPrefix(e.GetWhat(), want) {
			t.Errorf("the %d. stage entered is %q, want %s", entered, e.GetWhat(), want)
		}
		// The next event is the next stage, or the end.
		if i+1 < len(r.GetEvents()) {
			if d := r.GetEvents()[i+1].GetAt().AsTime().Sub(e.GetAt().AsTime()); d < r.GetStages()[entered-1].GetBake().AsDuration() {
				t.Errorf("%q baked for %v only", e.GetWhat(), d)
			}
		}
	}
	if entered != 4 {
		t.Errorf("%d stages were entered, want 4: %q", entered, story)
	}
}

// awaitRelease asks a replica until the release is as wanted.
func (h *house) awaitRelease(replica int, id string, ok func(*controlv1.Release) bool) (r *controlv1.Release) {
	h.Helper()
	stack.Eventually(h, func() error {
		res, err := h.desks[replica].rollout.GetRelease(h.Context(), &controlv1.GetReleaseRequest{Id: id})
		if err != nil {
			return err
		}
		if r = res.GetRelease(); !ok(r) {
			return fmt.Errorf("release is in stage %d, %v", r.GetStage(), r.GetState())
		}
		return nil
	})
	return r
}
