package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sekifuda/sekifuda/controlplane/release"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// steps are the words that move a release.
var steps = map[string]controlv1.Step{
	"promote":  controlv1.Step_STEP_PROMOTE,
	"pause":    controlv1.Step_STEP_PAUSE,
	"resume":   controlv1.Step_STEP_RESUME,
	"rollback": controlv1.Step_STEP_ROLLBACK,
}

// releases plans, shows and moves releases.
func releases(ctx context.Context, c *call) error {
	f := c.flags("[FLAGS] [list [GROUP] | create GROUP [REVISION] | show|promote|pause|resume|rollback RELEASE]")
	f.serverFlag()
	f.waitFlag()
	stages := f.String("stages", "", "shares of the nodes, each with how long it bakes: 5%:10m,25%:10m,100%; without a time it waits for promote")
	gate := f.Bool("judge", false, "take the release back when its nodes answer with more errors than the others")
	tolerance := f.Float64("tolerance", 1.2, "with --judge: how much more errors are tolerated")
	alpha := f.Float64("alpha", 0.01, "with --judge: probability of taking back a release that is no worse")
	least := f.Uint64("min-requests", 0, "with --judge: requests that the new revision must serve before a stage ends")
	reason := f.String("reason", "", "why, kept with the release")
	return f.talk(ctx, 0, 3, func(ctx context.Context, cl *client) error {
		word, name := f.Arg(0), f.Arg(1)
		step, isStep := steps[word]
		switch {
		case (word == "" || word == "list") && f.NArg() < 3:
			return cl.listReleases(ctx, c, name)
		case word == "create" && name != "":
			req := &controlv1.CreateReleaseRequest{Group: name, Reason: *reason}
			var err error
			if req.Stages, err = parseStages(*stages); err != nil {
				return fmt.Errorf("--stages: %w", err)
			}
			if f.NArg() == 3 {
				if req.Rev, err = revisionNumber(f.Arg(2)); err != nil {
					return err
				}
			}
			if *gate {
				req.Gate = &controlv1.Gate{Tolerance: *tolerance, Alpha: *alpha, MinRequests: *least}
			}
			res, err := cl.rollout.CreateRelease(ctx, req)
			if err != nil {
				return err
			}
			c.printRelease(res.GetRelease())
			return nil
		case word == "show" && f.NArg() == 2:
			res, err := cl.rollout.GetRelease(ctx, &controlv1.GetReleaseRequest{Id: name})
			if err != nil {
				return err
			}
			c.printRelease(res.GetRelease())
			return nil
		case isStep && f.NArg() == 2:
			res, err := cl.rollout.StepRelease(ctx, &controlv1.StepReleaseRequest{Id: name, Step: step, Reason: *reason, Wait: f.waiting()})
			if err != nil {
				return err
			}
			c.printRelease(res.GetRelease())
			return nil
		}
		f.Usage()
		return errUsage
	})
}

// parseStages reads "5%:10m,25%,100%".
func parseStages(text string) (stages []*controlv1.Stage, err error) {
	if text == "" {
		return nil, nil
	}
	for _, part := range strings.Split(text, ",") {
		share, bake, timed := strings.Cut(strings.TrimSpace(part), ":")
		percent, err := strconv.ParseFloat(strings.TrimSuffix(share, "%"), 64)
		if err != nil || !strings.HasSuffix(share, "%") {
			return nil, fmt.Errorf("%q is not a share such as 25%%", share)
		}
		st := &controlv1.Stage{Share: percent / 100}
		if timed {
			d, err := time.ParseDuration(bake)
			if err != nil {
				return nil, fmt.Errorf("%q is not a time such as 10m", bake)
			}
			st.Bake = durationpb.New(d)
		}
		stages = append(stages, st)
	}
	return stages, nil
}

func (cl *client) listReleases(ctx context.Context, c *call, group string) error {
	res, err := cl.rollout.ListReleases(ctx, &controlv1.ListReleasesRequest{Group: group})
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "RELEASE\tGROUP\tFROM\tTO\tSTATE\tSTAGE\tSINCE\tBY\tWHY")
	for _, r := range res.GetReleases() {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\n", r.GetId(), r.GetGroup(), r.GetBase(), r.GetRev(), release.StateName(r.GetState()),
			stage(r), r.GetStageAt().AsTime().Local().Format(time.DateTime), dash(r.GetActor()), dash(r.GetReason()))
	}
	return w.Flush()
}

// stage says how far a release is.
func stage(r *controlv1.Release) string {
	i := int(r.GetStage())
	return fmt.Sprintf("%d of %d (%.4g %%)", i+1, len(r.GetStages()), 100*r.GetStages()[i].GetShare())
}

func (c *call) printRelease(r *controlv1.Release) {
	fmt.Fprintf(c.out, "release %s: %s, stage %s\n", r.GetId(), release.StateName(r.GetState()), stage(r))
	for _, e := range r.GetEvents() {
		fmt.Fprintf(c.out, "  %s  %-10s %s\n", e.GetAt().AsTime().Local().Format(time.DateTime), e.GetActor(), e.GetWhat())
	}
	if j := r.GetJudgement(); j != nil {
		fmt.Fprintf(c.out, "judged: %d of %d requests failed on the new revision, %d of %d on the old; evidence %.3g (at %.3g it goes back)\n",
			j.GetNewErrors(), j.GetNewRequests(), j.GetBaseErrors(), j.GetBaseRequests(), j.GetEvidence(), 1/r.GetGate().GetAlpha())
	}
}
