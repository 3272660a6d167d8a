package limits

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

// desk is a backend in memory with a clock of its own. It counts as the script does.
type desk struct {
	clock func() time.Time

	mu     sync.Mutex
	counts map[string]int64
	calls  int
	fail   error
}

func newDesk(clock func() time.Time) *desk { return &desk{clock: clock, counts: map[string]int64{}} }

func (b *desk) Charge(_ context.Context, c *charge) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	if b.fail != nil {
		return b.fail
	}
	c.now, c.granted = b.clock(), true
	for i, w := range c.windows {
		if c.now.Before(w.start) || !c.now.Before(w.end) {
			return errMoved
		}
		c.used[i] = b.counts[c.key+w.name+w.start.String()]
		c.granted = c.granted && c.used[i]+c.n <= w.limit
	}
	if c.granted {
		for _, w := range c.windows {
			b.counts[c.key+w.name+w.start.String()] += c.n
		}
	}
	return nil
}

func (b *desk) Ping(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fail
}

func (b *desk) Close() error { return nil }

func (b *desk) breaks(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = err
}

func (b *desk) asked() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls
}

func shared(limit int64) plugin.Rule {
	r := minute(limit)
	r.Redis = &plugin.Redis{}
	return r
}

func node(b backend, c *clock) *store {
	return newStore("test", b, c.now, slog.New(slog.DiscardHandler))
}

func TestTwoNodesShareWhatThereIs(t *testing.T) {
	t.Parallel()
	c := newClock(dawn)
	b := newDesk(c.now)
	one, two := newRemote(node(b, c), shared(3)), newRemote(node(b, c), shared(3))
	for i, l := range []*remote{one, two, one} {
		if d := take(t, l, "a"); !d.Allowed || d.Remaining[0] != int64(2-i) {
			t.Errorf("take %d = %+v, want %d left", i, d, 2-i)
		}
	}
	for _, l := range []*remote{one, two} {
		if d := take(t, l, "a"); d.Allowed || d.Remaining[0] != 0 {
			t.Errorf("fourth = %+v, want it refused", d)
		}
	}
}

func TestRefusingCostsNoCallUntilTheWindowEnds(t *testing.T) {
	t.Parallel()
	c := newClock(dawn)
	b := newDesk(c.now)
	s := node(b, c)
	rule := shared(1)
	rule.Windows = append(rule.Windows, plugin.Window{Period: plugin.Hour, Limit: 10})
	l := newRemote(s, rule)
	take(t, l, "a")
	first := take(t, l, "a")
	before := b.asked()
	for range 100 {
		if d := take(t, l, "a"); d.Allowed || !d.Counted || d.Stop != first.Stop || d.Remaining != first.Remaining {
			t.Fatalf("refusal = %+v, want it as the first, %+v", d, first)
		}
	}
	if got := b.asked(); got != before {
		t.Errorf("100 refusals made %d calls, want none", got-before)
	}
	if take(t, l, "b"); b.asked() == before {
		t.Error("another identifier was not asked for")
	}
	c.advance(maxHold)
	before = b.asked()
	if take(t, l, "a"); b.asked() != before+1 {
		t.Error("a refusal is believed for longer than maxHold")
	}
	c.advance(10 * time.Second)
	if d := take(t, l, "a"); !d.Allowed {
		t.Errorf("the next minute = %+v, want it admitted", d)
	}
}

// TestARememberedRefusalTellsShorterWindowsToo has a second end while the minute is spent.
func TestARememberedRefusalTellsShorterWindowsToo(t *testing.T) {
	t.Parallel()
	c := newClock(dawn)
	b := newDesk(c.now)
	rule := shared(3)
	rule.Windows = append([]plugin.Window{{Period: plugin.Second, Limit: 5}}, rule.Windows...)
	l := newRemote(node(b, c), rule)
	for range 4 {
		take(t, l, "a")
	}
	before := b.asked()
	if d := take(t, l, "a"); d.Remaining != [6]int64{2, 0} {
		t.Errorf("in the same second: %+v, want 2 and 0 left", d)
	}
	c.advance(time.Second)
	if d := take(t, l, "a"); d.Allowed || d.Stop != 1 || d.Remaining != [6]int64{5, 0} {
		t.Errorf("in the next second: %+v, want 5 and 0 left", d)
	}
	if b.asked() != before {
		t.Error("the store was asked")
	}
}

