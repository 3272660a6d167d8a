package release

import (
	"context"
	"fmt"
	"time"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// lookEvery is how often releases under way are looked at.
const lookEvery = time.Second

// Run moves releases on as they bake, and takes back those that nodes refuse or that judge
// themselves, until ctx ends. Every replica may run it: a move is one write against what was
// read, so only one of them makes it.
func (d *Desk) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := d.Look(ctx); err != nil && ctx.Err() == nil {
				d.Log.WarnContext(ctx, "releases are not looked at", "error", err)
			}
		}
	}
}

// machine is who moves a release that nobody moved by hand.
var machine = By{Actor: "sekifuda"}

// Look does once what is due. It is not safe for concurrent use.
func (d *Desk) Look(ctx context.Context) error {
	releases, err := d.Releases(ctx, "")
	if err != nil {
		return err
	}
	under := map[string]time.Time{}
	for _, r := range releases {
		if at, ok := d.weighed[r.GetId()]; ok && !over(r) {
			under[r.GetId()] = at
		}
	}
	d.weighed = under // those that are over are forgotten
	for _, r := range releases {
		if r.GetState() == controlv1.ReleaseState_RELEASE_STATE_RUNNING || r.GetState() == controlv1.ReleaseState_RELEASE_STATE_PAUSED {
			if err := d.look(ctx, r.GetId()); err != nil {
				return fmt.Errorf("release %s: %w", r.GetId(), err)
			}
		}
	}
	return nil
}

func (d *Desk) look(ctx context.Context, id string) error {
	var fresh *counted
	return d.change(ctx, machine, func(s *state) error {
		k := s.releases[id]
		if k == nil || over(k.is) {
			return nil
		}
		r := k.is
		if why := d.Refused(r.GetGroup(), r.GetRev()); why != "" {
			d.Log.WarnContext(ctx, "release is taken back", "release", id, "reason", why)
			return s.takeBack(r, why)
		}
		if fresh == nil { // asked for once, though the change may begin again
			fresh = d.count(r)
		}
		if why := s.judge(r, fresh); why != "" {
			d.Log.WarnContext(ctx, "release is taken back", "release", id, "reason", why)
			return s.takeBack(r, why)
		}
		if s.baked(r) {
			return s.promote(r)
		}
		return nil
	})
}

// baked reports whether a running release may go on by itself.
func (s *state) baked(r *controlv1.Release) bool {
	bake := r.GetStages()[r.GetStage()].GetBake()
	if r.GetState() != controlv1.ReleaseState_RELEASE_STATE_RUNNING || bake == nil {
		return false
	}
	return s.now.Sub(r.GetStageAt().AsTime()) >= bake.AsDuration() &&
		r.GetJudgement().GetNewRequests() >= r.GetGate().GetMinRequests()
}
