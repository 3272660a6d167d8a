package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// explain tells why a request was refused, or which were refused last. The control plane asks the
// nodes.
func explain(ctx context.Context, c *call) error {
	f := c.flags("[FLAGS] [REQUEST-ID]   (the X-Kong-Request-Id of the answer; nothing: the newest refusals)")
	f.serverFlag()
	newest := f.Uint("newest", 20, "without a request id: how many")
	return f.talk(ctx, 0, 1, func(ctx context.Context, cl *client) error {
		res, err := cl.fleet.ListRefusals(ctx, &controlv1.ListRefusalsRequest{RequestId: f.Arg(0), Newest: uint32(*newest)})
		if err != nil {
			return err
		}
		if f.NArg() == 0 {
			if err := c.listRefusals(res.GetRefusals()); err != nil {
				return err
			}
			return unheard(res.GetUnheard(), "what its nodes refused is not in the list")
		}
		for _, r := range res.GetRefusals() {
			c.printRefusal(r)
			return nil
		}
		if err := unheard(res.GetUnheard(), "its nodes may have refused request "+f.Arg(0)+"; no other did"); err != nil {
			return err
		}
		return fmt.Errorf("no connected node refused request %s, or so long ago that it has forgotten it; if the upstream answered, its own log knows more", f.Arg(0))
	})
}

func (c *call) listRefusals(all []*controlv1.Refused) error {
	w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "AT\tSTATUS\tREASON\tPLUGIN\tROUTE\tCONSUMER\tCLIENT\tREQUEST\tREQUEST ID")
	for _, x := range all {
		r := x.GetRequest()
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.GetAt().AsTime().Local().Format(time.DateTime), r.GetStatus(), r.GetReason(),
			dash(r.GetPlugin()), dash(r.GetRoute()), dash(r.GetConsumer()), r.GetClient(), r.GetMethod()+" "+r.GetPath(), r.GetRequestId())
	}
	return w.Flush()
}

func (c *call) printRefusal(x *controlv1.Refused) {
	r := x.GetRequest()
	who := "the gate itself"
	if r.GetPlugin() != "" {
		who = "plugin " + r.GetPlugin() + " (" + r.GetPluginId() + ")"
	}
	why, fix := meaning(r.GetReason())
	fmt.Fprintf(c.out, "refused with %d by %s\n", r.GetStatus(), who)
	fmt.Fprintf(c.out, "  why       %s: %s\n", r.GetReason(), why)
	if r.GetDetail() != "" {
		fmt.Fprintf(c.out, "  more      %s\n", r.GetDetail())
	}
	fmt.Fprintf(c.out, "  what next %s\n", fix)
	fmt.Fprintf(c.out, "  request   %s %s%s from %s at %s\n", r.GetMethod(), r.GetHost(), r.GetPath(), r.GetClient(), r.GetAt().AsTime().Local().Format(time.DateTime))
	fmt.Fprintf(c.out, "  matched   route %s, service %s, consumer %s\n", dash(r.GetRoute()), dash(r.GetService()), dash(r.GetConsumer()))
	fmt.Fprintf(c.out, "  under     revision %d, on node %s\n", r.GetRevision(), x.GetNode())
}
