package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

func waitWakes(ctx context.Context, d *desk) {
	type answer struct {
		rev uint64
		err error
	}
	answers := make(chan answer)
	wait := func(ctx context.Context, after uint64) {
		rev, err := d.Wait(ctx, after)
		answers <- answer{rev, err}
	}
	for range 3 {
		go wait(ctx, 0)
	}
	go wait(ctx, 1)
	select {
	case a := <-answers:
		d.Fatalf("Wait on an empty store = %v", a)
	default:
	}
	d.commit(put("services", 1, "a"))
	for range 3 {
		if a := <-answers; a.err != nil || a.rev != 1 {
			d.Errorf("Wait = %v, want revision 1", a)
		}
	}
	d.commit(put("services", 1, "b"))
	if a := <-answers; a.err != nil || a.rev != 2 {
		d.Errorf("Wait = %v, want revision 2", a)
	}
	if rev, err := d.Wait(ctx, 0); err != nil || rev != 2 {
		d.Errorf("Wait for what is there = %d, %v, want 2", rev, err)
	}
	ended, cancel := context.WithCancel(ctx)
	go wait(ended, 2)
	cancel()
	if a := <-answers; !errors.Is(a.err, context.Canceled) {
		d.Errorf("Wait until cancel = %v, want context.Canceled", a)
	}
	go wait(ctx, 2)
	if err := d.Close(); err != nil {
		d.Errorf("Close = %v", err)
	}
	if a := <-answers; !errors.Is(a.err, store.ErrClosed) {
		d.Errorf("Wait until close = %v, want ErrClosed", a)
	}
}

func endedContexts(ctx context.Context, d *desk) {
	d.commit(put("services", 1, "a"))
	ended, cancel := context.WithCancel(ctx)
	cancel()
	for name, f := range map[string]func() error{
		"Head":     func() error { _, err := d.Head(ended); return err },
		"Get":      func() error { _, err := d.Get(ended, "services", id(1)); return err },
		"List":     func() error { _, err := d.List(ended, store.Query{Kind: "services", Size: 1}); return err },
		"Load":     func() error { _, _, err := d.Load(ended, 0); return err },
		"Wait":     func() error { _, err := d.Wait(ended, 9); return err },
		"Audit":    func() error { _, err := d.AppendAudit(ended, []store.AuditEntry{{Body: []byte("x")}}); return err },
		"Secret":   func() error { _, err := d.Secret(ended, "x", []byte("y")); return err },
		"Records":  func() error { _, err := d.Records(ended, "groups"); return err },
		"Write":    func() error { return d.Write(ended, []store.Record{{Kind: "groups", ID: "a", Body: []byte("x")}}) },
		"Revision": func() error { _, err := d.Revision(ended, 1); return err },
		"Ping":     func() error { return d.Ping(ended) },
		"Changes": func() error {
			for _, err := range d.Changes(ended, 0, 0) {
				return err
			}
			return nil
		},
		"Commit": func() error {
			_, err := d.Commit(ended, store.Commit{Ops: []store.Op{put("services", 2, "b")}})
			return err
		},
	} {
		if err := f(); !errors.Is(err, context.Canceled) || errors.Is(err, store.ErrUnavailable) {
			d.Errorf("%s with an ended context = %v, want context.Canceled", name, err)
		}
	}
	if got := d.head(); got != 1 {
		d.Errorf("head = %d, want 1", got)
	}
}

func commitDuringClose(ctx context.Context, d *desk) {
	const writers = 8
	var written atomic.Int64
	started := make(chan struct{}, writers)
	done := make(chan struct{})
	go func() {
		defer close(done)
		together(writers, func(w int) {
			for i := range 1000 {
				_, err := d.Commit(ctx, store.Commit{Ops: []store.Op{put("services", w*1000+i, fmt.Sprint(i))}})
				switch {
				case err == nil && i == 0:
					started <- struct{}{}
				case errors.Is(err, store.ErrClosed):
					return
				case err != nil:
					d.Errorf("Commit during Close = %v, want success or ErrClosed", err)
					return
				}
				written.Add(1)
			}
		})
	}()
	for range writers {
		<-started
	}
	if err := d.Close(); err != nil {
		d.Errorf("Close = %v", err)
	}
	<-done
	if written.Load() < writers {
		d.Errorf("%d commits were written, want at least %d", written.Load(), writers)
	}
	if _, err := d.Get(ctx, "services", id(1)); !errors.Is(err, store.ErrClosed) {
		d.Errorf("Get after Close = %v, want ErrClosed", err)
	}
	if _, err := d.Commit(ctx, store.Commit{Ops: []store.Op{put("services", 1, "x")}}); !errors.Is(err, store.ErrClosed) {
		d.Errorf("Commit after Close = %v, want ErrClosed", err)
	}
	if err := d.Close(); err != nil {
		d.Errorf("Close again = %v", err)
	}
}

