package release

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sekifuda/sekifuda/model/fault"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

const (
	maxStages = 20
	maxBake   = 30 * 24 * time.Hour
	// maxEvents and maxReleases bound what is kept of a release and of a group's past.
	maxEvents   = 100
	maxReleases = 100
)

// Plan is what a release is made of.
type Plan struct {
	Group  string
	Rev    uint64 // 0: head
	Stages []*controlv1.Stage
	Gate   *controlv1.Gate // nil: it does not judge itself
}

// Create begins a release. The group is pinned from now on: at the release's revision when
// that is done, at where it stood when it is rolled back.
func (d *Desk) Create(ctx context.Context, p Plan, by By) (r *controlv1.Release, err error) {
	stages, err := checkStages(p.Stages)
	if err != nil {
		return nil, err
	}
	if err := checkGate(p.Gate); err != nil {
		return nil, err
	}
	err = d.change(ctx, by, func(s *state) error {
		g, err := s.movable(p.Group)
		if err != nil {
			return err
		}
		to := cmp.Or(p.Rev, s.head.Rev)
		if err := s.known(to); err != nil {
			return err
		}
		base := s.stands(g)
		if base == to {
			return blocked("%s runs revision %d already: pin the group, commit the change, then release it", p.Group, to)
		}
		r = &controlv1.Release{
			Id: s.nextID(p.Group), Group: p.Group, Base: base, Rev: to, Stages: stages, Gate: p.Gate,
			State: controlv1.ReleaseState_RELEASE_STATE_RUNNING, CreatedAt: stamp(s.now), Actor: by.Actor, Reason: by.Reason,
		}
		s.releases[r.GetId()] = &kept[*controlv1.Release]{is: r}
		s.forgetOld(p.Group)
		if g.GetAssignment().GetMode() != controlv1.Mode_MODE_PINNED {
			s.assign(g, pinned(base))
		}
		s.note(r, fmt.Sprintf("created: %s from revision %d to %d", p.Group, base, to))
		return s.enter(r, 0)
	})
	return r, err
}

func checkStages(stages []*controlv1.Stage) ([]*controlv1.Stage, error) {
	last := 0.0
	for i, st := range stages {
		share, bake := st.GetShare(), st.GetBake()
		if !(share > last && share <= 1) {
			return nil, refuse("stage %d: a share of %v must be above %v and at most 1", i+1, share, last)
		}
		if bake != nil && (!bake.IsValid() || bake.AsDuration() < 0 || bake.AsDuration() > maxBake) {
			return nil, refuse("stage %d: a bake time must be from 0 to %v", i+1, maxBake)
		}
		last = share
	}
	if last < 1 {
		stages = append(slices.Clone(stages), &controlv1.Stage{Share: 1, Bake: durationpb.New(0)})
	}
	if len(stages) > maxStages {
		return nil, refuse("a release has at most %d stages", maxStages)
	}
	return stages, nil
}

// nextID names a release after its group and its number in it.
func (s *state) nextID(group string) string {
	highest := 0
	for id, r := range s.releases {
		if r.is.GetGroup() != group {
			continue
		}
		if n, err := strconv.Atoi(id[len(group)+1:]); err == nil {
			highest = max(highest, n)
		}
	}
	return group + "-" + strconv.Itoa(highest+1)
}

// forgetOld drops the oldest ended releases of a group.
func (s *state) forgetOld(group string) {
	for i, r := range newestFirst(indexed(s.releases), group) {
		if i >= maxReleases && over(r) {
			k := s.releases[r.GetId()]
			k.dirty, k.gone = true, true
		}
	}
}

func over(r *controlv1.Release) bool {
	return r.GetState() == controlv1.ReleaseState_RELEASE_STATE_DONE || r.GetState() == controlv1.ReleaseState_RELEASE_STATE_ROLLED_BACK
}

func indexed(all map[string]*kept[*controlv1.Release]) []*controlv1.Release {
	list := make([]*controlv1.Release, 0, len(all))
	for _, k := range all {
		list = append(list, k.is)
	}
	return list
}

func newestFirst(all []*controlv1.Release, group string) []*controlv1.Release {
	if group != "" {
		all = slices.DeleteFunc(all, func(r *controlv1.Release) bool { return r.GetGroup() != group })
	}
	slices.SortFunc(all, func(a, b *controlv1.Release) int {
		return cmp.Or(b.GetCreatedAt().AsTime().Compare(a.GetCreatedAt().AsTime()), cmp.Compare(b.GetId(), a.GetId()))
	})
	return all
}

