package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// group shows groups of nodes and assigns them.
func group(ctx context.Context, c *call) error {
	f := c.flags("[FLAGS] [follow NAME | pin NAME [REVISION] | freeze NAME [REVISION]]   (nothing: list them)")
	f.serverFlag()
	f.waitFlag()
	reason := f.String("reason", "", "why, kept with the group")
	return f.talk(ctx, 0, 3, func(ctx context.Context, cl *client) error {
		if f.NArg() == 0 || f.NArg() == 1 && f.Arg(0) == "list" {
			return cl.listGroups(ctx, c)
		}
		mode, ok := map[string]controlv1.Mode{
			"follow": controlv1.Mode_MODE_FOLLOW, "pin": controlv1.Mode_MODE_PINNED, "freeze": controlv1.Mode_MODE_FROZEN,
		}[f.Arg(0)]
		if !ok || f.NArg() < 2 || f.NArg() == 3 && mode == controlv1.Mode_MODE_FOLLOW {
			f.Usage()
			return errUsage
		}
		to := &controlv1.Assignment{Mode: mode}
		if f.NArg() == 3 {
			rev, err := revisionNumber(f.Arg(2))
			if err != nil {
				return err
			}
			to.Rev = rev
		}
		res, err := cl.rollout.SetGroup(ctx, &controlv1.SetGroupRequest{Name: f.Arg(1), Assignment: to, Reason: *reason, Wait: f.waiting()})
		if err != nil {
			return err
		}
		return c.printGroups(res.GetGroup())
	})
}

func (cl *client) listGroups(ctx context.Context, c *call) error {
	res, err := cl.rollout.ListGroups(ctx, &controlv1.ListGroupsRequest{})
	if err != nil {
		return err
	}
	return c.printGroups(res.GetGroups()...)
}

// switchGroups swaps what two groups run: blue and green.
func switchGroups(ctx context.Context, c *call) error {
	f := c.flags("[FLAGS] GROUP GROUP")
	f.serverFlag()
	f.waitFlag()
	reason := f.String("reason", "", "why, kept with the groups")
	return f.talk(ctx, 2, 2, func(ctx context.Context, cl *client) error {
		res, err := cl.rollout.SwapGroups(ctx, &controlv1.SwapGroupsRequest{A: f.Arg(0), B: f.Arg(1), Reason: *reason, Wait: f.waiting()})
		if err != nil {
			return err
		}
		return c.printGroups(res.GetA(), res.GetB())
	})
}

// rollback takes a group back.
func rollback(ctx context.Context, c *call) error {
	f := c.flags("[FLAGS] GROUP   (out of its release, to its assignment before, or to the revision before head)")
	f.serverFlag()
	f.waitFlag()
	reason := f.String("reason", "", "why, kept with the group")
	return f.talk(ctx, 1, 1, func(ctx context.Context, cl *client) error {
		res, err := cl.rollout.RollbackGroup(ctx, &controlv1.RollbackGroupRequest{Name: f.Arg(0), Reason: *reason, Wait: f.waiting()})
		if err != nil {
			return err
		}
		return c.printGroups(res.GetGroup())
	})
}

func (c *call) printGroups(groups ...*controlv1.Group) error {
	w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "GROUP\tRUNS\tBEFORE\tRELEASE\tNODES\tTHERE\tSINCE\tBY\tWHY")
	for _, g := range groups {
		moved, since := "-", "-"
		if m := g.GetMove(); m != nil {
			moved = fmt.Sprintf("%s: %.4g %% at %d", m.GetRelease(), 100*m.GetShare(), m.GetRev())
		}
		if g.GetChangedAt() != nil {
			since = g.GetChangedAt().AsTime().Local().Format(time.DateTime)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n", g.GetName(), assignment(g.GetAssignment()), assignment(g.GetPrevious()), moved,
			g.GetNodesConnected(), g.GetNodesCurrent(), since, dash(g.GetActor()), dash(g.GetReason()))
	}
	return w.Flush()
}

func assignment(a *controlv1.Assignment) string {
	switch a.GetMode() {
	case controlv1.Mode_MODE_FOLLOW:
		return "head"
	case controlv1.Mode_MODE_PINNED:
		return fmt.Sprint(a.GetRev())
	case controlv1.Mode_MODE_FROZEN:
		return fmt.Sprint(a.GetRev(), " frozen")
	}
	return "-"
}
