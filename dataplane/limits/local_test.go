package limits

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/sekifuda/sekifuda/dataplane/limits/lease"
	"github.com/sekifuda/sekifuda/plugin"
)

var dawn = time.Date(2023, 11, 14, 22, 13, 20, 0, time.UTC)

var names = [periods]string{"second", "minute", "hour", "day", "month", "year"}

type clock struct{ at atomic.Int64 }

func newClock(now time.Time) *clock {
	c := &clock{}
	c.at.Store(now.UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.at.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

func build(t testing.TB, o Options) *Limits {
	t.Helper()
	if o.Patience == 0 {
		o.Patience = 5 * time.Second // a busy machine is no outage
	}
	l, err := New(o)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return l
}

func limiter(t testing.TB, l *Limits, r plugin.Rule) plugin.Limiter {
	t.Helper()
	lim, err := l.Limiter(r)
	if err != nil {
		t.Fatalf("Limiter(%+v): %v", r, err)
	}
	return lim
}

func take(t testing.TB, l plugin.Limiter, identifier string) plugin.Decision {
	t.Helper()
	var d plugin.Decision
	if err := l.Take(context.Background, identifier, 1, &d); err != nil {
		t.Fatalf("Take(%q): %v", identifier, err)
	}
	return d
}

func minute(limit int64) plugin.Rule {
	return plugin.Rule{ID: "r", Windows: []plugin.Window{{Period: plugin.Minute, Limit: limit}}}
}

func TestCountsEachWindowOnItsOwn(t *testing.T) {
	t.Parallel()
	tests := []struct {
		period plugin.Period
		left   time.Duration // to the end of the window at dawn
	}{
		{plugin.Second, time.Second},
		{plugin.Minute, 40 * time.Second},
		{plugin.Hour, 46*time.Minute + 40*time.Second},
		{plugin.Day, time.Hour + 46*time.Minute + 40*time.Second},
		{plugin.Month, 16*24*time.Hour + time.Hour + 46*time.Minute + 40*time.Second},
		{plugin.Year, 47*24*time.Hour + time.Hour + 46*time.Minute + 40*time.Second},
	}
	for _, tt := range tests {
		c := newClock(dawn)
		l := limiter(t, build(t, Options{Clock: c.now}), plugin.Rule{ID: "r", Windows: []plugin.Window{{Period: tt.period, Limit: 1}}})
		if d := take(t, l, "a"); !d.Allowed || d.Remaining[0] != 0 || !d.Counted || !d.Now.Equal(dawn) {
			t.Errorf("%s: first = %+v, want it admitted", names[tt.period], d)
		}
		c.advance(tt.left - time.Nanosecond)
		if d := take(t, l, "a"); d.Allowed {
			t.Errorf("%s: admitted twice in a window", names[tt.period])
		}
		c.advance(time.Nanosecond)
		if d := take(t, l, "a"); !d.Allowed {
			t.Errorf("%s: the next window is not its own", names[tt.period])
		}
	}
}

func TestChargesAllWindowsOrNone(t *testing.T) {
	t.Parallel()
	c := newClock(dawn)
	l := limiter(t, build(t, Options{Clock: c.now}), plugin.Rule{ID: "r", Windows: []plugin.Window{{Period: plugin.Second, Limit: 1}, {Period: plugin.Minute, Limit: 3}}})
	steps := []struct {
		advance   time.Duration
		allowed   bool
		stop      int
		remaining [2]int64
	}{
		{0, true, 0, [2]int64{0, 2}},
		{0, false, 0, [2]int64{0, 2}},
		{0, false, 0, [2]int64{0, 2}},
		{time.Second, true, 0, [2]int64{0, 1}},
		{time.Second, true, 0, [2]int64{0, 0}},
		{0, false, 1, [2]int64{0, 0}}, // both used up: the longer one is told
		{time.Second, false, 1, [2]int64{1, 0}},
	}
	for i, s := range steps {
		c.advance(s.advance)
		d := take(t, l, "a")
		if d.Allowed != s.allowed || !d.Allowed && d.Stop != s.stop || [2]int64(d.Remaining[:2]) != s.remaining {
			t.Errorf("step %d: %+v, want %+v", i, d, s)
		}
	}
}

func TestAChangedLimitActsOnTheCountsThatAreThere(t *testing.T) {
	t.Parallel()
	all := build(t, Options{Clock: newClock(dawn).now})
	old := limiter(t, all, minute(2))
	take(t, old, "a")
	take(t, old, "a")
	if take(t, old, "a").Allowed {
		t.Fatal("the third of two was admitted")
	}
	if d := take(t, limiter(t, all, minute(5)), "a"); !d.Allowed || d.Remaining[0] != 2 {
		t.Errorf("after the limit rose to 5: %+v, want 2 left", d)
	}
	if d := take(t, limiter(t, all, minute(1)), "a"); d.Allowed || d.Remaining[0] != 0 {
		t.Errorf("after the limit fell to 1: %+v, want it refused", d)
	}
	wider := plugin.Rule{ID: "r", Windows: []plugin.Window{{Period: plugin.Minute, Limit: 5}, {Period: plugin.Hour, Limit: 5}}}
	if d := take(t, limiter(t, all, wider), "a"); !d.Allowed || d.Remaining[0] != 1 || d.Remaining[1] != 4 {
		t.Errorf("with a window more: %+v, want 1 and 4 left", d)
	}
}

func TestRulesAndIdentifiersDoNotMeet(t *testing.T) {
	t.Parallel()
	all := build(t, Options{Clock: newClock(dawn).now})
	take(t, limiter(t, all, minute(1)), "a")
	if !take(t, limiter(t, all, minute(1)), "b").Allowed {
		t.Error("another identifier was refused")
	}
	other := minute(1)
	other.ID = "s"
	if !take(t, limiter(t, all, other), "a").Allowed {
		t.Error("another rule was refused")
	}
}

func TestLimiterRefusesRulesThatCannotBe(t *testing.T) {
	t.Parallel()
	all := build(t, Options{})
	for _, ws := range [][]plugin.Window{
		nil,
		{{Period: plugin.Minute, Limit: -1}},
		{{Period: plugin.Minute, Limit: maxLimit + 1}},
		{{Period: plugin.Year + 1, Limit: 1}},
		{{Period: plugin.Minute, Limit: 1}, {Period: plugin.Minute, Limit: 2}},
		{{Period: plugin.Hour, Limit: 1}, {Period: plugin.Minute, Limit: 2}},
	} {
		if _, err := all.Limiter(plugin.Rule{ID: "r", Windows: ws}); err == nil {
			t.Errorf("Limiter(%v) = nil, want an error", ws)
		}
	}
	var d plugin.Decision
	if err := limiter(t, all, minute(1)).Take(context.Background, "a", -1, &d); err == nil {
		t.Error("Take(-1) = nil, want an error")
	}
}

// TestExactUnderLoad has many goroutines ask for more than there is, over two windows that
// end meanwhile, while the table is swept and let go.
func TestExactUnderLoad(t *testing.T) {
	t.Parallel()
	const limit, workers, each = 500, 8, 400
	c := newClock(dawn)
	all := build(t, Options{Clock: c.now})
	rule := plugin.Rule{ID: "r", Windows: []plugin.Window{{Period: plugin.Minute, Limit: limit}, {Period: plugin.Hour, Limit: 2 * limit}}}
	for window := range 3 {
		want := int64(limit)
		if window == 2 {
			want = 0 // the hour is used up
		}
		var admitted atomic.Int64
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				l, err := all.Limiter(rule)
				if err != nil {
					t.Error(err)
					return
				}
				for range each {
					var d plugin.Decision
					if err := l.Take(context.Background, "hot", 1, &d); err != nil {
						t.Error(err)
					}
					if d.Allowed {
						admitted.Add(1)
					}
				}
			})
		}
		wg.Go(func() { all.table.sweep(all.clock()) })
		wg.Wait()
		if got := admitted.Load(); got != want {
			t.Errorf("window %d: admitted %d, want %d", window, got, want)
		}
		c.advance(time.Minute)
	}
}