func TestAnErrorThatTheStoreAnsweredDoesNotCloseIt(t *testing.T) {
	t.Parallel()
	c := newClock(dawn)
	b := newDesk(c.now)
	var log plugintest.Log
	s := newStore("test", b, c.now, slog.New(slog.NewTextHandler(&log, nil)))
	rule := shared(5)
	rule.FaultTolerant = true
	l := newRemote(s, rule)
	b.breaks(fmt.Errorf("%w: OOM", errAnswered))
	const many = 10 * failures
	for range many {
		if d := take(t, l, "a"); !d.Allowed || d.Counted {
			t.Fatalf("Take = %+v, want it admitted uncounted", d)
		}
	}
	if b.asked() != many || s.breaker.isOpen() {
		t.Errorf("asked %d of %d times, open: %v", b.asked(), many, s.breaker.isOpen())
	}
	if got := strings.Count(log.String(), "OOM"); got != 1 {
		t.Errorf("logged %d times, want once:\n%s", got, log.String())
	}
	c.advance(complainEvery)
	take(t, l, "a")
	if got := strings.Count(log.String(), "OOM"); got != 2 {
		t.Errorf("logged %d times after %v, want twice", got, complainEvery)
	}
}

func TestAnAbsentStoreIsLoggedOnceAndItsReturnToo(t *testing.T) {
	t.Parallel()
	c := newClock(dawn)
	b := newDesk(c.now)
	var log plugintest.Log
	s := newStore("test", b, c.now, slog.New(slog.NewTextHandler(&log, nil)))
	rule := shared(5)
	rule.FaultTolerant = true
	l := newRemote(s, rule)
	b.breaks(errors.New("gone"))
	for range 10 {
		take(t, l, "a")
		s.probe(context.Background())
	}
	b.breaks(nil)
	s.probe(context.Background())
	for _, line := range []string{"does not answer", "answers again"} {
		if got := strings.Count(log.String(), line); got != 1 {
			t.Errorf("%q was logged %d times, want once:\n%s", line, got, log.String())
		}
	}
}

func TestAHigherLimitIsAskedForAgain(t *testing.T) {
	t.Parallel()
	c := newClock(dawn)
	s := node(newDesk(c.now), c)
	old := newRemote(s, shared(1))
	take(t, old, "a")
	if take(t, old, "a").Allowed {
		t.Fatal("the second of one was admitted")
	}
	if d := take(t, newRemote(s, shared(3)), "a"); !d.Allowed || d.Remaining[0] != 1 {
		t.Errorf("after the limit rose to 3: %+v, want 1 left", d)
	}
}

// TestTheStoresClockRules has a node whose own clock is an hour off.
func TestTheStoresClockRules(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{-time.Hour, -20 * time.Second, 50 * time.Second, time.Hour} {
		theirs, ours := newClock(dawn), newClock(dawn.Add(off))
		b := newDesk(theirs.now)
		l := newRemote(node(b, ours), shared(2))
		for range 2 {
			if d := take(t, l, "a"); !d.Allowed || !d.Now.Equal(dawn) {
				t.Errorf("off by %v: %+v, want it admitted by the store's clock", off, d)
			}
		}
		if take(t, l, "a").Allowed {
			t.Errorf("off by %v: the third of two was admitted", off)
		}
		theirs.advance(40 * time.Second)
		ours.advance(40 * time.Second)
		if d := take(t, l, "a"); !d.Allowed {
			t.Errorf("off by %v: the next minute = %+v, want it admitted", off, d)
		}
	}
}

func TestAStoreThatIsAwayIsNotAskedAgain(t *testing.T) {
	t.Parallel()
	for _, tolerant := range []bool{true, false} {
		c := newClock(dawn)
		b := newDesk(c.now)
		s := node(b, c)
		rule := shared(1)
		rule.FaultTolerant = tolerant
		l := newRemote(s, rule)
		b.breaks(errors.New("gone"))
		for range 10 {
			var d plugin.Decision
			err := l.Take(context.Background, "a", 1, &d)
			if d.Allowed != tolerant || d.Counted || (err == nil) != tolerant {
				t.Fatalf("tolerant %v: %+v, %v", tolerant, d, err)
			}
		}
		if got := b.asked(); got != failures {
			t.Errorf("asked %d times, want %d", got, failures)
		}
		s.probe(context.Background())
		c.advance(cooldown - time.Millisecond)
		b.breaks(nil)
		var d plugin.Decision
		if _ = l.Take(context.Background, "a", 1, &d); d.Counted {
			t.Error("the breaker closed by itself")
		}
		s.probe(context.Background())
		if d := take(t, l, "a"); !d.Allowed || !d.Counted {
			t.Errorf("after the probe: %+v, want it counted", d)
		}
	}
}

