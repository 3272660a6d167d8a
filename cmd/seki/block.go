package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// enforceWithin is how long block and unblock wait for the nodes unless they are told.
const enforceWithin = 5 * time.Second

// blockThings refuses requests at every node at once, ahead of configuration and for a while.
func blockThings(ctx context.Context, c *call) error {
	f := c.flags("consumer|key|route|service|cidr WHAT [FLAGS]  or  list   (KEY - reads the key from standard input)")
	f.serverFlag()
	lifetime := f.Duration("for", 30*time.Minute, "how long: 1s to 720h; it ends by itself, also where the control plane is away by then")
	reason := f.String("reason", "", "why; shown by seki explain, seki status and the audit log, and not to clients")
	force := f.Bool("force", false, "block addresses too that hold this machine's, or the one you come from")
	wait := f.Duration("wait", enforceWithin, "how long to wait until the connected nodes refuse it; 0: not at all")
	return f.talk(ctx, 1, 2, func(ctx context.Context, cl *client) error {
		if f.NArg() == 1 && f.Arg(0) == "list" {
			return c.listBlocks(ctx, cl)
		}
		if f.NArg() != 2 {
			f.Usage()
			return errUsage
		}
		target, err := c.blockTarget(f.Arg(0), f.Arg(1))
		if err != nil {
			return err
		}
		res, err := cl.blocks.Block(ctx, &controlv1.BlockRequest{
			Kind: f.Arg(0), Target: target, For: durationpb.New(*lifetime), Reason: *reason, Force: *force, Timeout: durationpb.New(*wait),
		})
		if err != nil {
			return err
		}
		for _, b := range res.GetBlocked() {
			fmt.Fprintf(c.out, "%s %s is blocked until %s\n", b.GetKind(), b.GetName(), localTime(b))
		}
		return c.enforcedBy(*wait, res.GetNodesEnforcing(), res.GetNodesConnected())
	})
}

// unblockThings ends blocks before their time.
func unblockThings(ctx context.Context, c *call) error {
	f := c.flags("consumer|key|route|service|cidr WHAT [FLAGS]  or  --all")
	f.serverFlag()
	all := f.Bool("all", false, "end every block")
	reason := f.String("reason", "", "why")
	wait := f.Duration("wait", enforceWithin, "how long to wait until the connected nodes let it pass; 0: not at all")
	return f.talk(ctx, 0, 2, func(ctx context.Context, cl *client) error {
		if *all == (f.NArg() == 2) || f.NArg() == 1 {
			f.Usage()
			return errUsage
		}
		target, err := c.blockTarget(f.Arg(0), f.Arg(1))
		if err != nil {
			return err
		}
		res, err := cl.blocks.Unblock(ctx, &controlv1.UnblockRequest{
			Kind: f.Arg(0), Target: target, All: *all, Reason: *reason, Timeout: durationpb.New(*wait),
		})
		if err != nil {
			return err
		}
		for _, b := range res.GetBlocked() {
			fmt.Fprintf(c.out, "%s %s is no longer blocked\n", b.GetKind(), b.GetName())
		}
		return c.enforcedBy(*wait, res.GetNodesEnforcing(), res.GetNodesConnected())
	})
}

// maxKey bounds a key that is read from standard input.
const maxKey = 64 << 10

// blockTarget is what is meant; a key need not stand in a shell's history.
func (c *call) blockTarget(kind, target string) (string, error) {
	if kind != "key" || target != "-" {
		return target, nil
	}
	raw, err := io.ReadAll(io.LimitReader(c.in, maxKey))
	if key := strings.TrimSpace(string(raw)); err == nil && key != "" {
		return key, nil
	}
	return "", errors.Join(errors.New("no key on standard input"), err)
}

// enforcedBy tells how far it came; nodes that are not there yet are told as soon as they are.
func (c *call) enforcedBy(wait time.Duration, enforcing, connected uint32) error {
	if wait <= 0 {
		return nil
	}
	if enforcing < connected {
		fmt.Fprintf(c.err, "seki %s: %d of the %d nodes connected have not confirmed it yet; seki block list shows when they have\n",
			c.name, connected-enforcing, connected)
		return nil
	}
	_, err := fmt.Fprintf(c.out, "in force on all %d nodes connected\n", connected)
	return err
}

func (c *call) listBlocks(ctx context.Context, cl *client) error {
	res, err := cl.blocks.ListBlocks(ctx, &controlv1.ListBlocksRequest{})
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "KIND\tNAME\tUNTIL\tBY\tREASON\tTARGET")
	for _, b := range res.GetBlocks() {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", b.GetKind(), b.GetName(), localTime(b), dash(b.GetBy()), dash(b.GetReason()), b.GetTarget())
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "in force on %d of %d nodes connected\n", res.GetNodesEnforcing(), res.GetNodesConnected())
	return err
}

// localTime is when a block ends.
func localTime(b *controlv1.Block) string {
	return b.GetUntil().AsTime().Local().Format(time.DateTime)
}
