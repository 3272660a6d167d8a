package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// limits shows what clients used of limits, and sets counts back.
func limits(ctx context.Context, c *call) error {
	f := c.flags("[FLAGS] [WHO]   (a consumer, an address, ...; nobody: those that used the most)")
	f.serverFlag()
	pluginID := f.String("plugin", "", "only of this plugin entity, by its id")
	most := f.Uint("most", 10, "without WHO: how many of each limit")
	reset := f.Bool("reset", false, "set the counts of WHO back: nothing counts as used")
	reason := f.String("reason", "", "with --reset: why")
	return f.talk(ctx, 0, 1, func(ctx context.Context, cl *client) error {
		if *reset {
			if f.NArg() == 0 {
				return fmt.Errorf("--reset: say whose counts")
			}
			res, err := cl.fleet.ResetLimits(ctx, &controlv1.ResetLimitsRequest{PluginId: *pluginID, Of: f.Arg(0), Reason: *reason})
			if err != nil {
				return err
			}
			if err := c.printLimits(res.GetUses()); err != nil {
				return err
			}
			return unheard(res.GetUnheard(), "what its nodes count by themselves is not set back")
		}
		res, err := cl.fleet.ListLimits(ctx, &controlv1.ListLimitsRequest{PluginId: *pluginID, Of: f.Arg(0), Most: uint32(*most)})
		if err != nil {
			return err
		}
		for _, text := range res.GetErrors() {
			fmt.Fprintln(c.err, "seki limits:", text)
		}
		if err := c.printLimits(res.GetUses()); err != nil {
			return err
		}
		return unheard(res.GetUnheard(), "what its nodes count by themselves is left out")
	})
}

func (c *call) printLimits(uses []*feedv1.LimitUse) error {
	w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "PLUGIN\tWHO\tPERIOD\tUSED\tLIMIT\tLEFT\tCOUNTED")
	for _, u := range uses {
		where := "on each node"
		if u.GetShared() {
			where = "for all nodes"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%s\n", u.GetPluginId(), u.GetIdentifier(), u.GetPeriod(), u.GetUsed(), u.GetLimit(),
			max(0, u.GetLimit()-u.GetUsed()), where)
	}
	return w.Flush()
}
