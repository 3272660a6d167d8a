package lease_test

import (
	"math/rand/v2"
	"testing"

	"github.com/sekifuda/sekifuda/dataplane/limits/lease"
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

// TestSlotsAreUsedWhole has one gate use all that another left.
func TestSlotsAreUsedWhole(t *testing.T) {
	t.Parallel()
	var a lease.SlotAuthority
	one, two := lease.NewSlots("k", "1", 5), lease.NewSlots("k", "2", 5)
	acquire := func(s *lease.Slots, now int64) bool {
		ok, ask := s.Acquire(now)
		if ask != nil {
			ans, _ := a.Serve(now, ask)
			s.Reply(ans)
			ok = s.Take(now)
		}
		return ok
	}
	for i := range 6 {
		if ok := acquire(one, dawn); ok != (i < 5) {
			t.Errorf("slot %d of 5: %v", i, ok)
		}
	}
	if acquire(two, dawn) {
		t.Error("a sixth of five slots")
	}
	one.Release()
	one.Release()
	for range 2 { // the first says what was used since the last, the second what is idle
		ans, _ := a.Serve(dawn+s, one.Beat(dawn+s))
		one.Reply(ans)
	}
	for i := range 3 {
		if ok := acquire(two, dawn+s); ok != (i < 2) {
			t.Errorf("slot %d of the 2 given back: %v", i, ok)
		}
	}
	// A gate that is gone holds its slots for three seconds.
	if acquire(two, dawn+3*s) || !acquire(two, dawn+5*s) {
		t.Error("the slots of a gate that is gone come back after three seconds")
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
	for range 4 {
		w.gates = append(w.gates, w.boot())
	}
	return w
}

func (w *slotWorld) boot() *slotGate {
	w.boots++
	name := string(rune('A' + w.boots))
	return &slotGate{Slots: lease.NewSlots("k", name, w.limit), name: name, ok: w.now}
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
		ok, ask := gate.Acquire(w.now)
		if ok {
			w.started++
		}
		w.send(gate, ask)
	case x < 300:
		if gate.Running() > 0 {
			gate.Release()
		}
	case x < 330:
		w.send(gate, gate.Beat(w.now))
	}
}

func (w *slotWorld) send(gate *slotGate, ask *lease.SlotAsk) {
	if ask == nil {
		return
	}
	if w.now < gate.cut || w.g.IntN(20) == 0 {
		gate.Fail(ask)
		return
	}
	copies := 1 + w.g.IntN(2)
	for range copies {
		w.queue = append(w.queue, func() {
			ans, ok := w.a.Serve(w.now, ask)
			gate.ok = w.now
			if !ok {
				return
			}
			if w.g.IntN(20) == 0 {
				gate.Fail(ask)
				return
			}
			w.queue = append(w.queue, func() { gate.Reply(ans) })
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