// Step promotes, pauses, resumes or rolls a release back.
func (d *Desk) Step(ctx context.Context, id string, step controlv1.Step, by By) (r *controlv1.Release, err error) {
	err = d.change(ctx, by, func(s *state) error {
		k := s.releases[id]
		if k == nil {
			return noRelease(id)
		}
		r = k.is
		if over(r) {
			return blocked("release %s is over: %s", id, StateName(r.GetState()))
		}
		return s.step(r, step)
	})
	return r, err
}

func (s *state) step(r *controlv1.Release, step controlv1.Step) error {
	running, paused := controlv1.ReleaseState_RELEASE_STATE_RUNNING, controlv1.ReleaseState_RELEASE_STATE_PAUSED
	switch step {
	case controlv1.Step_STEP_PROMOTE:
		r.State = running
		return s.promote(r)
	case controlv1.Step_STEP_PAUSE:
		if r.GetState() == paused {
			return blocked("release %s is paused already", r.GetId())
		}
		r.State = paused
		s.note(r, "paused")
		return nil
	case controlv1.Step_STEP_RESUME:
		if r.GetState() != paused {
			return blocked("release %s is not paused", r.GetId())
		}
		r.State, r.StageAt = running, stamp(s.now)
		s.note(r, "resumed; the stage bakes anew")
		return nil
	case controlv1.Step_STEP_ROLLBACK:
		return s.takeBack(r, "")
	}
	return refuse("a step must be promote, pause, resume or rollback")
}

func (s *state) promote(r *controlv1.Release) error {
	if next := int(r.GetStage()) + 1; next < len(r.GetStages()) {
		return s.enter(r, next)
	}
	return s.finish(r)
}

// enter moves the share of a stage. A last stage without a bake time ends the release.
func (s *state) enter(r *controlv1.Release, stage int) error {
	g, err := s.group(r.GetGroup())
	if err != nil {
		return err
	}
	share := r.GetStages()[stage].GetShare()
	r.Stage, r.StageAt = uint32(stage), stamp(s.now)
	g.Move = &controlv1.Move{Release: r.GetId(), Rev: r.GetRev(), Share: share}
	s.touch(g)
	s.note(r, fmt.Sprintf("stage %d of %d: %v %% of the nodes run revision %d", stage+1, len(r.GetStages()), 100*share, r.GetRev()))
	if share == 1 && r.GetStages()[stage].GetBake().AsDuration() == 0 {
		return s.finish(r)
	}
	return nil
}

func (s *state) finish(r *controlv1.Release) error {
	g, err := s.group(r.GetGroup())
	if err != nil {
		return err
	}
	r.State, g.Move = controlv1.ReleaseState_RELEASE_STATE_DONE, nil
	s.assign(g, pinned(r.GetRev()))
	s.note(r, fmt.Sprintf("done: %s is pinned at revision %d", g.GetName(), r.GetRev()))
	return nil
}

// takeBack ends a release where it began.
func (s *state) takeBack(r *controlv1.Release, why string) error {
	g, err := s.group(r.GetGroup())
	if err != nil {
		return err
	}
	r.State, g.Move = controlv1.ReleaseState_RELEASE_STATE_ROLLED_BACK, nil
	s.touch(g)
	what := fmt.Sprintf("rolled back: %s is at revision %d again", g.GetName(), r.GetBase())
	if why != "" {
		what += ", because " + why
	}
	s.note(r, what)
	return nil
}

// note keeps what happened to a release.
func (s *state) note(r *controlv1.Release, what string) {
	if s.by.Reason != "" {
		what += " (" + s.by.Reason + ")"
	}
	r.Events = append(r.GetEvents(), &controlv1.ReleaseEvent{At: stamp(s.now), Actor: s.by.Actor, What: what})
	r.Events = r.Events[max(0, len(r.Events)-maxEvents):]
	s.releases[r.GetId()].dirty = true
}

// StateName is a release's state as a person says it.
func StateName(s controlv1.ReleaseState) string {
	switch s {
	case controlv1.ReleaseState_RELEASE_STATE_RUNNING:
		return "running"
	case controlv1.ReleaseState_RELEASE_STATE_PAUSED:
		return "paused"
	case controlv1.ReleaseState_RELEASE_STATE_DONE:
		return "done"
	case controlv1.ReleaseState_RELEASE_STATE_ROLLED_BACK:
		return "rolled back"
	}
	return s.String()
}

func noRelease(id string) error {
	return &fault.Error{Kind: fault.NotFound, Message: fmt.Sprintf("no release named %q", id)}
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }
