package release

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sekifuda/sekifuda/controlplane/rollout"
	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/sqlite"
	"github.com/sekifuda/sekifuda/model/fault"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// office is two replicas' desks over one real store at revision 9, under a clock of its own.
type office struct {
	*testing.T
	a, b    *Desk
	now     time.Time
	refused map[uint64]string
	counts  map[uint64]Counts
	woken   int
}

func open(t *testing.T) *office {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	o := &office{T: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), refused: map[uint64]string{}, counts: map[uint64]Counts{}}
	for i := range 9 {
		op := store.Op{Object: store.Object{Kind: "services", ID: "s", Body: fmt.Append(nil, i)}}
		if _, err := s.Commit(t.Context(), store.Commit{Ops: []store.Op{op}}); err != nil {
			t.Fatal(err)
		}
	}
	options := Options{
		Store: s, Now: func() time.Time { return o.now }, Woke: func() { o.woken++ }, Log: slog.New(slog.DiscardHandler),
		Refused: func(_ string, rev uint64) string { return o.refused[rev] },
		Counts: func(_ string, rev uint64) Counts {
			c := o.counts[rev]
			delete(o.counts, rev)
			return c
		},
	}
	o.a, o.b = New(options), New(options)
	return o
}

var by = By{Actor: "ann", Reason: "test"}

// stand checks how a group stands, as the plan of the other replica sees it.
func (o *office) stand(name string, want rollout.Group) {
	o.Helper()
	groups, err := o.b.Groups(o.Context())
	if err != nil {
		o.Fatal(err)
	}
	for _, g := range groups {
		if g.Name != name {
			continue
		}
		want.Name, want.Generation = name, g.Generation
		if g != want {
			o.Errorf("%s stands at %+v, want %+v", name, g, want)
		}
		return
	}
	o.Errorf("no group %s", name)
}

func (o *office) must(err error) {
	o.Helper()
	if err != nil {
		o.Fatal(err)
	}
}

// refusedWith checks that something was not done, and why.
func (o *office) refusedWith(err error, words string) {
	o.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || !strings.Contains(f.Message, words) {
		o.Errorf("answer is %v, want a fault with %q", err, words)
	}
}

func assigned(mode controlv1.Mode, rev uint64) *controlv1.Assignment {
	return &controlv1.Assignment{Mode: mode, Rev: rev}
}

const (
	follow = controlv1.Mode_MODE_FOLLOW
	pin    = controlv1.Mode_MODE_PINNED
	freeze = controlv1.Mode_MODE_FROZEN
)

func TestGroupsAreAssigned(t *testing.T) {
	t.Parallel()
	o := open(t)
	set := func(name string, to *controlv1.Assignment) error {
		_, err := o.a.Set(t.Context(), name, to, by)
		return err
	}
	o.must(set("blue", assigned(pin, 0)))
	o.stand("blue", rollout.Group{Mode: rollout.Pinned, Rev: 9})
	o.must(set("blue", assigned(pin, 4)))
	o.stand("blue", rollout.Group{Mode: rollout.Pinned, Rev: 4})

	before, _ := o.a.List(t.Context())
	o.must(set("blue", assigned(pin, 4)))
	if after, _ := o.a.List(t.Context()); after[0].GetGeneration() != before[0].GetGeneration() {
		t.Error("an assignment that changes nothing made a generation")
	}
	o.must(set("blue", assigned(follow, 0)))
	o.stand("blue", rollout.Group{Mode: rollout.Follow})
	o.must(set("ice", assigned(freeze, 3)))
	o.stand("ice", rollout.Group{Mode: rollout.Frozen, Rev: 3})
	if o.woken != 4 {
		t.Errorf("the loop was woken %d times, want 4", o.woken)
	}

	o.refusedWith(set("blue", assigned(pin, 10)), "revision 10 does not exist; head is 9")
	o.refusedWith(set("blue", assigned(follow, 3)), "follows head cannot be at revision 3")
	o.refusedWith(set("", assigned(follow, 0)), "name must have 1 to 128 bytes")
	o.refusedWith(set("blue", nil), "follow, pinned or frozen")
	_, _, err := o.a.Swap(t.Context(), "blue", "ice", by)
	o.refusedWith(err, "ice is frozen at revision 3")
	_, err = o.a.Rollback(t.Context(), "ice", by)
	o.refusedWith(err, "frozen")
}

