package lease_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/limits/lease"
	"github.com/sekifuda/sekifuda/plugin"
)

// TestSlotsAreNeverTwice runs gates that start and end requests over a network that loses,
// doubles and delays, with gates that are cut off and crash.
func TestSlotsAreNeverTwice(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		w := newSlotWorld(seed)
		for range 4000 {
			w.step()
			if w.running() > w.limit+w.excused() {
				t.Fatalf("seed %d: %d run, want at most %d and %d at gates that were cut off", seed, w.running(), w.limit, w.excused())
			}
		}
		if w.started < 100 {
			t.Errorf("seed %d: %d started: that shows little", seed, w.started)
		}
	}
}

// slotDesk answers questions at once, unless it is down.
type slotDesk struct {
	a    lease.SlotAuthority
	asks int
}

func (d *slotDesk) do(now int64, g *lease.Slots, out *lease.SlotOut) (done []*lease.SlotWaiter) {
	for {
		done = append(done, out.Done...)
		q := out.Ask
		if q == nil {
			return done
		}
		d.asks++
		ans := d.a.Serve(now/1000, q)
		*out = lease.SlotOut{}
		g.Reply(now, &ans, out)
	}
}

// acquire asks for a slot until a time; the waiter is undecided while it waits.
func (d *slotDesk) acquire(now int64, g *lease.Slots, r *lease.SlotRule, until int64) *lease.SlotWaiter {
	w := &lease.SlotWaiter{Until: until}
	if left, ok := g.Take(now, r); ok {
		w.Verdict, w.Left = lease.Admit, left
		return w
	}
	var out lease.SlotOut
	g.Join(now, r, w, &out)
	d.do(now, g, &out)
	return w
}

func (d *slotDesk) release(now int64, g *lease.Slots) []*lease.SlotWaiter {
	var out lease.SlotOut
	g.Release(now, &out)
	return d.do(now, g, &out)
}

func (d *slotDesk) tick(now int64, g *lease.Slots) []*lease.SlotWaiter {
	var out lease.SlotOut
	g.Tick(now, &out)
	return d.do(now, g, &out)
}

func slotRule(limit, exactUpTo int64) *lease.SlotRule {
	return &lease.SlotRule{Limit: limit, Queue: 100, ExactUpTo: exactUpTo}
}

// TestSlotsAreUsedWhole has one gate use all that another left, at once where none is kept idle.
func TestSlotsAreUsedWhole(t *testing.T) {
	t.Parallel()
	for _, exactUpTo := range []int64{0, 200} {
		d, r := &slotDesk{}, slotRule(5, exactUpTo)
		one, two := lease.NewSlots(node(t), "k"), lease.NewSlots(node(t), "k")
		for i := range 6 {
			w := d.acquire(dawn, one, r, 0)
			if (w.Verdict == lease.Admit) != (i < 5) || w.Verdict == lease.Admit && w.Left != int64(4-i) {
				t.Errorf("slot %d of 5: %+v", i, w)
			}
		}
		if d.acquire(dawn, two, r, 0).Verdict != lease.Refuse {
			t.Error("a sixth of five slots")
		}
		d.release(dawn, one)
		d.release(dawn, one)
		now := dawn
		if exactUpTo == 0 {
			for range 2 { // the first says what was used since the last, the second what is idle
				now += s
				d.tick(now, one)
			}
		}
		for i := range 3 {
			if w := d.acquire(now, two, r, 0); (w.Verdict == lease.Admit) != (i < 2) {
				t.Errorf("slot %d of the 2 given back: %+v", i, w)
			}
		}
		// A gate that is gone holds its slots for three seconds.
		for at := now; at < now+5*s; at += s / 2 {
			d.tick(at, two)
			if w := d.acquire(at, two, r, 0); (w.Verdict == lease.Admit) != (at > now+3*s) {
				t.Errorf("%v after the other gate was last heard of: %+v", time.Duration(at-now), w)
			} else if w.Verdict == lease.Admit {
				d.release(at, two)
			}
		}
	}
}

// TestWhatRunsCountsInAnyCase has a gate come back that was given up while it ran all there is.
func TestWhatRunsCountsInAnyCase(t *testing.T) {
	t.Parallel()
	d, r := &slotDesk{}, slotRule(2, 200)
	one, two := lease.NewSlots(node(t), "k"), lease.NewSlots(node(t), "k")
	now := dawn
	for _, g := range []*lease.Slots{one, one, two, two} {
		if g == two {
			now = dawn + 4*s
		}
		if w := d.acquire(now, g, r, 0); w.Verdict != lease.Admit {
			t.Fatalf("%+v", w)
		}
	}
	d.tick(now, one)
	d.release(now, two)
	d.release(now, two)
	if w := d.acquire(now, two, r, 0); w.Verdict != lease.Refuse {
		t.Errorf("beside two that run elsewhere: %+v", w)
	}
	d.release(now, one)
	if w := d.acquire(now, two, r, 0); w.Verdict != lease.Admit || w.Left != 0 {
		t.Errorf("beside one: %+v", w)
	}
}

