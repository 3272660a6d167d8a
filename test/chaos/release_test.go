package chaos

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

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
	id := h.release(4)
	for stage := range uint32(3) {
		dead := int(stage) % 2
		h.awaitRelease(1-dead, id, func(r *controlv1.Release) bool { return r.GetStage() >= stage })
		h.replicas[dead].Kill()
		h.awaitRelease(1-dead, id, func(r *controlv1.Release) bool { return r.GetStage() > stage })
		h.replicas[dead].Restart()
		h.replicas[dead].WaitReady()
	}
	r := h.awaitRelease(0, id, func(r *controlv1.Release) bool { return r.GetState() == controlv1.ReleaseState_RELEASE_STATE_DONE })
	oncePerStage(t, r)
	for _, w := range h.witnesses {
		w.reach(r.GetRev())
	}
	if faults := (&history{house: h}).of(h).backwards(); len(faults) > 0 {
		t.Errorf("nodes went back: %q", faults)
	}
}

const bakeTime = 2 * time.Second

// release begins to move the group g to a new revision in so many stages.
func (h *house) release(stages int) (id string) {
	h.Helper()
	h.must(0, service("00000000-0000-4000-8000-000000000001", "/old"))
	h.converge()
	pinned := &controlv1.Assignment{Mode: controlv1.Mode_MODE_PINNED}
	if _, err := h.desks[0].rollout.SetGroup(h.Context(), &controlv1.SetGroupRequest{Name: "g", Assignment: pinned}); err != nil {
		h.Fatal(err)
	}
	h.must(0, service("00000000-0000-4000-8000-000000000001", "/new"))
	req := &controlv1.CreateReleaseRequest{Group: "g"}
	for i := range stages {
		req.Stages = append(req.Stages, &controlv1.Stage{Share: float64(i+1) / float64(stages), Bake: durationpb.New(bakeTime)})
	}
	made, err := h.desks[0].rollout.CreateRelease(h.Context(), req)
	if err != nil {
		h.Fatal(err)
	}
	return made.GetRelease().GetId()
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
		if want := fmt.Sprintf("stage %d of %d", entered, len(r.GetStages())); !strings.HasPrefix(e.GetWhat(), want) {
			t.Errorf("the %d. stage entered is %q, want %s", entered, e.GetWhat(), want)
		}
		// The next event is the next stage, or the end.
		if i+1 < len(r.GetEvents()) {
			if d := r.GetEvents()[i+1].GetAt().AsTime().Sub(e.GetAt().AsTime()); d < r.GetStages()[entered-1].GetBake().AsDuration() {
				t.Errorf("%q baked for %v only", e.GetWhat(), d)
			}
		}
	}
	if entered != len(r.GetStages()) {
		t.Errorf("%d stages were entered, want %d: %q", entered, len(r.GetStages()), story)
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
