package main

import (
	"context"
	"fmt"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// remove deletes one entity, and what depends on it by cascade.
func remove(ctx context.Context, c *call) error {
	f := c.flags("[FLAGS] KIND ID-OR-NAME")
	f.serverFlag()
	dryRun := f.Bool("dry-run", false, "check whether it could be deleted, write nothing")
	message := f.String("message", "", "why, kept with the revision")
	return f.talk(ctx, 2, 2, func(ctx context.Context, cl *client) error {
		t, err := cl.table(f.Arg(0))
		if err != nil {
			return err
		}
		res, err := cl.config.Commit(ctx, &controlv1.CommitRequest{
			DryRun: *dryRun, Message: *message,
			Ops: []*controlv1.Op{{Op: &controlv1.Op_Delete{Delete: &controlv1.EntityRef{Kind: t.Kind, IdOrKey: f.Arg(1)}}}},
		})
		if err != nil {
			return err
		}
		if *dryRun {
			fmt.Fprintln(c.out, "dry run: it could be deleted; nothing was written")
			return nil
		}
		fmt.Fprintf(c.out, "deleted %s %s in revision %d\n", t.Kind, f.Arg(1), res.GetRevision().GetRev())
		return nil
	})
}
