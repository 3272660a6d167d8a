package bell

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

// head is a database's head that a bell polls.
type head struct {
	rev, asked atomic.Uint64
	down       atomic.Bool
}

func (h *head) poll() *Poll {
	return &Poll{Every: 250 * time.Millisecond, Head: func(context.Context) (uint64, error) {
		h.asked.Add(1)
		if h.down.Load() {
			return 0, errors.New("down")
		}
		return h.rev.Load(), nil
	}}
}

func TestPollIsTheTruth(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var h head
		b := New(h.poll())
		defer b.Close()
		go func() {
			time.Sleep(10 * time.Second)
			h.rev.Store(3)
		}()
		begin := time.Now()
		if rev, err := b.Wait(t.Context(), 2); err != nil || rev != 3 {
			t.Errorf("Wait = %d, %v, want 3", rev, err)
		}
		if took := time.Since(begin); took > 10*time.Second+250*time.Millisecond {
			t.Errorf("Wait took %v, want one poll more than 10s", took)
		}
	})
}

func TestOutageIsWaitedThrough(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var h head
		h.down.Store(true)
		b := New(h.poll())
		defer b.Close()
		go func() {
			time.Sleep(time.Minute)
			h.rev.Store(1)
			h.down.Store(false)
		}()
		if rev, err := b.Wait(t.Context(), 0); err != nil || rev != 1 {
			t.Errorf("Wait = %d, %v, want 1", rev, err)
		}
	})
}

func TestHintIsFaster(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var h head
		poll := h.poll()
		poll.Hints = func(ctx context.Context, ring func()) {
			time.Sleep(time.Second + time.Millisecond)
			h.rev.Store(1)
			ring()
			<-ctx.Done()
		}
		b := New(poll)
		defer b.Close()
		begin := time.Now()
		if _, err := b.Wait(t.Context(), 0); err != nil {
			t.Errorf("Wait = %v", err)
		}
		if took := time.Since(begin); took != time.Second+time.Millisecond {
			t.Errorf("Wait took %v, want the moment of the hint", took)
		}
	})
}

func TestNobodyWaitsNobodyPolls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var h head
		h.rev.Store(1)
		b := New(h.poll())
		defer b.Close()
		for range 2 {
			if _, err := b.Wait(t.Context(), h.rev.Load()-1); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute)
			before := h.asked.Load()
			time.Sleep(time.Hour)
			if after := h.asked.Load(); after != before {
				t.Errorf("the head was asked for %d times while nobody waits", after-before)
			}
			h.rev.Add(1) // the next Wait must start a poll again
		}
	})
}

func TestLostCommits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var h head
		b := New(h.poll())
		defer b.Close()
		b.Ring(9)
		h.rev.Store(5) // the database came back without its last commits
		if rev, err := b.Wait(t.Context(), 0); err != nil || rev == 0 {
			t.Fatalf("Wait = %d, %v", rev, err)
		}
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if rev, err := b.Wait(ctx, 5); !errors.Is(err, context.DeadlineExceeded) || rev != 5 {
			t.Errorf("Wait = %d, %v, want the head 5 at the deadline", rev, err)
		}
	})
}

func TestRingAndClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := New(nil)
		woken := make(chan error, 2)
		for _, after := range []uint64{0, 1} {
			go func() { _, err := b.Wait(t.Context(), after); woken <- err }()
		}
		synctest.Wait()
		b.Ring(1)
		b.Ring(0) // late news
		if err := <-woken; err != nil {
			t.Errorf("Wait = %v", err)
		}
		b.Close()
		b.Close()
		if err := <-woken; !errors.Is(err, store.ErrClosed) {
			t.Errorf("Wait until close = %v, want ErrClosed", err)
		}
	})
}