// TestWhoWaitsIsServedInOrder has requests wait for slots of their own gate and of another.
func TestWhoWaitsIsServedInOrder(t *testing.T) {
	t.Parallel()
	d, r := &slotDesk{}, &lease.SlotRule{Limit: 1, Queue: 2, ExactUpTo: 200}
	one, two := lease.NewSlots(node(t), "k"), lease.NewSlots(node(t), "k")
	d.acquire(dawn, one, r, 0)
	first, second := d.acquire(dawn, one, r, dawn+9*s), d.acquire(dawn, one, r, dawn+s)
	other := d.acquire(dawn, two, r, dawn+9*s)
	if w := d.acquire(dawn, one, r, dawn+9*s); w.Verdict != lease.Refuse {
		t.Errorf("a third in a queue of two: %+v", w)
	}
	if w := d.acquire(dawn, one, r, 0); w.Verdict != lease.Refuse {
		t.Errorf("one that does not wait: %+v", w)
	}
	if done := d.release(dawn, one); len(done) != 1 || done[0] != first || first.Verdict != lease.Admit {
		t.Errorf("after a release %v are decided, want the first admitted", done)
	}
	if done := d.tick(dawn+s, one); len(done) != 1 || done[0] != second || second.Verdict != lease.Refuse {
		t.Errorf("at its time %v are decided, want the second refused", done)
	}
	d.release(dawn+s, one)
	if done := d.tick(dawn+s+100*ms, two); len(done) != 1 || done[0] != other || other.Verdict != lease.Admit {
		t.Errorf("after a release elsewhere %v are decided, want the other gate's admitted", done)
	}
	gone := d.acquire(dawn+2*s, one, r, dawn+9*s)
	if !one.Leave(gone) || one.Leave(gone) {
		t.Error("who waits can leave once")
	}
}

func TestSlotsOfOneGateNeedNobody(t *testing.T) {
	t.Parallel()
	d, r := &slotDesk{}, &lease.SlotRule{Limit: 2, Queue: 1}
	g := lease.NewSlots(nil, "k")
	d.acquire(dawn, g, r, 0)
	if w := d.acquire(dawn, g, r, 0); w.Verdict != lease.Admit || w.Left != 0 {
		t.Errorf("the second of two: %+v", w)
	}
	if w := d.acquire(dawn, g, r, 0); w.Verdict != lease.Refuse {
		t.Errorf("the third of two: %+v", w)
	}
	waits := d.acquire(dawn, g, r, dawn+s)
	if done := d.release(dawn, g); len(done) != 1 || waits.Verdict != lease.Admit || waits.Left != 0 {
		t.Errorf("after a release: %+v", waits)
	}
	if w := d.acquire(dawn, g, slotRule(3, 0), 0); w.Verdict != lease.Admit {
		t.Errorf("after the limit rose: %+v", w)
	}
	if g.Retire(dawn) {
		t.Error("slots in use are retired")
	}
	for range 3 {
		d.release(dawn, g)
	}
	var out lease.SlotOut
	if !g.Retire(dawn) || g.Join(dawn, r, &lease.SlotWaiter{}, &out) || d.asks > 0 {
		t.Errorf("retired slots are joined, or %d questions were asked", d.asks)
	}
}

func TestSlotsInAnOutage(t *testing.T) {
	t.Parallel()
	for outage, want := range map[plugin.Outage]int{plugin.EqualShare: 4, plugin.DemandShare: 4, plugin.Open: 12, plugin.Closed: 2} {
		n, d := node(t), &slotDesk{}
		n.SetFleet(&lease.Fleet{Self: "a", Members: []string{"a", "b"}})
		g, r := lease.NewSlots(n, "k"), &lease.SlotRule{Limit: 8, Outage: outage, ExactUpTo: 200}
		d.acquire(dawn, g, r, 0)
		d.acquire(dawn, g, r, 0)
		n.SetDown(true)
		for range 10 {
			if w := d.acquire(dawn+4*s, g, r, 0); !w.Outage || (w.Verdict == lease.Fault) != (outage == plugin.Closed) {
				t.Errorf("%v: %+v", outage, w)
			}
		}
		if got := g.Running(); got != int64(want) {
			t.Errorf("%v: %d run, want %d", outage, got, want)
		}
		n.SetDown(false)
		if w := d.acquire(dawn+5*s, g, r, 0); (w.Verdict == lease.Admit) != (want < 8) || w.Outage {
			t.Errorf("%v: after the outage %+v", outage, w)
		}
	}
}