func TestSwitchAndBack(t *testing.T) {
	t.Parallel()
	o := open(t)
	_, err := o.a.Set(t.Context(), "blue", assigned(pin, 5), by)
	o.must(err)
	for _, want := range []bool{false, true, false} {
		at := map[bool]rollout.Group{true: {Mode: rollout.Follow}, false: {Mode: rollout.Pinned, Rev: 5}}
		if want {
			_, _, err = o.a.Swap(t.Context(), "blue", "green", by)
			o.must(err)
		} else if o.woken > 1 {
			_, _, err = o.b.Swap(t.Context(), "green", "blue", by)
			o.must(err)
		}
		o.stand("blue", at[want])
		if o.woken > 1 {
			o.stand("green", at[!want])
		}
	}
	_, _, err = o.a.Swap(t.Context(), "blue", "blue", by)
	o.refusedWith(err, "with itself")
	_, _, err = o.a.Swap(t.Context(), "green", "red", by)
	o.refusedWith(err, "both follow head")
}

func TestRollbackGoesBackAndForth(t *testing.T) {
	t.Parallel()
	o := open(t)
	back := func() error { _, err := o.a.Rollback(t.Context(), "g", by); return err }
	o.must(back()) // it follows head: to the revision before
	o.stand("g", rollout.Group{Mode: rollout.Pinned, Rev: 8})
	o.must(back())
	o.stand("g", rollout.Group{Mode: rollout.Follow})
	for _, rev := range []uint64{3, 7} {
		_, err := o.a.Set(t.Context(), "g", assigned(pin, rev), by)
		o.must(err)
	}
	o.must(back())
	o.stand("g", rollout.Group{Mode: rollout.Pinned, Rev: 3})
	o.must(back())
	o.stand("g", rollout.Group{Mode: rollout.Pinned, Rev: 7})
}

func TestReleaseInStages(t *testing.T) {
	t.Parallel()
	o := open(t)
	_, err := o.a.Set(t.Context(), "g", assigned(pin, 4), by)
	o.must(err)
	r, err := o.a.Create(t.Context(), Plan{Group: "g", Stages: []*controlv1.Stage{
		{Share: 0.25, Bake: durationpb.New(time.Minute)}, {Share: 0.5}, {Share: 1, Bake: durationpb.New(time.Second)},
	}}, by)
	o.must(err)
	at := func(share float64) rollout.Group {
		return rollout.Group{Mode: rollout.Pinned, Rev: 4, Move: rollout.Move{Release: "g-1", Rev: 9, Share: share}}
	}
	o.stand("g", at(0.25))
	_, err = o.a.Set(t.Context(), "g", assigned(follow, 0), by)
	o.refusedWith(err, "release g-1 moves g")
	_, err = o.a.Create(t.Context(), Plan{Group: "g"}, by)
	o.refusedWith(err, "release g-1 moves g")

	look := func(d time.Duration) {
		t.Helper()
		o.now = o.now.Add(d)
		o.must(o.a.Look(t.Context()))
		o.must(o.b.Look(t.Context()))
	}
	look(59 * time.Second)
	o.stand("g", at(0.25))
	_, err = o.b.Step(t.Context(), r.GetId(), controlv1.Step_STEP_PAUSE, by)
	o.must(err)
	look(time.Hour)
	o.stand("g", at(0.25)) // paused
	_, err = o.a.Step(t.Context(), r.GetId(), controlv1.Step_STEP_RESUME, by)
	o.must(err)
	look(59 * time.Second)
	o.stand("g", at(0.25)) // bakes anew
	look(time.Second)
	o.stand("g", at(0.5)) // both replicas looked, one moved it
	look(time.Hour)
	o.stand("g", at(0.5)) // no bake time: by hand
	_, err = o.a.Step(t.Context(), r.GetId(), controlv1.Step_STEP_PROMOTE, by)
	o.must(err)
	o.stand("g", at(1))
	look(time.Second)
	o.stand("g", rollout.Group{Mode: rollout.Pinned, Rev: 9})
	_, err = o.a.Step(t.Context(), r.GetId(), controlv1.Step_STEP_ROLLBACK, by)
	o.refusedWith(err, "is over: done")
	g, err := o.a.Rollback(t.Context(), "g", by)
	o.must(err)
	o.stand("g", rollout.Group{Mode: rollout.Pinned, Rev: 4})
	if g.GetActor() != "ann" || g.GetReason() != "test" {
		t.Errorf("moved by %q because %q", g.GetActor(), g.GetReason())
	}
}

