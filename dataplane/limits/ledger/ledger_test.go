//go:build unix

package ledger

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sekifuda/sekifuda/dataplane/limits/lease"
	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/test/services"
)

var boots atomic.Int64

// open makes a gate's ledger that runs until the test ends. A busy machine is no outage.
func open(t testing.TB, url string, change func(*Options)) *Ledger {
	t.Helper()
	o := Options{
		Name: "test", Client: client(t, url), Incarnation: "gate" + strconv.FormatInt(boots.Add(1), 10),
		Log: slog.New(slog.DiscardHandler), Patience: 5 * time.Second, Timeout: 10 * time.Second,
	}
	if change != nil {
		change(&o)
	}
	l := New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return l
}

func rule(p plugin.Period, limit int64) *lease.Rule {
	return &lease.Rule{Windows: []plugin.Window{{Period: p, Limit: limit}}, ExactUpTo: lease.DefaultExactUpTo}
}

func take(t testing.TB, l *Limiter, id string, n int64) plugin.Decision {
	t.Helper()
	var d plugin.Decision
	if err := l.Take(context.Background, id, n, &d); err != nil {
		t.Fatalf("Take(%q, %d): %v", id, n, err)
	}
	return d
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 30 s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestWhatLiesIdleIsRecalled has one gate hold most of a limit that another wants.
func TestWhatLiesIdleIsRecalled(t *testing.T) {
	t.Parallel()
	url := services.Redis(t)
	const limit = 1000
	one, two := open(t, url, nil), open(t, url, nil)
	a, b := one.Limiter("r", rule(plugin.Year, limit)), two.Limiter("r", rule(plugin.Year, limit))
	c := client(t, url)
	eventually(t, "both gates hear", func() bool {
		return c.PubSubNumSub(context.Background(), one.channel).Val()[one.channel] == 2
	})
	if d := take(t, a, "k", 1); !d.Allowed {
		t.Fatalf("Take = %+v", d)
	}
	if held := a.table.get("k").Held(); held < 10 {
		t.Fatalf("the first gate holds %d, want some ahead", held)
	}
	admitted := int64(1)
	for range limit + 50 {
		if take(t, b, "k", 1).Allowed {
			admitted++
		}
	}
	if admitted != limit {
		t.Errorf("admitted %d, want %d: what the first gate held is given back", admitted, limit)
	}
	if d := take(t, a, "k", 1); d.Allowed {
		t.Errorf("the first gate admits %+v after the limit", d)
	}
}

// TestAnOlderWordDoesNotPutOffATimer has what one call said be done after a later one: what lies
// idle goes back all the same.
func TestAnOlderWordDoesNotPutOffATimer(t *testing.T) {
	t.Parallel()
	l := open(t, services.Redis(t), nil).Limiter("r", rule(plugin.Year, 1e6))
	take(t, l, "k", 1)
	e := l.table.get("k")
	if e.Held() == 0 || e.WakeAt() == 0 {
		t.Fatal("nothing lies idle")
	}
	e.do(&lease.Out{Wake: l.ledger.o.Now() + int64(time.Hour)})
	eventually(t, "what lies idle goes back", func() bool { return e.Held() == 0 })
}

// TestAGateThatLeavesGivesBack ends a ledger that holds tokens.
func TestAGateThatLeavesGivesBack(t *testing.T) {
	t.Parallel()
	url := services.Redis(t)
	l := New(Options{Name: "test", Client: client(t, url), Incarnation: "leaver", Patience: 5 * time.Second})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	a := l.Limiter("r", rule(plugin.Year, 1e6))
	take(t, a, "k", 1)
	if a.table.get("k").Held() == 0 {
		t.Fatal("nothing is held")
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatalf("Run = %v", err)
	}
	c := client(t, url)
	keys := c.Keys(context.Background(), "*r|k*").Val()
	if len(keys) != 1 || c.HGet(context.Background(), keys[0], "g").Val() != "1" {
		t.Errorf("%v = %v, want only what was used charged", keys, c.HGetAll(context.Background(), keys[0]).Val())
	}
	if n := c.ZCard(context.Background(), fleetKey).Val(); n != 0 {
		t.Errorf("%d gates are listed, want none", n)
	}
}

// TestAChangedLimitActsOnTheCountsThatAreThere has a limiter of another limit take over, as
// after a PATCH.
func TestAChangedLimitActsOnTheCountsThatAreThere(t *testing.T) {
	t.Parallel()
	l := open(t, services.Redis(t), nil)
	old := l.Limiter("r", rule(plugin.Year, 3))
	for i := range 4 {
		if d := take(t, old, "k", 1); d.Allowed != (i < 3) {
			t.Fatalf("request %d: %+v", i, d)
		}
	}
	if d := take(t, l.Limiter("r", rule(plugin.Year, 5)), "k", 1); !d.Allowed || d.Remaining[0] != 1 {
		t.Errorf("after the limit rose to 5: %+v, want 1 left", d)
	}
	if d := take(t, l.Limiter("r", rule(plugin.Year, 2)), "k", 1); d.Allowed || d.Remaining[0] != 0 {
		t.Errorf("after the limit fell to 2: %+v, want it refused", d)
	}
	if d := take(t, l.Limiter("r", rule(plugin.Year, 1000)), "k", 1); !d.Allowed {
		t.Errorf("after the limit rose to 1000, which is leased ahead: %+v, want it admitted", d)
	}
}

func TestSeveralAtOnceAndNone(t *testing.T) {
	t.Parallel()
	l := open(t, services.Redis(t), nil).Limiter("r", rule(plugin.Year, 10))
	steps := []struct {
		n, left int64
		allowed bool
	}{{0, 10, true}, {7, 3, true}, {4, 3, false}, {0, 3, true}, {3, 0, true}, {1, 0, false}, {0, 0, true}}
	for i, s := range steps {
		if d := take(t, l, "k", s.n); d.Allowed != s.allowed || d.Remaining[0] != s.left || !d.Counted {
			t.Errorf("step %d: take %d = %+v, want %v with %d left", i, s.n, d, s.allowed, s.left)
		}
	}
	var d plugin.Decision
	if err := l.Take(context.Background, "k", -1, &d); err == nil {
		t.Error("Take(-1) = nil, want an error")
	}
}

// TestLimitsAtTheirEnds has limits of nothing, of one and of 10^12, in windows from a second
// to a year, and identifiers that are empty, huge and hostile.
func TestLimitsAtTheirEnds(t *testing.T) {
	t.Parallel()
	l := open(t, services.Redis(t), nil)
	ids := []string{"", strings.Repeat("x", 1<<20), "a|b:{c}\r\n\x00", "*", "seki:{rl1}:r|k:year:1"}
	for p := plugin.Second; p <= plugin.Year; p++ {
		for _, limit := range []int64{0, 1, 1e12} {
			lim := l.Limiter(fmt.Sprint("r|%", limit), rule(p, limit))
			for _, id := range ids {
				// A short window may end between the two.
				first, again := take(t, lim, id, 1), take(t, lim, id, 1)
				if first.Allowed != (limit > 0) || again.Allowed != (limit > 1) && p > plugin.Minute {
					t.Errorf("%d of %s, identifier of %d bytes: %+v, %+v", limit, periods[p], len(id), first, again)
				}
			}
		}
	}
}

// TestManyQuestionsGoInOneCall asks of many identifiers at once.
func TestManyQuestionsGoInOneCall(t *testing.T) {
	t.Parallel()
	l := open(t, services.Redis(t), nil)
	lim := l.Limiter("r", rule(plugin.Year, 100))
	take(t, lim, "first", 1)
	const n = 3000
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			var d plugin.Decision
			if err := lim.Take(context.Background, strconv.Itoa(i), 1, &d); err != nil || !d.Allowed || d.Remaining[0] != 99 {
				t.Errorf("Take(%d) = %+v, %v", i, d, err)
			}
		})
	}
	wg.Wait()
	s := l.Stats()
	if s.Asks != n+1 || s.Calls > n/4 {
		t.Errorf("%d questions in %d calls, want %d in a fraction of the calls", s.Asks, s.Calls, n+1)
	}
}

