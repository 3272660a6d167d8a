//go:build unix

package limits

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/limits/lease"
	"github.com/sekifuda/sekifuda/dataplane/limits/ledger"
	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/test/services"
)

func slotsOf(t testing.TB, l *Limits, r plugin.SlotRule) plugin.Slots {
	t.Helper()
	if r.ID == "" {
		r.ID = "r"
	}
	s, err := l.Slots(r)
	if err != nil {
		t.Fatalf("Slots(%+v): %v", r, err)
	}
	return s
}

func acquire(t testing.TB, s plugin.Slots, identifier string) (plugin.Slot, plugin.SlotDecision) {
	t.Helper()
	var d plugin.SlotDecision
	slot, err := s.Acquire(context.Background, identifier, &d)
	if err != nil || (slot != nil) != d.Allowed {
		t.Fatalf("Acquire(%q) = %v, %v, %+v", identifier, slot, err, d)
	}
	return slot, d
}

func TestSlotsHere(t *testing.T) {
	t.Parallel()
	all := build(t, Options{})
	s := slotsOf(t, all, plugin.SlotRule{Limit: 2})
	one, d := acquire(t, s, "a")
	if !d.Counted || d.Left != 1 || d.Mode != "local" {
		t.Errorf("first: %+v", d)
	}
	acquire(t, s, "a")
	if _, d := acquire(t, s, "a"); d.Allowed || d.Waited || d.Left != 0 {
		t.Errorf("third of two: %+v", d)
	}
	if slot, _ := acquire(t, s, "b"); slot == nil {
		t.Error("another identifier is refused")
	}
	if slot, _ := acquire(t, slotsOf(t, all, plugin.SlotRule{ID: "other", Limit: 2}), "a"); slot == nil {
		t.Error("another rule is refused")
	}
	one.Release()
	if _, d := acquire(t, slotsOf(t, all, plugin.SlotRule{Limit: 1}), "a"); d.Allowed {
		t.Error("one runs and the limit fell to 1: admitted")
	}
	if _, d := acquire(t, slotsOf(t, all, plugin.SlotRule{Limit: 3}), "a"); !d.Allowed || d.Left != 1 {
		t.Errorf("one runs and the limit rose to 3: %+v", d)
	}
	for _, bad := range []plugin.SlotRule{{Limit: -1}, {Limit: maxLimit + 1}, {Limit: 1, Queue: -1}, {Limit: 1, Patience: -1}} {
		if _, err := all.Slots(bad); err == nil {
			t.Errorf("Slots(%+v) = nil, want an error", bad)
		}
	}
	if _, d := acquire(t, slotsOf(t, all, plugin.SlotRule{ID: "none"}), "a"); d.Allowed {
		t.Error("a limit of 0 admits")
	}
}

func TestSlotsAreWaitedFor(t *testing.T) {
	t.Parallel()
	for name, r := range stores(t) {
		s := slotsOf(t, build(t, Options{}), plugin.SlotRule{Limit: 1, Queue: 1, Patience: time.Minute, Redis: r})
		slot, _ := acquire(t, s, "a")
		begun, done := make(chan struct{}), make(chan plugin.SlotDecision)
		go func() {
			var d plugin.SlotDecision
			_, _ = s.Acquire(func() context.Context { close(begun); return context.Background() }, "a", &d)
			done <- d
		}()
		<-begun // it waits: the context is asked for then
		if _, d := acquire(t, s, "a"); d.Allowed {
			t.Errorf("%s: one above the queue is admitted", name)
		}
		slot.Release()
		if d := <-done; !d.Allowed || !d.Waited {
			t.Errorf("%s: after the release %+v", name, d)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		var d plugin.SlotDecision
		if slot, err := s.Acquire(func() context.Context { return ctx }, "a", &d); slot != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: a client that went away: %v, %v", name, slot, err)
		}
		short := slotsOf(t, build(t, Options{}), plugin.SlotRule{Limit: 0, Queue: 1, Patience: time.Millisecond, Redis: r})
		if _, d := acquire(t, short, "b"); d.Allowed || !d.Waited {
			t.Errorf("%s: out of patience: %+v", name, d)
		}
	}
}

// stores are where slots can be: here, and in a Redis.
func stores(t *testing.T) map[string]*plugin.Redis {
	r := empty(t)
	return map[string]*plugin.Redis{"local": nil, "redis": &r}
}