func TestReleaseTakenBack(t *testing.T) {
	t.Parallel()
	half := []*controlv1.Stage{{Share: 0.5, Bake: durationpb.New(time.Hour)}}
	back := rollout.Group{Mode: rollout.Pinned, Rev: 4}
	for name, c := range map[string]struct {
		gate  *controlv1.Gate
		cause func(o *office, id string) error
		why   string
	}{
		"by hand": {nil, func(o *office, id string) error {
			_, err := o.a.Step(o.Context(), id, controlv1.Step_STEP_ROLLBACK, by)
			return err
		}, "rolled back: g is at revision 4 again"},
		"with its group": {nil, func(o *office, _ string) error {
			_, err := o.a.Rollback(o.Context(), "g", by)
			return err
		}, "rolled back"},
		"refused by a node": {nil, func(o *office, _ string) error {
			o.refused[9] = "node n1 refused it: routes/x: bad regex"
			return o.b.Look(o.Context())
		}, "because node n1 refused it: routes/x: bad regex"},
		"judged": {&controlv1.Gate{}, func(o *office, id string) error {
			// What was served before the release is not held against it.
			o.counts[9], o.counts[4] = Counts{1000, 900}, Counts{1000, 0}
			o.must(o.a.Look(o.Context()))
			o.counts[9], o.counts[4] = Counts{1000, 50}, Counts{1000, 5}
			o.must(o.a.Look(o.Context())) // nodes do not report at the same time
			o.stand("g", rollout.Group{Mode: rollout.Pinned, Rev: 4, Move: rollout.Move{Release: id, Rev: 9, Share: 0.5}})
			o.now = o.now.Add(defaultWindow)
			return o.a.Look(o.Context())
		}, "answered 50 of 1000 requests with errors, the others 5 of 1000"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := open(t)
			_, err := o.a.Set(t.Context(), "g", assigned(pin, 4), by)
			o.must(err)
			r, err := o.a.Create(t.Context(), Plan{Group: "g", Stages: half, Gate: c.gate}, by)
			o.must(err)
			o.must(c.cause(o, r.GetId()))
			o.stand("g", back)
			r, err = o.a.Release(t.Context(), r.GetId())
			o.must(err)
			last := r.GetEvents()[len(r.GetEvents())-1].GetWhat()
			if r.GetState() != controlv1.ReleaseState_RELEASE_STATE_ROLLED_BACK || !strings.Contains(last, c.why) {
				t.Errorf("release is %v: %q, want rolled back with %q", r.GetState(), last, c.why)
			}
		})
	}
}

