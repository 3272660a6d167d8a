package limits

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/test/services"
)

// clock is a clock that tests move.
type clock struct{ ns atomic.Int64 }

func newClock(t time.Time) *clock {
	c := &clock{}
	c.ns.Store(t.UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.ns.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.ns.Add(int64(d)) }

var noon = time.Date(2026, 2, 28, 12, 0, 30, 0, time.UTC)

func rule(id string, windows ...plugin.Window) plugin.Rule {
	return plugin.Rule{ID: id, Windows: windows}
}

func limiter(t *testing.T, l *Limits, r plugin.Rule) plugin.Limiter {
	t.Helper()
	lim, err := l.Limiter(r)
	if err != nil {
		t.Fatal(err)
	}
	return lim
}

func newLimits(t *testing.T, o Options) *Limits {
	t.Helper()
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func take(t *testing.T, l plugin.Limiter, id string) plugin.Decision {
	t.Helper()
	var d plugin.Decision
	if err := l.Take(context.Background, id, 1, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestLocalWindows(t *testing.T) {
	t.Parallel()
	c := newClock(noon)
	l := newLimits(t, Options{Clock: c.now})
	lim := limiter(t, l, rule("r", plugin.Window{Period: plugin.Minute, Limit: 2}, plugin.Window{Period: plugin.Hour, Limit: 3}))
	for i, want := range []plugin.Decision{
		{Allowed: true, Remaining: [6]int64{1, 2}}, {Allowed: true, Remaining: [6]int64{0, 1}},
		{Stop: 0, Remaining: [6]int64{0, 1}},
	} {
		if d := take(t, lim, "a"); d.Allowed != want.Allowed || d.Remaining != want.Remaining || d.Stop != want.Stop {
			t.Errorf("take %d = %+v, want %+v", i, d, want)
		}
	}
	c.advance(time.Minute)
	if d := take(t, lim, "a"); !d.Allowed || d.Remaining != [6]int64{1, 0} {
		t.Errorf("next minute = %+v", d)
	}
	// The hour is spent: the minute must not be charged with it.
	if d := take(t, lim, "a"); d.Allowed || d.Stop != 1 || d.Remaining != [6]int64{1, 0} {
		t.Errorf("hour spent = %+v", d)
	}
	if d := take(t, lim, "b"); !d.Allowed {
		t.Errorf("another identifier = %+v", d)
	}
}

// TestLimitChanges raises and lowers a limit: the counts that are there go on.
func TestLimitChanges(t *testing.T) {
	t.Parallel()
	l := newLimits(t, Options{Clock: newClock(noon).now})
	at := func(n int64) plugin.Limiter {
		return limiter(t, l, rule("r", plugin.Window{Period: plugin.Minute, Limit: n}))
	}
	low := at(2)
	take(t, low, "a")
	take(t, low, "a")
	if d := take(t, low, "a"); d.Allowed {
		t.Fatal("a third of two")
	}
	if d := take(t, at(5), "a"); !d.Allowed || d.Remaining[0] != 2 {
		t.Errorf("after a raise = %+v", d)
	}
	if d := take(t, low, "a"); d.Allowed || d.Remaining[0] != 0 {
		t.Errorf("after lowering = %+v", d)
	}
}

// exact charges one identifier from many goroutines and limiters and counts what is admitted.
func exact(t *testing.T, limit int64, limiters ...plugin.Limiter) {
	t.Helper()
	var admitted atomic.Int64
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for range 50 {
				var d plugin.Decision
				if err := limiters[g%len(limiters)].Take(context.Background, "one", 1, &d); err != nil {
					t.Error(err)
					return
				}
				if d.Allowed {
					admitted.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := admitted.Load(); n != limit {
		t.Errorf("%d of 800 were admitted, want exactly %d", n, limit)
	}
}

func TestLocalIsExact(t *testing.T) {
	t.Parallel()
	l := newLimits(t, Options{Clock: newClock(noon).now})
	exact(t, 123, limiter(t, l, rule("r", plugin.Window{Period: plugin.Hour, Limit: 123}, plugin.Window{Period: plugin.Day, Limit: 500})))
}

// redisRule counts in the Redis of a URL.
func redisRule(t *testing.T, raw string, windows ...plugin.Window) plugin.Rule {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	db, err := strconv.Atoi(u.Path[1:])
	if err != nil {
		t.Fatal(err)
	}
	r := rule("r", windows...)
	r.Redis = &plugin.Redis{Addr: u.Host, DB: db}
	return r
}

// TestRedisIsExact counts for two gates in one Redis.
func TestRedisIsExact(t *testing.T) {
	t.Parallel()
	r := redisRule(t, services.Redis(t), plugin.Window{Period: plugin.Day, Limit: 100}, plugin.Window{Period: plugin.Year, Limit: 1000})
	exact(t, 100, limiter(t, newLimits(t, Options{}), r), limiter(t, newLimits(t, Options{}), r))
}

// TestSharedStore uses the gate's own store for a rule that names none.
func TestSharedStore(t *testing.T) {
	t.Parallel()
	u := services.Redis(t)
	r := rule("r", plugin.Window{Period: plugin.Day, Limit: 1})
	r.Redis = &plugin.Redis{}
	if d := take(t, limiter(t, newLimits(t, Options{RedisURL: u}), r), "a"); !d.Allowed {
		t.Errorf("first = %+v", d)
	}
	if d := take(t, limiter(t, newLimits(t, Options{RedisURL: u}), r), "a"); d.Allowed {
		t.Errorf("second, at another gate = %+v", d)
	}
}

// TestAllOrNothing refuses by one window and charges no other, in both places.
func TestAllOrNothing(t *testing.T) {
	t.Parallel()
	windows := []plugin.Window{{Period: plugin.Day, Limit: 1}, {Period: plugin.Month, Limit: 2}}
	places := map[string]plugin.Limiter{
		"local": limiter(t, newLimits(t, Options{}), rule("r", windows...)),
		"redis": limiter(t, newLimits(t, Options{}), redisRule(t, services.Redis(t), windows...)),
	}
	for name, lim := range places {
		take(t, lim, "a")
		for range 3 {
			if d := take(t, lim, "a"); d.Allowed || d.Stop != 0 || d.Remaining != [6]int64{0, 1} {
				t.Errorf("%s: %+v, want a refusal by the day with 1 left of the month", name, d)
			}
		}
	}
}

// TestClockBehind asks with a clock two hours behind: the store's clock decides.
func TestClockBehind(t *testing.T) {
	t.Parallel()
	r := redisRule(t, services.Redis(t), plugin.Window{Period: plugin.Hour, Limit: 1})
	behind := newLimits(t, Options{Clock: func() time.Time { return time.Now().Add(-2 * time.Hour) }})
	take(t, limiter(t, behind, r), "a")
	if d := take(t, limiter(t, newLimits(t, Options{}), r), "a"); d.Allowed {
		t.Errorf("a gate with the right clock = %+v, want a refusal", d)
	}
}

// TestOutage kills Redis: tolerant rules admit uncounted and soon without waiting, others
// say so; when Redis is back it counts again.
func TestOutage(t *testing.T) {
	t.Parallel()
	server := services.NewRedis(t)
	r := redisRule(t, server.URL, plugin.Window{Period: plugin.Day, Limit: 5})
	l := newLimits(t, Options{})
	strict := limiter(t, l, r)
	r.FaultTolerant = true
	tolerant := limiter(t, l, r)
	take(t, tolerant, "a")
	server.Kill(t)
	for range 2 * failures {
		if d := take(t, tolerant, "a"); !d.Allowed || d.Counted {
			t.Errorf("tolerant, Redis dead = %+v, want admitted and uncounted", d)
		}
	}
	var d plugin.Decision
	if err := strict.Take(context.Background, "a", 1, &d); err == nil {
		t.Error("strict, Redis dead: no error")
	}
	if s := l.storeOf(r); !s.breaker.isOpen() {
		t.Error("the breaker is closed after failures in a row")
	}
	server.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	deadline := time.Now().Add(time.Minute)
	for {
		if d := take(t, tolerant, "a"); d.Counted {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("Redis is back and not used")
		}
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestBound lets in a hundred times more identifiers than may be kept.
func TestBound(t *testing.T) {
	t.Parallel()
	l := newLimits(t, Options{Clock: newClock(noon).now, MaxKeys: 1000})
	lim := limiter(t, l, rule("r", plugin.Window{Period: plugin.Hour, Limit: 10}))
	for i := range 100_000 {
		if d := take(t, lim, fmt.Sprint(i)); !d.Allowed {
			t.Fatalf("identifier %d was refused at its first request", i)
		}
	}
	if n := l.keys.used.Load(); n > 1000+shards {
		t.Errorf("%d keys are kept, want about 1000", n)
	}
}

// TestSweep forgets past windows.
func TestSweep(t *testing.T) {
	t.Parallel()
	c := newClock(noon)
	l := newLimits(t, Options{Clock: c.now})
	lim := limiter(t, l, rule("r", plugin.Window{Period: plugin.Second, Limit: 1}))
	take(t, lim, "a")
	c.advance(time.Second)
	l.sweep()
	if n := l.keys.used.Load(); n != 0 {
		t.Errorf("%d keys are kept after their window", n)
	}
	if d := take(t, lim, "a"); !d.Allowed {
		t.Errorf("after the sweep = %+v", d)
	}
}

func TestNoAllocation(t *testing.T) {
	l := newLimits(t, Options{Clock: newClock(noon).now})
	lim := limiter(t, l, rule("r", plugin.Window{Period: plugin.Minute, Limit: 1 << 40}, plugin.Window{Period: plugin.Hour, Limit: 1 << 40}))
	var d plugin.Decision
	if n := testing.AllocsPerRun(1000, func() { _ = lim.Take(context.Background, "a", 1, &d) }); n != 0 {
		t.Errorf("Take allocates %v times", n)
	}
}

func TestBadRules(t *testing.T) {
	t.Parallel()
	l := newLimits(t, Options{})
	for name, r := range map[string]plugin.Rule{
		"no window": rule("r"),
		"order":     rule("r", plugin.Window{Period: plugin.Hour, Limit: 1}, plugin.Window{Period: plugin.Minute, Limit: 1}),
		"twice":     rule("r", plugin.Window{Period: plugin.Hour, Limit: 1}, plugin.Window{Period: plugin.Hour, Limit: 1}),
		"negative":  rule("r", plugin.Window{Period: plugin.Hour, Limit: -1}),
	} {
		if _, err := l.Limiter(r); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := New(Options{RedisURL: "http://nonsense"}); err == nil {
		t.Error("a URL that is no Redis: no error")
	}
}

func BenchmarkTake(b *testing.B) {
	l, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	lim, err := l.Limiter(rule("r", plugin.Window{Period: plugin.Minute, Limit: 1 << 40}, plugin.Window{Period: plugin.Hour, Limit: 1 << 40}))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	var d plugin.Decision
	for b.Loop() {
		_ = lim.Take(context.Background, "consumer", 1, &d)
	}
}