func TestPastWindowsAreLetGo(t *testing.T) {
	t.Parallel()
	c := newClock(dawn)
	all := build(t, Options{Clock: c.now})
	held := limiter(t, all, minute(1))
	for i := range 1000 {
		take(t, held, fmt.Sprint(i))
	}
	all.table.sweep(all.clock())
	if got := all.table.used.Load(); got != 1000 {
		t.Fatalf("keys = %d before the window's end, want 1000", got)
	}
	c.advance(time.Minute)
	all.table.sweep(all.clock())
	if got := all.table.used.Load(); got != 0 {
		t.Errorf("keys = %d after the window's end, want none", got)
	}
	// A limiter that was held meanwhile and a new one still count together.
	take(t, held, "a")
	if take(t, limiter(t, all, minute(1)), "a").Allowed {
		t.Error("a held limiter counts elsewhere than a new one")
	}
}

// TestALateClockDoesNotReopenAWindow has a request that read the clock before a window's end
// come after one that read it later.
func TestALateClockDoesNotReopenAWindow(t *testing.T) {
	t.Parallel()
	for p := plugin.Second; p <= plugin.Year; p++ {
		_, end := lease.Bounds(p, dawn)
		c := newClock(end)
		all := build(t, Options{Clock: c.now})
		l := limiter(t, all, plugin.Rule{ID: "r", Windows: []plugin.Window{{Period: p, Limit: 2}}})
		take(t, l, "a")
		c.advance(-time.Millisecond)
		all.table.sweep(all.clock())
		if d := take(t, l, "a"); !d.Allowed || d.Remaining[0] != 0 {
			t.Errorf("%s: the late request = %+v, want it charged to the window that began", names[p], d)
		}
		c.advance(time.Millisecond)
		if d := take(t, l, "a"); d.Allowed {
			t.Errorf("%s: the third of two = %+v, want it refused", names[p], d)
		}
	}
}