func TestAFailureNowAndThenIsNoOutage(t *testing.T) {
	t.Parallel()
	c := newClock(dawn)
	b := newDesk(c.now)
	s := node(b, c)
	rule := shared(1000)
	rule.FaultTolerant = true
	l := newRemote(s, rule)
	for range 10 {
		b.breaks(errors.New("gone"))
		for range failures - 1 {
			take(t, l, "a")
		}
		b.breaks(nil)
		if d := take(t, l, "a"); !d.Counted {
			t.Fatalf("Take = %+v, want it counted", d)
		}
	}
	if s.breaker.isOpen() {
		t.Error("the breaker opened")
	}
}

func TestWithoutAProbeOneRequestTries(t *testing.T) {
	t.Parallel()
	c := newClock(dawn)
	b := newDesk(c.now)
	rule := shared(5)
	rule.FaultTolerant = true
	l := newRemote(node(b, c), rule)
	b.breaks(errors.New("gone"))
	for range 10 {
		take(t, l, "a")
	}
	c.advance(cooldown)
	before := b.asked()
	for range 10 {
		take(t, l, "a")
	}
	if got := b.asked() - before; got != 1 {
		t.Errorf("asked %d times after the cooldown, want once", got)
	}
	b.breaks(nil)
	c.advance(cooldown)
	if d := take(t, l, "a"); !d.Counted {
		t.Errorf("after the store came back: %+v, want it counted", d)
	}
}

func TestAClientThatGoesAwayDoesNotBlameTheStore(t *testing.T) {
	t.Parallel()
	c := newClock(dawn)
	b := newDesk(c.now)
	s := node(b, c)
	b.breaks(context.Canceled)
	l := newRemote(s, shared(1))
	for range 2 * failures {
		var d plugin.Decision
		if err := l.Take(context.Background, "a", 1, &d); err == nil {
			t.Fatal("Take = nil, want the error")
		}
	}
	if s.breaker.isOpen() {
		t.Error("the breaker opened")
	}
}

func TestRefusalsAreBoundedAndSwept(t *testing.T) {
	t.Parallel()
	c := newClock(dawn)
	s := newSpent()
	windows := []plugin.Window{{Period: plugin.Minute, Limit: 1}}
	start, end := bounds(plugin.Minute, dawn)
	for i := range 2 * maxSpent {
		ch := &charge{key: strings.Repeat("k", i%7) + time.Duration(i).String(), now: dawn, windows: []span{{"minute", 1, start, end}}}
		ch.used[0] = 1
		s.note(windows, ch, 0)
	}
	count := func() (n int) {
		for i := range s.shards {
			n += len(s.shards[i].refusals)
		}
		return n
	}
	if got := count(); got > maxSpent || got < maxSpent/2 {
		t.Errorf("%d refusals are kept, want at most %d", got, maxSpent)
	}
	c.advance(time.Minute)
	s.sweep(c.now())
	if got := count(); got != 0 {
		t.Errorf("%d refusals are kept past their window, want none", got)
	}
}

func TestARefusalDoesNotAllocate(t *testing.T) {
	c := newClock(dawn)
	l := newRemote(node(newDesk(c.now), c), shared(1))
	take(t, l, "a")
	take(t, l, "a")
	var d plugin.Decision
	if n := testing.AllocsPerRun(100, func() { _ = l.Take(context.Background, "a", 1, &d) }); n != 0 {
		t.Errorf("Take allocates %v times, want 0", n)
	}
}

func FuzzKeysKeepTheirHashTag(f *testing.F) {
	f.Add("ratelimit:a:b", "192.0.2.1")
	f.Add("r", "}{")
	f.Add("r", strings.Repeat("x", 300))
	f.Fuzz(func(t *testing.T, rule, identifier string) {
		key := string(appendTag(nil, rule, identifier))
		if strings.ContainsAny(key, "{}") || len(key) > 2*maxIdentifier+1 {
			t.Errorf("appendTag(%q, %q) = %q", rule, identifier, key)
		}
	})
}
