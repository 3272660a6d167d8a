package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

// together runs f n times at once and waits for all.
func together(n int, f func(i int)) {
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Add(1)
		go func() {
			defer all.Done()
			<-start
			f(i)
		}()
	}
	close(start)
	all.Wait()
}

func oneWins(ctx context.Context, d *desk) {
	const n = 32
	var wins, losses atomic.Int64
	together(n, func(i int) {
		_, err := d.Commit(ctx, store.Commit{Ops: []store.Op{named(put("services", i, "s"), "the one")}})
		var taken *store.UniqueError
		switch {
		case err == nil:
			wins.Add(1)
		case errors.As(err, &taken) && taken.ID == id(i) && taken.Holder != "" && taken.Holder != taken.ID:
			losses.Add(1)
		default:
			d.Errorf("Commit = %v, want success or the key's holder", err)
		}
	})
	if wins.Load() != 1 || losses.Load() != n-1 {
		d.Errorf("%d won and %d lost, want 1 and %d", wins.Load(), losses.Load(), n-1)
	}
	if got := d.head(); got != 1 {
		d.Errorf("head = %d, want 1", got)
	}
}

func noGaps(_ context.Context, d *desk) {
	const writers, each = 8, 25
	seen := make([]atomic.Int64, writers*each+1)
	together(writers, func(w int) {
		last := uint64(0)
		for i := range each {
			r, err := d.Commit(d.ctx, store.Commit{Ops: []store.Op{put("services", w*each+i, "s")}})
			if err != nil || r.Rev <= last || int(r.Rev) >= len(seen) {
				d.Errorf("Commit = %v, %v after %d", r, err, last)
				return
			}
			last = r.Rev
			seen[r.Rev].Add(1)
		}
	})
	for rev := 1; rev < len(seen); rev++ {
		if seen[rev].Load() != 1 {
			d.Errorf("revision %d was given %d times, want once", rev, seen[rev].Load())
		}
	}
	next := uint64(1)
	for _, c := range d.changes(0, 0) {
		if c.Rev != next {
			d.Fatalf("change is of revision %d, want %d", c.Rev, next)
		}
		next++
	}
}

func tailMissesNothing(ctx context.Context, d *desk) {
	const writers, each = 4, 25
	done := make(chan error, 1)
	go func() {
		at := uint64(0)
		for at < writers*each {
			head, err := d.Wait(ctx, at)
			if err != nil {
				done <- fmt.Errorf("wait after %d: %w", at, err)
				return
			}
			for c, err := range d.Changes(ctx, at, head) {
				if err != nil {
					done <- err
					return
				}
				if c.Rev != at+1 {
					done <- fmt.Errorf("change of %d follows %d", c.Rev, at)
					return
				}
				at = c.Rev
			}
			if at < head {
				done <- fmt.Errorf("the head is %d but changes end at %d", head, at)
				return
			}
		}
		done <- nil
	}()
	together(writers, func(w int) {
		for i := range each {
			if _, err := d.Commit(ctx, store.Commit{Ops: []store.Op{put("services", w*each+i, "s")}}); err != nil {
				d.Errorf("Commit = %v", err)
			}
		}
	})
	if err := <-done; err != nil {
		d.Error(err)
	}
}

func guiltyFailsAlone(ctx context.Context, d *desk) {
	d.commit(named(put("services", 1000, "s"), "taken"))
	const n = 60
	together(n, func(i int) {
		op := named(put("services", i, "s"), fmt.Sprint("free ", i))
		var unique *store.UniqueError
		var reference *store.ReferenceError
		want := func(err error) bool { return err == nil }
		switch i % 3 {
		case 1:
			op = named(op, "taken")
			want = func(err error) bool {
				return errors.As(err, &unique) && unique.ID == id(i) && unique.Holder == id(1000)
			}
		case 2:
			op = referring(op, "f", "nothing", 1)
			want = func(err error) bool { return errors.As(err, &reference) && reference.ID == id(i) }
		}
		if _, err := d.Commit(ctx, store.Commit{Ops: []store.Op{op}}); !want(err) {
			d.Errorf("Commit %d = %v", i, err)
		}
	})
	if got := d.head(); got != 1+n/3 {
		d.Errorf("head = %d, want %d", got, 1+n/3)
	}
}

func requestIDRace(ctx context.Context, d *desk) {
	var rev [16]store.Revision
	together(len(rev), func(i int) {
		var err error
		rev[i], err = d.Commit(ctx, store.Commit{Ops: []store.Op{put("services", i, "s")}, RequestID: "same"})
		if err != nil {
			d.Errorf("Commit = %v", err)
		}
	})
	for _, r := range rev {
		if r != rev[0] {
			d.Errorf("answers differ: %v and %v", r, rev[0])
		}
	}
	if got := d.head(); got != 1 {
		d.Errorf("head = %d, want 1", got)
	}
}

func secretRace(ctx context.Context, d *desk) {
	if _, err := d.Secret(ctx, "pepper", nil); !errors.Is(err, store.ErrNotFound) {
		d.Errorf("Secret without fresh = %v, want ErrNotFound", err)
	}
	var got [16][]byte
	together(len(got), func(i int) {
		var err error
		got[i], err = d.Secret(ctx, "pepper", fmt.Appendf([]byte("\x00\xff"), "secret %d", i))
		if err != nil {
			d.Errorf("Secret = %v", err)
		}
	})
	for _, s := range got {
		if len(s) == 0 || !bytes.Equal(s, got[0]) {
			d.Errorf("secrets differ: %q and %q", s, got[0])
		}
	}
	if other, err := d.Secret(ctx, "salt", []byte("other")); err != nil || string(other) != "other" {
		d.Errorf("Secret of another name = %q, %v", other, err)
	}
}