// TestSlotsThatCannotBeCountedAreShared has an authority that cannot read what it stored.
func TestSlotsThatCannotBeCountedAreShared(t *testing.T) {
	t.Parallel()
	g, r := lease.NewSlots(node(t), "k"), slotRule(1, 200)
	for i := range 2 {
		w := &lease.SlotWaiter{}
		var out lease.SlotOut
		g.Join(dawn, r, w, &out)
		if q := out.Ask; i == 0 {
			out = lease.SlotOut{}
			g.Reply(dawn, &lease.SlotAnswer{Seq: q.Seq, Status: lease.Broken}, &out)
		}
		if !w.Outage || (w.Verdict == lease.Admit) != (i == 0) {
			t.Errorf("request %d: %+v, want the share of one gate", i, w)
		}
	}
}

type slotWorld struct {
	g       *rand.Rand
	a       lease.SlotAuthority
	now     int64
	limit   int64
	gates   []*slotGate
	queue   []func()
	boots   int
	started int
	rule    *lease.SlotRule
}

type slotGate struct {
	*lease.Slots
	name  string
	cut   int64 // until when no message passes
	loose int64 // what runs there since its slots ran out
	ok    int64 // when the authority last heard of it
}

func newSlotWorld(seed uint64) *slotWorld {
	w := &slotWorld{g: rand.New(rand.NewPCG(seed, 5)), now: dawn}
	w.limit = 1 + w.g.Int64N(20)
	w.rule = slotRule(w.limit, 200*int64(seed%2))
	for range 4 {
		w.gates = append(w.gates, w.boot())
	}
	return w
}

func (w *slotWorld) boot() *slotGate {
	w.boots++
	name := string(rune('A' + w.boots))
	return &slotGate{Slots: lease.NewSlots(lease.NewNode(name), "k"), name: name, ok: w.now}
}

func (w *slotWorld) step() {
	w.now += w.g.Int64N(20 * ms)
	if len(w.queue) > 0 && w.g.IntN(2) == 0 {
		i := w.g.IntN(len(w.queue)) // in any order
		do := w.queue[i]
		w.queue = append(w.queue[:i], w.queue[i+1:]...)
		do()
	}
	i := w.g.IntN(len(w.gates))
	gate := w.gates[i]
	switch x := w.g.IntN(400); {
	case x == 0:
		gate.cut = w.now + w.g.Int64N(8*s)
	case x == 1: // a crash ends what runs there
		w.gates[i] = w.boot()
	case x < 150:
		waiter := &lease.SlotWaiter{}
		if w.g.IntN(3) == 0 {
			waiter.Until = w.now + w.g.Int64N(2*s)
		}
		var out lease.SlotOut
		gate.Join(w.now, w.rule, waiter, &out)
		w.do(gate, &out)
	case x < 300:
		if gate.Running() > 0 {
			var out lease.SlotOut
			gate.Release(w.now, &out)
			w.do(gate, &out)
		}
	case x < 330:
		var out lease.SlotOut
		gate.Tick(w.now, &out)
		w.do(gate, &out)
	}
}

func (w *slotWorld) do(gate *slotGate, out *lease.SlotOut) {
	for _, d := range out.Done {
		if d.Verdict == lease.Admit {
			w.started++
		}
	}
	w.send(gate, out.Ask)
}

func (w *slotWorld) fail(gate *slotGate, ask *lease.SlotAsk) {
	var out lease.SlotOut
	gate.Fail(w.now, ask, &out)
	if ask := out.Ask; ask != nil { // on its own, or a gate that is cut off would ask for ever
		w.queue = append(w.queue, func() { w.send(gate, ask) })
		out.Ask = nil
	}
	w.do(gate, &out)
}

func (w *slotWorld) send(gate *slotGate, ask *lease.SlotAsk) {
	if ask == nil {
		return
	}
	if w.now < gate.cut || w.g.IntN(20) == 0 {
		w.fail(gate, ask)
		return
	}
	copies := 1 + w.g.IntN(2)
	for range copies {
		w.queue = append(w.queue, func() {
			ans := w.a.Serve(w.now/1000, ask)
			gate.ok = w.now
			if w.g.IntN(20) == 0 {
				w.fail(gate, ask)
				return
			}
			w.queue = append(w.queue, func() {
				var out lease.SlotOut
				gate.Reply(w.now, &ans, &out)
				w.do(gate, &out)
			})
		})
	}
}

func (w *slotWorld) running() (n int64) {
	for _, g := range w.gates {
		n += g.Running()
	}
	return n
}

// excused is what runs at gates that the authority gave up.
func (w *slotWorld) excused() (n int64) {
	for _, g := range w.gates {
		if w.now-g.ok > int64(lease.SlotLife)-s {
			g.loose = g.Running()
		}
		g.loose = min(g.loose, g.Running())
		n += g.loose
	}
	return n
}