func iterators(ctx context.Context, d *desk) {
	var ops []store.Op
	for i := range 500 {
		ops = append(ops, put("services", i, "s"))
	}
	d.commit(ops...)
	for range 50 { // more than any pool has connections: leaving early must give them back
		for _, err := range d.Changes(ctx, 0, 0) {
			if err != nil {
				d.Fatal(err)
			}
			break
		}
		_, objects, err := d.Load(ctx, 0)
		if err != nil {
			d.Fatal(err)
		}
		for _, err := range objects {
			if err != nil {
				d.Fatal(err)
			}
			break
		}
	}
	// A writer is not kept out by a reader in the middle, nor the other way round.
	n := 0
	_, objects, err := d.Load(ctx, 0)
	if err != nil {
		d.Fatal(err)
	}
	for o, err := range objects {
		if err != nil {
			d.Fatal(err)
		}
		if n++; n%100 == 1 {
			d.commit(put("services", 1000+n, "new"))
			if _, err := d.Get(ctx, o.Kind, o.ID); err != nil {
				d.Fatal(err)
			}
		}
	}
	if n != 500 {
		d.Errorf("view shows %d objects, want 500", n)
	}
	// Context that ends in the middle.
	bound, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var last error
	for _, err := range d.Changes(bound, 0, 0) {
		cancel()
		last = err
	}
	if last != nil && !errors.Is(last, context.Canceled) {
		d.Errorf("Changes until cancel ends with %v, want context.Canceled or all rows", last)
	}
}

func renew(ctx context.Context, d *desk) {
	before, err := d.Head(ctx)
	if err != nil {
		d.Fatal(err)
	}
	var renewed []string
	d.commit(put("services", 1, "s"))
	written, err := d.Revision(ctx, 1)
	if err != nil {
		d.Fatal(err)
	}
	if at, err := d.Now(ctx); err != nil || at.Before(written.At) || at.Sub(written.At) > time.Hour {
		d.Errorf("Now = %v, %v after a revision of %v by the same clock", at, err, written.At)
	}
	for range 2 { // the second one finds another epoch than the one it saw
		if err := d.Renew(ctx, before.Epoch); err != nil {
			d.Fatal(err)
		}
		after, err := d.Head(ctx)
		if err != nil {
			d.Fatal(err)
		}
		renewed = append(renewed, after.Epoch)
	}
	if renewed[0] != renewed[1] {
		d.Errorf("a loss that was found twice gave epochs %v", renewed)
	}
	after, err := d.Head(ctx)
	if err != nil || after.Epoch == before.Epoch || len(after.Epoch) != 36 || after.Rev != 1 {
		d.Errorf("Head after Renew = %+v, %v, want another epoch than %s at revision 1", after, err, before.Epoch)
	}
}

func counts(ctx context.Context, d *desk) {
	d.commit(put("services", 1, "s"), put("services", 2, "s"), put("routes", 1, "r"))
	d.commit(remove("services", 2))
	if got, err := d.Count(ctx); err != nil || len(got) != 2 || got["services"] != 1 || got["routes"] != 1 {
		d.Errorf("Count = %v, %v, want one service and one route", got, err)
	}
}

func dryRun(ctx context.Context, d *desk) {
	d.commit(named(put("services", 1, "s"), "a"))
	if _, err := d.Commit(ctx, store.Commit{Ops: []store.Op{put("services", 2, "s")}, DryRun: true}); err != nil {
		d.Errorf("dry run of a sound commit: %v", err)
	}
	var unique *store.UniqueError
	_, err := d.Commit(ctx, store.Commit{Ops: []store.Op{named(put("services", 2, "s"), "a")}, DryRun: true})
	if !errors.As(err, &unique) {
		d.Errorf("dry run of a taken key: %v", err)
	}
	if _, err := d.Get(ctx, "services", id(2)); !errors.Is(err, store.ErrNotFound) {
		d.Errorf("a dry run wrote: %v", err)
	}
	if h, err := d.Head(ctx); err != nil || h.Rev != 1 {
		d.Errorf("Head after dry runs = %+v, %v, want revision 1", h, err)
	}
}
