package limits

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

func reserve(t testing.TB, l plugin.Limiter, n int64) (plugin.Reservation, plugin.Decision) {
	t.Helper()
	var d plugin.Decision
	r, err := l.Reserve(context.Background, "a", n, &d)
	if err != nil {
		t.Fatalf("Reserve(%d): %v", n, err)
	}
	return r, d
}

func TestAReservationIsSettledOnceInItsWindow(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		used    int64
		later   time.Duration // to the settlement
		minute  int64         // left of 100 afterwards
		hour    int64         // of 1000
		another int64         // what a second settlement says
	}{
		{40, 0, 60, 960, 0},
		{0, 0, 100, 1000, 80},
		{80, 0, 20, 920, 0},
		{130, 0, 0, 870, 0},            // above the limit: nothing is left
		{-5, 0, 100, 1000, 0},          // no use
		{40, time.Minute, 100, 960, 0}, // the minute that was charged is over
		{40, time.Hour, 100, 1000, 0},
	} {
		c := newClock(dawn)
		l := limiter(t, build(t, Options{Clock: c.now}), plugin.Rule{ID: "r", Windows: []plugin.Window{{Period: plugin.Minute, Limit: 100}, {Period: plugin.Hour, Limit: 1000}}})
		r, d := reserve(t, l, 80)
		if !d.Allowed || d.Remaining[0] != 20 || d.Remaining[1] != 920 {
			t.Fatalf("Reserve(80) = %+v, want 20 and 920 left", d)
		}
		if none, d := reserve(t, l, 21); none != nil || d.Allowed {
			t.Fatalf("Reserve(21) of 20 = %v, %+v, want it refused", none, d)
		}
		c.advance(tt.later)
		r.Settle(tt.used)
		r.Settle(tt.another)
		var look plugin.Decision
		if err := l.Take(context.Background, "a", 0, &look); err != nil || look.Remaining[0] != tt.minute || look.Remaining[1] != tt.hour {
			t.Errorf("used %d, settled %v later: %v left, want %d and %d (%v)", tt.used, tt.later, look.Remaining[:2], tt.minute, tt.hour, err)
		}
	}
	var d plugin.Decision
	if r, err := limiter(t, build(t, Options{}), minute(1)).Reserve(context.Background, "a", 0, &d); r != nil || err == nil {
		t.Error("Reserve(0) = nil, want an error")
	}
}

// TestReservationsNeverPassTheLimit has many reserve more than they use.
func TestReservationsNeverPassTheLimit(t *testing.T) {
	t.Parallel()
	const limit = 10_000
	l := limiter(t, build(t, Options{Clock: newClock(dawn).now}), minute(limit))
	var used atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range int64(400) {
				var d plugin.Decision
				r, err := l.Reserve(context.Background, "a", 1+i%97, &d)
				if err != nil {
					t.Error(err)
				}
				if r != nil {
					r.Settle(i % 97 / 2)
					used.Add(i % 97 / 2)
				}
			}
		})
	}
	wg.Wait()
	_, d := reserve(t, l, 1)
	if want := limit - used.Load(); used.Load() > limit || d.Allowed && d.Remaining[0]+1 != want {
		t.Errorf("used %d of %d, told %+v", used.Load(), limit, d)
	}
}