// TestSlotsAreExact has many start and end at three gates, and counts what runs.
func TestSlotsAreExact(t *testing.T) {
	t.Parallel()
	for name, r := range stores(t) {
		for _, limit := range []int64{5, 250} {
			const gates, workers, each = 3, 100, 20
			var running, most, started atomic.Int64
			var wg sync.WaitGroup
			begin := make(chan struct{}) // all at once
			shared := build(t, Options{})
			for range gates {
				all := shared
				if r != nil {
					all = build(t, Options{})
				}
				s := slotsOf(t, all, plugin.SlotRule{Limit: limit, Queue: gates * workers, Patience: time.Minute, Redis: r})
				for range workers {
					wg.Go(func() {
						<-begin
						for range each {
							var d plugin.SlotDecision
							slot, err := s.Acquire(context.Background, "a", &d)
							if err != nil || slot == nil {
								t.Errorf("%s: Acquire = %v, %+v", name, err, d)
								return
							}
							started.Add(1)
							n := running.Add(1)
							for {
								m := most.Load()
								if n <= m || most.CompareAndSwap(m, n) {
									break
								}
							}
							runtime.Gosched()
							running.Add(-1)
							slot.Release()
						}
					})
				}
			}
			close(begin)
			wg.Wait()
			if started.Load() != gates*workers*each || most.Load() > limit {
				t.Errorf("%s: %d started, %d at once, want %d and at most %d", name, started.Load(), most.Load(), gates*workers*each, limit)
			}
		}
	}
}

// TestSlotsOfADeadGateComeBack never hears of a gate again that took all.
func TestSlotsOfADeadGateComeBack(t *testing.T) {
	t.Parallel()
	r := empty(t)
	c := connect(t, r)
	rule := plugin.SlotRule{Limit: 2, Redis: &r, Queue: 1, Patience: time.Minute}
	// A gate that took both and says nothing more: its line in Redis is all there is of it.
	s := slotsOf(t, build(t, Options{}), rule)
	slot, _ := acquire(t, s, "a")
	keys := c.Keys(context.Background(), "seki:*:slots").Val()
	if len(keys) != 1 {
		t.Fatalf("keys = %v", keys)
	}
	now := c.Time(context.Background()).Val().UnixMicro()
	if err := c.HSet(context.Background(), keys[0], "dead.1", fmt.Sprintf("1 1 %d", now)).Err(); err != nil {
		t.Fatal(err)
	}
	if ttl := c.PTTL(context.Background(), keys[0]).Val(); ttl <= 3*time.Second || ttl > time.Minute {
		t.Errorf("slots live for %v", ttl)
	}
	_, d := acquire(t, s, "a")
	if !d.Allowed || !d.Waited {
		t.Errorf("after the dead gate's time: %+v", d)
	}
	if since := time.Duration(c.Time(context.Background()).Val().UnixMicro()-now) * time.Microsecond; since < 3*time.Second {
		t.Errorf("its slot was given after %v", since)
	}
	slot.Release()
}

