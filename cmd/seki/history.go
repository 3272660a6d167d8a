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
	server := f.serverFlag()
	size := f.Uint("size", 20, "how many revisions")
	before := f.Uint64("before", 0, "only revisions below this one")
	if err := f.parse(); err != nil {
		return err
	}
	if f.NArg() != 0 && f.NArg() != 2 {
		f.Usage()
		return errUsage
	}
	cl, err := dial(*server)
	if err != nil {
		return err
	}
	defer cl.conn.Close()
	req := &controlv1.ListRevisionsRequest{Before: *before, PageSize: uint32(*size)}
	if f.NArg() == 2 {
		t, err := cl.table(f.Arg(0))
		if err != nil {
			return err
		}
		req.Ref = &controlv1.EntityRef{Kind: t.Kind, IdOrKey: f.Arg(1)}
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	res, err := cl.config.ListRevisions(ctx, req)
	if err != nil {
		return cl.explain(err)
	}
	w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "REVISION\tAT\tCHANGES\tBY\tWITH\tWHY")
	for _, r := range res.GetRevisions() {
		fmt.Fprintf(w, "%d\t%s\t%d\t%s\t%s\t%s\n", r.GetRev(), r.GetAt().AsTime().Local().Format(time.DateTime),
			r.GetChanges(), dash(r.GetActor()), dash(r.GetClient()), dash(r.GetMessage()))
	}
	return w.Flush()
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
	server := f.serverFlag()
	if err := f.parse(); err != nil {
		return err
	}
	if f.NArg() < 1 || f.NArg() > 2 {
		f.Usage()
		return errUsage
	}
	req := &controlv1.DiffRequest{}
	for i, p := range []*uint64{&req.From, &req.To} {
		if i >= f.NArg() {
			break
		}
		n, err := strconv.ParseUint(f.Arg(i), 10, 64)
		if err != nil {
			return fmt.Errorf("%q is not a revision number", f.Arg(i))
		}
		*p = n
	}
	cl, err := dial(*server)
	if err != nil {
		return err
	}
	defer cl.conn.Close()
	stream, err := cl.config.Diff(ctx, req)
	if err != nil {
		return cl.explain(err)
	}
	for {
		res, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return cl.explain(err)
		}
		ch := res.GetChange()
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
		printChange(c.out, t, before, after)
	}
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