func TestReleasesThatMakeNoSense(t *testing.T) {
	t.Parallel()
	o := open(t)
	for words, p := range map[string]Plan{
		"runs revision 9 already":     {Group: "g"},
		"head is 9":                   {Group: "g", Rev: 12},
		"must be above 0.5":           {Group: "g", Rev: 3, Stages: []*controlv1.Stage{{Share: 0.5}, {Share: 0.5}}},
		"at most 1":                   {Group: "g", Rev: 3, Stages: []*controlv1.Stage{{Share: 2}}},
		"bake time must be from 0":    {Group: "g", Rev: 3, Stages: []*controlv1.Stage{{Share: 1, Bake: durationpb.New(-1)}}},
		"tolerance of 0.5":            {Group: "g", Rev: 3, Gate: &controlv1.Gate{Tolerance: 0.5}},
		"alpha of 7 must be between":  {Group: "g", Rev: 3, Gate: &controlv1.Gate{Alpha: 7}},
		"name must have 1 to 128":     {Rev: 3},
		"a release has at most 20 st": {Group: "g", Rev: 3, Stages: many(30)},
	} {
		_, err := o.a.Create(t.Context(), p, by)
		o.refusedWith(err, words)
	}
	if _, err := o.a.Release(t.Context(), "g-1"); !fault.Is(err, fault.NotFound) {
		t.Errorf("Release of none = %v, want not found", err)
	}
	if groups, _ := o.a.List(t.Context()); len(groups) != 0 {
		t.Errorf("refused releases left groups %v", groups)
	}
}

func many(n int) (stages []*controlv1.Stage) {
	for i := range n {
		stages = append(stages, &controlv1.Stage{Share: float64(i+1) / float64(n)})
	}
	return stages
}

// TestOneOfManyMoves lets many callers of two replicas promote one release at once.
func TestOneOfManyMoves(t *testing.T) {
	t.Parallel()
	o := open(t)
	o.a.Woke, o.b.Woke = nil, nil
	_, err := o.a.Set(t.Context(), "g", assigned(pin, 4), by)
	o.must(err)
	r, err := o.a.Create(t.Context(), Plan{Group: "g", Stages: many(20)}, by)
	o.must(err)
	var all sync.WaitGroup
	for i := range 6 {
		d := []*Desk{o.a, o.b}[i%2]
		all.Go(func() {
			if _, err := d.Step(context.WithoutCancel(t.Context()), r.GetId(), controlv1.Step_STEP_PROMOTE, by); err != nil && !fault.Is(err, fault.Conflict) {
				t.Errorf("Step = %v", err)
			}
		})
	}
	all.Wait()
	r, err = o.a.Release(t.Context(), r.GetId())
	o.must(err)
	if moved := len(r.GetEvents()) - 2; int(r.GetStage()) != moved || moved == 0 {
		t.Errorf("release is in stage %d after %d promotions", r.GetStage(), moved)
	}
}

// TestClocksApart has replicas whose clocks are an hour apart: a stage bakes by the clock that
// they share.
func TestClocksApart(t *testing.T) {
	t.Parallel()
	o := open(t)
	shared := o.now
	for i, d := range []*Desk{o.a, o.b} {
		d.Now = func() time.Time { return shared.Add(time.Duration(i) * time.Hour) }
		d.Clock = func(context.Context) (time.Time, error) { return shared, nil }
	}
	_, err := o.a.Set(t.Context(), "g", assigned(pin, 4), by)
	o.must(err)
	bake := durationpb.New(time.Minute)
	r, err := o.a.Create(t.Context(), Plan{Group: "g", Stages: []*controlv1.Stage{{Share: 0.5, Bake: bake}, {Share: 1, Bake: bake}}}, by)
	o.must(err)
	stage := func(want uint32) {
		t.Helper()
		o.must(o.b.Look(t.Context()))
		if r, err = o.b.Release(t.Context(), r.GetId()); err != nil || r.GetStage() != want {
			t.Errorf("the release is in stage %d, %v, want %d", r.GetStage(), err, want)
		}
	}
	stage(0)
	shared = shared.Add(time.Minute)
	stage(1)
}