// TestAClientThatGoesAwayStopsWaiting gives up while Redis does not answer.
func TestAClientThatGoesAwayStopsWaiting(t *testing.T) {
	t.Parallel()
	url := services.NewRedis(t).URL
	l := open(t, url, nil)
	lim := l.Limiter("r", rule(plugin.Year, 10))
	take(t, lim, "k", 1)
	c := client(t, url)
	if err := c.Do(context.Background(), "CLIENT", "PAUSE", "3000", "ALL").Err(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var d plugin.Decision
	if err := lim.Take(func() context.Context { return ctx }, "k", 1, &d); err == nil || d.Allowed {
		t.Errorf("Take = %+v, %v, want the client's error", d, err)
	}
	if l.Down() {
		t.Error("the store is blamed")
	}
}

// TestGatesLearnOfOneAnother waits for heartbeats.
func TestGatesLearnOfOneAnother(t *testing.T) {
	t.Parallel()
	url := services.Redis(t)
	all := []*Ledger{open(t, url, nil), open(t, url, nil), open(t, url, nil)}
	for i, l := range all {
		take(t, l.Limiter("r", rule(plugin.Year, 10)), strconv.Itoa(i), 1)
	}
	for i, l := range all {
		eventually(t, fmt.Sprintf("gate %d knows three", i), func() bool { return l.Stats().Gates == 3 })
	}
}

// TestIdentifiersAreBounded asks of more than there may be: what is forgotten is counted
// still.
func TestIdentifiersAreBounded(t *testing.T) {
	t.Parallel()
	const most = 500
	url := services.Redis(t)
	l := open(t, url, func(o *Options) { o.MaxKeys = most })
	lim := l.Limiter("r", rule(plugin.Year, 2000))
	for round := range 2 {
		for i := range 4 * most {
			if d := take(t, lim, strconv.Itoa(i), 1); !d.Allowed {
				t.Fatalf("round %d: identifier %d: %+v", round, i, d)
			}
		}
	}
	// A shard that has nothing to forget may have one more.
	if n := l.Stats().Keys; n > most+shards {
		t.Errorf("%d identifiers are known, want at most %d", n, most)
	}
	c := client(t, url)
	eventually(t, "what was held is given back", func() bool {
		n, keys := 0, c.Keys(context.Background(), "*r|*").Val()
		for _, k := range keys {
			if c.HGet(context.Background(), k, "g").Val() == "2" {
				n++
			}
		}
		return len(keys) == 4*most && n >= 3*most
	})
}

// TestAMillionIdentifiersAllocateWithinBounds measures what one takes here, without Redis.
func TestAMillionIdentifiersAllocateWithinBounds(t *testing.T) {
	if testing.Short() || raceDetector {
		t.Skip("measures memory, which -short and the race detector do not leave as it is")
	}
	c := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1})
	l := New(Options{Name: "test", Client: c, Incarnation: "m", Log: slog.New(slog.DiscardHandler), Patience: time.Millisecond})
	lim := l.Limiter("r", rule(plugin.Year, 100))
	before := heap()
	const n = 1_000_000
	for i := range n {
		lim.table.get("identifier-" + strconv.Itoa(i))
	}
	per := (heap() - before) / n
	t.Logf("%d bytes for each identifier", per)
	if per > 700 || l.Stats().Keys != n {
		t.Errorf("%d identifiers take %d bytes each, want at most 700", l.Stats().Keys, per)
	}
	runtime.KeepAlive(lim)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestAReadOnlyReplicaCountsAsAway has a Redis that refuses to write.