func TestAClockThatIsSetBackIsFollowed(t *testing.T) {
	t.Parallel()
	c := newClock(dawn.Add(time.Hour))
	all := build(t, Options{Clock: c.now})
	l := limiter(t, all, minute(1))
	take(t, l, "a")
	c.advance(-time.Hour)
	if d := take(t, l, "a"); !d.Allowed {
		t.Errorf("an hour earlier = %+v, want it admitted", d)
	}
	if d := take(t, l, "a"); d.Allowed {
		t.Errorf("the second of one = %+v, want it refused", d)
	}
}

func TestLongIdentifiersAreNotKept(t *testing.T) {
	t.Parallel()
	all := build(t, Options{Clock: newClock(dawn).now})
	l := limiter(t, all, minute(1))
	long := strings.Repeat("x", 60000)
	if !take(t, l, long+"1").Allowed || !take(t, l, long+"2").Allowed {
		t.Error("the first of a long identifier was refused")
	}
	if take(t, l, long+"1").Allowed {
		t.Error("the second of a long identifier was admitted")
	}
	for i := range all.table.shards {
		for k := range all.table.shards[i].counts {
			if len(k.identifier) > maxIdentifier {
				t.Errorf("an identifier of %d bytes is kept", len(k.identifier))
			}
		}
	}
}

// TestIdentifiersAreCopied has the memory of an identifier used again, as exchanges' is.
func TestIdentifiersAreCopied(t *testing.T) {
	t.Parallel()
	l := limiter(t, build(t, Options{Clock: newClock(dawn).now}), minute(1))
	b := []byte("alice")
	take(t, l, unsafe.String(&b[0], len(b)))
	copy(b, "mallo")
	if take(t, l, "alice").Allowed || !take(t, l, "mallo").Allowed {
		t.Error("what was counted for alice moved with the memory of her name")
	}
}

func TestKeysAreBounded(t *testing.T) {
	t.Parallel()
	c := newClock(dawn)
	all := build(t, Options{Clock: c.now, MaxKeys: 4 * shards})
	l := limiter(t, all, minute(5))
	for range 4 {
		take(t, l, "busy")
	}
	for i := range 40 * shards {
		if d := take(t, l, fmt.Sprint(i)); !d.Allowed {
			t.Fatalf("identifier %d was refused at its first request", i)
		}
	}
	// A shard without any key has none to forget, so a few more than the bound may stay.
	kept := 0
	for i := range all.table.shards {
		kept += len(all.table.shards[i].counts)
	}
	if got := all.table.used.Load(); got > 5*shards || int(got) != kept {
		t.Errorf("keys = %d, of which %d are there, want at most %d", got, kept, 5*shards)
	}
	// Shards hold fewer keys than are looked at, so the most used one stays.
	if d := take(t, l, "busy"); d.Remaining[0] != 0 {
		t.Errorf("the most used key = %+v, want it kept", d)
	}
}

