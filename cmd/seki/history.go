package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"google.golang.org/protobuf/proto"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// showLog lists revisions, newest first.
func showLog(ctx context.Context, c *call) error {
	f := c.flags("[FLAGS] [KIND ID-OR-NAME]")
	f.serverFlag()
	size := f.Uint("size", 20, "how many revisions")
	before := f.Uint64("before", 0, "only revisions below this one")
	return f.talk(ctx, 0, 2, func(ctx context.Context, cl *client) error {
		req := &controlv1.ListRevisionsRequest{Before: *before, PageSize: uint32(*size)}
		if f.NArg() > 0 {
			t, err := cl.table(f.Arg(0))
			if err != nil {
				return err
			}
			if f.NArg() == 1 {
				return fmt.Errorf("which of the %s? name one", t.Kind)
			}
			req.Ref = &controlv1.EntityRef{Kind: t.Kind, IdOrKey: f.Arg(1)}
		}
		res, err := cl.config.ListRevisions(ctx, req)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "REVISION\tAT\tCHANGES\tBY\tWITH\tWHY")
		for _, r := range res.GetRevisions() {
			fmt.Fprintf(w, "%d\t%s\t%d\t%s\t%s\t%s\n", r.GetRev(), r.GetAt().AsTime().Local().Format(time.DateTime),
				r.GetChanges(), dash(r.GetActor()), dash(r.GetClient()), dash(r.GetMessage()))
		}
		return w.Flush()
	})
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// diff shows what changed between two revisions.
func diff(ctx context.Context, c *call) error {
	f := c.flags("[FLAGS] FROM [TO]   (TO: head)")
	f.serverFlag()
	return f.talk(ctx, 1, 2, func(ctx context.Context, cl *client) error {
		req := &controlv1.DiffRequest{}
		for i, p := range []*uint64{&req.From, &req.To} {
			if i >= f.NArg() {
				break
			}
			n, err := revisionNumber(f.Arg(i))
			if err != nil {
				return err
			}
			*p = n
		}
		return cl.printDiff(ctx, c.out, req)
	})
}

// show tells one revision: who, when, why, and what it changed.
func show(ctx context.Context, c *call) error {
	f := c.flags("[FLAGS] REVISION")
	f.serverFlag()
	return f.talk(ctx, 1, 1, func(ctx context.Context, cl *client) error {
		rev, err := revisionNumber(f.Arg(0))
		if err != nil {
			return err
		}
		res, err := cl.config.ListRevisions(ctx, &controlv1.ListRevisionsRequest{Before: rev + 1, PageSize: 1})
		if err != nil {
			return err
		}
		if len(res.GetRevisions()) == 0 || res.GetRevisions()[0].GetRev() != rev {
			return fmt.Errorf("there is no revision %d", rev)
		}
		r := res.GetRevisions()[0]
		fmt.Fprintf(c.out, "revision %d of %s\nby %s with %s\n", rev, r.GetAt().AsTime().Local().Format(time.DateTime), dash(r.GetActor()), dash(r.GetClient()))
		if r.GetMessage() != "" {
			fmt.Fprintln(c.out, "because", r.GetMessage())
		}
		return cl.printDiff(ctx, c.out, &controlv1.DiffRequest{From: rev - 1, To: rev})
	})
}

func revisionNumber(arg string) (uint64, error) {
	n, err := strconv.ParseUint(arg, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a revision number", arg)
	}
	return n, nil
}

// revert takes changes back, by a revision of its own.
func revert(ctx context.Context, c *call) error {
	f := c.flags("[FLAGS] REVISION   (take back what it changed; with --to, all that came after it)")
	f.serverFlag()
	f.waitFlag()
	to := f.Bool("to", false, "bring back the whole state as of the revision")
	dryRun := f.Bool("dry-run", false, "show the difference and check it, write nothing")
	message := f.String("message", "", "why, kept with the revision")
	return f.talk(ctx, 1, 1, func(ctx context.Context, cl *client) error {
		rev, err := revisionNumber(f.Arg(0))
		if err != nil {
			return err
		}
		why := *message
		if why == "" {
			why = fmt.Sprintf("revert %d", rev)
			if *to {
				why = fmt.Sprintf("revert to %d", rev)
			}
		}
		res, err := cl.config.Revert(ctx, &controlv1.RevertRequest{Rev: rev, Whole: *to, DryRun: *dryRun, Message: why, Wait: f.waiting()})
		if err != nil {
			return err
		}
		for _, ch := range res.GetChanges() {
			if err := cl.printChange(c.out, ch); err != nil {
				return err
			}
		}
		switch {
		case len(res.GetChanges()) == 0:
			fmt.Fprintln(c.out, "nothing to take back")
		case *dryRun:
			fmt.Fprintln(c.out, "dry run: nothing was written")
		default:
			c.printRevision(f, res)
		}
		return nil
	})
}

// enforced is an answer that says how far a write has come.
type enforced interface {
	GetRevision() *controlv1.Revision
	GetNodesEnforcing() uint32
	GetNodesConnected() uint32
	GetUnheard() []string
}

func (c *call) printRevision(f *flags, res enforced) {
	fmt.Fprintf(c.out, "revision %d", res.GetRevision().GetRev())
	if f.waiting() != nil {
		fmt.Fprintf(c.out, ", enforced by %d of %d nodes", res.GetNodesEnforcing(), res.GetNodesConnected())
	}
	fmt.Fprintln(c.out)
	if err := unheard(res.GetUnheard(), "its nodes are not counted"); err != nil {
		fmt.Fprintln(c.err, "seki:", err) // the revision is written all the same
	}
}

func (cl *client) printDiff(ctx context.Context, w io.Writer, req *controlv1.DiffRequest) error {
	stream, err := cl.config.Diff(ctx, req)
	if err != nil {
		return err
	}
	for {
		res, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := cl.printChange(w, res.GetChange()); err != nil {
			return err
		}
	}
}

func (cl *client) printChange(w io.Writer, ch *controlv1.Change) error {
	t, err := cl.table(ch.GetKind())
	if err != nil {
		return err
	}
	before, err := spec(ch.GetBefore())
	if err != nil {
		return err
	}
	after, err := spec(ch.GetAfter())
	if err != nil {
		return err
	}
	printChange(w, t, before, after)
	return nil
}

func spec(e *controlv1.Entity) (proto.Message, error) {
	if e == nil {
		return nil, nil
	}
	m, err := e.GetSpec().UnmarshalNew()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", e.GetKind(), e.GetId(), err)
	}
	return m, nil
}