func TestAReadOnlyReplicaCountsAsAway(t *testing.T) {
	t.Parallel()
	url := services.NewRedis(t).URL
	c := client(t, url)
	if err := c.Do(context.Background(), "REPLICAOF", "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	l := open(t, url, nil)
	lim := l.Limiter("r", rule(plugin.Year, 3))
	for i := range 5 {
		if d := take(t, lim, "k", 1); d.Allowed != (i < 3) {
			t.Errorf("request %d: %+v, want the share of one gate", i, d)
		}
	}
	if s := l.Stats(); s.Admitted != 3 || s.Outages == 0 {
		t.Errorf("Stats = %+v, want 3 admitted in outages", s)
	}
}

// TestCountsAreShownAndSetBack by an operator, while gates have used and hold some.
func TestCountsAreShownAndSetBack(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	url := services.Redis(t)
	one, two := open(t, url, nil), open(t, url, nil)
	long := strings.Repeat("x", 500)
	a, b := one.Limiter("r", rule(plugin.Year, 5)), two.Limiter("r", rule(plugin.Year, 5))
	for range 2 {
		take(t, a, long, 1)
		take(t, b, long, 1)
	}
	if used, err := two.Usage(ctx, "r", long); err != nil || used[plugin.Year] != 4 || used[plugin.Day] != 0 {
		t.Errorf("Usage = %v, %v, want 4 of the year", used, err)
	}
	if n, err := two.Reset(ctx, "r", long, "order"); err != nil || n != 1 {
		t.Fatalf("Reset = %d, %v, want one window", n, err)
	}
	if used, err := two.Usage(ctx, "r", long); err != nil || used[plugin.Year] != 0 {
		t.Errorf("Usage after = %v, %v, want none", used, err)
	}
	admitted := 0
	for range 6 {
		for _, l := range []*Limiter{a, b} {
			if take(t, l, long, 1).Allowed {
				admitted++
			}
		}
	}
	if admitted != 5 {
		t.Errorf("admitted %d after the count was set back, want 5", admitted)
	}
	if n, err := one.Reset(ctx, "r", "nobody", "order"); err != nil || n != 0 {
		t.Errorf("Reset of nobody = %d, %v", n, err)
	}
}

// TestAResetIsHeardAtOnce has gates refuse without asking, by clocks on which the time until they
// would ask again does not come.
func TestAResetIsHeardAtOnce(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	url := services.Redis(t)
	start := time.Now()
	slow := func(o *Options) { o.Now = func() int64 { return int64(time.Since(start)) / 1000 } }
	var gates []*Ledger
	var limiters []*Limiter
	for range 3 {
		gates = append(gates, open(t, url, slow))
		limiters = append(limiters, gates[len(gates)-1].Limiter("r", rule(plugin.Year, 5)))
	}
	admitted := func() (n int) {
		for range 10 {
			for _, l := range limiters {
				if take(t, l, "k", 1).Allowed {
					n++
				}
			}
		}
		return n
	}
	eventually(t, "gates hear one another", func() bool {
		n, err := gates[0].o.Client.PubSubNumSub(ctx, gates[0].channel).Result()
		return err == nil && n[gates[0].channel] >= 3
	})
	if n := admitted(); n != 5 {
		t.Fatalf("admitted %d of 5", n)
	}
	asked := gates[1].Stats().Asks
	admitted()
	if n := gates[1].Stats().Asks; n != asked {
		t.Fatalf("gates that know that nothing is left asked %d times", n-asked)
	}
	for _, g := range gates { // each node is told of the order
		if _, err := g.Reset(ctx, "r", "k", "order 1"); err != nil {
			t.Fatal(err)
		}
	}
	total := 0
	eventually(t, "all gates admit again", func() bool { total += admitted(); return total >= 5 })
	for range 3 {
		total += admitted()
	}
	if total != 5 {
		t.Errorf("admitted %d after the count was set back, want 5", total)
	}
	if _, err := gates[0].Reset(ctx, "r", "k", "order 1"); err != nil || admitted() != 0 {
		t.Errorf("the same order acts twice: %v", err)
	}
	if _, err := gates[0].Reset(ctx, "r", "k", "order 2"); err != nil {
		t.Error(err)
	}
	eventually(t, "another order is heard elsewhere", func() bool { return take(t, limiters[2], "k", 1).Allowed })
}

// TestReservationsAreSettled reserves at two gates more than is used, and less.
func TestReservationsAreSettled(t *testing.T) {
	t.Parallel()
	url := services.Redis(t)
	one, two := open(t, url, nil), open(t, url, nil)
	a, b := one.Limiter("r", rule(plugin.Year, 100)), two.Limiter("r", rule(plugin.Year, 100))
	reserve := func(l *Limiter, n int64) plugin.Reservation {
		var d plugin.Decision
		r, err := l.Reserve(context.Background, "k", n, &d)
		if err != nil || (r != nil) != d.Allowed {
			t.Fatalf("Reserve(%d) = %v, %v, %+v", n, r, err, d)
		}
		return r
	}
	first := reserve(a, 60)
	if first == nil || reserve(b, 60) != nil {
		t.Fatal("of 100, 60 are reserved once and not twice")
	}
	first.Settle(10)
	first.Settle(0) // counts only once
	used := func() int64 {
		n, err := two.Usage(context.Background(), "r", "k")
		if err != nil {
			t.Fatal(err)
		}
		return n[plugin.Year]
	}
	eventually(t, "what was not used is given back", func() bool { return used() == 10 })
	var second plugin.Reservation
	eventually(t, "the other gate has 60", func() bool { second = reserve(b, 60); return second != nil })
	second.Settle(95)
	eventually(t, "what was used above the estimate is charged", func() bool { return used() == 105 })
	if d := take(t, a, "k", 1); d.Allowed {
		t.Errorf("above the limit: %+v, want it refused", d)
	}
	var d plugin.Decision
	if r, err := a.Reserve(context.Background, "k", 0, &d); r != nil || err == nil {
		t.Error("Reserve(0) = nil, want an error")
	}
}