// TestAgreesWithAModel plays random takes against a map.
func TestAgreesWithAModel(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	c := newClock(dawn)
	all := build(t, Options{Clock: c.now})
	model := map[string]int64{}
	for step := range 20000 {
		p := plugin.Period(rng.IntN(periods))
		rule := plugin.Rule{ID: "r", Windows: []plugin.Window{{Period: p, Limit: rng.Int64N(20)}}}
		id, n := fmt.Sprint(rng.IntN(5)), rng.Int64N(4)
		start, _ := lease.Bounds(p, c.now())
		key := fmt.Sprint(id, p, start)
		var d plugin.Decision
		if err := limiter(t, all, rule).Take(context.Background, id, n, &d); err != nil {
			t.Fatal(err)
		}
		want := model[key]+n <= rule.Windows[0].Limit
		if want {
			model[key] += n
		}
		if d.Allowed != want || d.Remaining[0] != max(0, rule.Windows[0].Limit-model[key]) {
			t.Fatalf("step %d: %+v, want allowed %v, used %d of %d", step, d, want, model[key], rule.Windows[0].Limit)
		}
		if rng.IntN(50) == 0 {
			c.advance(time.Duration(rng.Int64N(int64(2 * time.Hour))))
			all.table.sweep(all.clock())
		}
	}
}

func TestTakeDoesNotAllocateForAKnownKey(t *testing.T) {
	all := build(t, Options{})
	l := limiter(t, all, plugin.Rule{ID: "r", Windows: []plugin.Window{{Period: plugin.Minute, Limit: 1 << 40}, {Period: plugin.Month, Limit: 1 << 40}}})
	var d plugin.Decision
	if n := testing.AllocsPerRun(100, func() { _ = l.Take(context.Background, "a", 1, &d) }); n != 0 {
		t.Errorf("Take allocates %v times, want 0", n)
	}
}

func FuzzBoundsHoldTheIndex(f *testing.F) {
	f.Add(int64(1700000000), uint8(4))
	f.Add(int64(0), uint8(5))
	f.Add(int64(951782400), uint8(4))
	f.Fuzz(func(t *testing.T, unix int64, period uint8) {
		if unix < 0 || unix > 4e9 {
			return
		}
		p, now := plugin.Period(period%uint8(periods)), time.Unix(unix, 0)
		start, end := lease.Bounds(p, now)
		if now.Before(start) || !now.Before(end) {
			t.Errorf("Bounds(%s, %v) = %v to %v", names[p], now, start, end)
		}
		if index(p, start) != index(p, end.Add(-time.Nanosecond)) || index(p, start) == index(p, end) {
			t.Errorf("index(%s) does not change at %v and %v", names[p], start, end)
		}
	})
}

func BenchmarkTakeLocal(b *testing.B) {
	l := limiter(b, build(b, Options{}), plugin.Rule{ID: "r", Windows: []plugin.Window{{Period: plugin.Minute, Limit: 1 << 40}, {Period: plugin.Hour, Limit: 1 << 40}}})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var d plugin.Decision
		for pb.Next() {
			_ = l.Take(context.Background, "a", 1, &d)
		}
	})
}

// BenchmarkAMillionKeys makes a million counters, of identifiers as long as a UUID.
func BenchmarkAMillionKeys(b *testing.B) {
	const keys = 1_000_000
	var before, after runtime.MemStats
	for b.Loop() {
		b.StopTimer()
		runtime.GC()
		runtime.ReadMemStats(&before)
		l := limiter(b, build(b, Options{}), minute(10))
		b.StartTimer()
		var d plugin.Decision
		for i := range keys {
			_ = l.Take(context.Background, fmt.Sprintf("%036d", i), 1, &d)
		}
		b.StopTimer()
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(l)
		b.StartTimer()
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/keys, "bytes/key")
}