func TestSlotsInAnOutage(t *testing.T) {
	t.Parallel()
	server := services.NewRedis(t)
	r := read(t, server.URL)
	all := build(t, Options{Patience: 200 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	run(t, all)
	tolerant := slotsOf(t, all, plugin.SlotRule{Limit: 2, Redis: &r})
	strict := slotsOf(t, all, plugin.SlotRule{ID: "strict", Limit: 2, Redis: &r, Outage: plugin.Closed})
	first, d := acquire(t, tolerant, "a")
	if d.Mode != "shared" || !d.Counted {
		t.Errorf("first: %+v", d)
	}
	server.Kill(t)
	for i := range 3 {
		if _, d := acquire(t, tolerant, "a"); d.Allowed != (i == 0) || d.Mode != "equal_share" {
			t.Errorf("request %d of the outage: %+v, want the share of the only gate", i, d)
		}
	}
	if slot, err := strict.Acquire(context.Background, "a", &d); slot != nil || !errors.Is(err, ledger.ErrAway) || d.Counted {
		t.Errorf("strict: %v, %v, %+v", slot, err, d)
	}
	first.Release()
	server.Start(t)
	eventually(t, "Redis is used again", func() bool { return !all.Stats()[0].Down })
	// What was started in the outage counts where slots are kept.
	_, d = acquire(t, tolerant, "a")
	if _, last := acquire(t, tolerant, "a"); !d.Allowed || last.Allowed || last.Mode != "shared" {
		t.Errorf("after the outage: %+v, then %+v", d, last)
	}
}

func TestSlotsThatAreNoHash(t *testing.T) {
	t.Parallel()
	r := empty(t)
	c := connect(t, r)
	all := build(t, Options{Logger: slog.New(slog.DiscardHandler)})
	s := slotsOf(t, all, plugin.SlotRule{Limit: 1, Redis: &r})
	slot, _ := acquire(t, s, "a")
	slot.Release()
	key := c.Keys(context.Background(), "seki:*:slots").Val()[0]
	c.Del(context.Background(), key)
	if err := c.Set(context.Background(), key, "many", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if _, d := acquire(t, s, "a"); !d.Allowed || d.Mode != "equal_share" {
		t.Errorf("Acquire = %+v, want this gate's share", d)
	}
	if _, d := acquire(t, s, "b"); !d.Allowed || d.Mode != "shared" {
		t.Errorf("another identifier: %+v", d)
	}
}

func TestSlotsAreShownAndLetGo(t *testing.T) {
	t.Parallel()
	for name, r := range stores(t) {
		all := build(t, Options{MaxKeys: 1})
		rule := plugin.SlotRule{ID: "r", Limit: 2, Redis: r}
		s := slotsOf(t, all, rule)
		one, _ := acquire(t, s, "a")
		two, _ := acquire(t, s, "b")
		for who, want := range map[string]int{"": 2, "b": 1, "nobody": 1} {
			uses, err := all.SlotUsage(context.Background(), rule, who, 10)
			if err != nil || len(uses) != want || who == "b" && uses[0] != (SlotUse{"r", "b", 2, 1, r != nil}) {
				t.Errorf("%s: SlotUsage(%q) = %+v, %v", name, who, uses, err)
			}
		}
		one.Release()
		two.Release()
		p := all.placesOf(r)
		if p.used.Load() != 2 {
			t.Errorf("%s: %d identifiers, want those that run though only one is kept", name, p.used.Load())
		}
		eventually(t, "what does not run is let go of", func() bool { all.sweepSlots(); return p.used.Load() == 0 })
	}
}

// TestAnOlderWordDoesNotPutOffATimer has what one call said be done after a later one.
func TestAnOlderWordDoesNotPutOffATimer(t *testing.T) {
	t.Parallel()
	all := build(t, Options{})
	s := slotsOf(t, all, plugin.SlotRule{ID: "r", Queue: 1, Patience: 300 * time.Millisecond})
	begun, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		var d plugin.SlotDecision
		if _, err := s.Acquire(func() context.Context { close(begun); return context.Background() }, "a", &d); err != nil || d.Allowed {
			t.Errorf("Acquire of none: %+v, %v", d, err)
		}
	}()
	<-begun
	p := all.placesOf(nil).get(key{"r", "a"})
	p.do(&lease.SlotOut{Wake: p.in.now() + int64(time.Hour)})
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Error("who waits is not told when its time is over")
	}
}

func TestASlotDoesNotAllocate(t *testing.T) {
	s := slotsOf(t, build(t, Options{}), plugin.SlotRule{Limit: 2})
	acquire(t, s, "a")
	var d plugin.SlotDecision
	n := testing.AllocsPerRun(100, func() {
		slot, _ := s.Acquire(context.Background, "a", &d)
		slot.Release()
	})
	if n != 0 {
		t.Errorf("Acquire and Release allocate %v times, want 0", n)
	}
}

func BenchmarkSlot(b *testing.B) {
	s := slotsOf(b, build(b, Options{}), plugin.SlotRule{Limit: 1 << 20})
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		var d plugin.SlotDecision
		for p.Next() {
			slot, _ := s.Acquire(context.Background, "a", &d)
			slot.Release()
		}
	})
}

// TestSlotsOfALivingGateAreItsOwn waits for longer than slots live without a word.
func TestSlotsOfALivingGateAreItsOwn(t *testing.T) {
	t.Parallel()
	r := empty(t)
	rule := plugin.SlotRule{Limit: 2, Redis: &r, Queue: 1, Patience: 4 * time.Second}
	one, two := slotsOf(t, build(t, Options{}), rule), slotsOf(t, build(t, Options{}), rule)
	acquire(t, one, "a")
	acquire(t, two, "a")
	if _, d := acquire(t, one, "a"); d.Allowed || !d.Waited {
		t.Errorf("a third of two: %+v", d)
	}
}
