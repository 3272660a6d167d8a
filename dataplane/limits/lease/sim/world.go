// Package sim runs limiters of many gates in virtual time: requests, a network that delays,
// loses, doubles and reorders, gates that crash and pause, and a place where counts are kept
// that can be away. Everything follows from a seed.
//
// The leases it runs are the production code of package lease; beside them stand the ways of
// others, for comparison. It knows nothing of real clocks and sockets. Enter at Run.
package sim

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// epoch is when virtual time begins: the start of a minute, in nanoseconds of Unix time.
const epoch = int64(1_700_000_040_000_000_000)

const (
	millisecond = int64(time.Millisecond)
	second      = int64(time.Second)
	// serveTime is how long the server is busy with one script or command.
	serveTime = 8 * int64(time.Microsecond)
	// timeout is when a gate gives a call up.
	timeout = 20 * millisecond
)

type event struct {
	at, order int64
	do        func()
}

type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { *q = append(*q, x.(event)) }
func (q *events) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1].do = nil
	*q = old[:len(old)-1]
	return last
}

// world is virtual time, the network and the server's queue.
type world struct {
	load  *Workload
	now   int64 // true time, which is the server's
	order int64
	queue events
	rng   *rand.Rand
	free  int64 // when the server is done with what it has
	calls int64
	busy  int64
	ended bool
}

func newWorld(l *Workload) *world {
	return &world{load: l, now: epoch, free: epoch, rng: rand.New(rand.NewPCG(l.Seed, 7))}
}

func (w *world) at(t int64, do func()) {
	w.order++
	heap.Push(&w.queue, event{max(t, w.now), w.order, do})
}

func (w *world) run(until int64) {
	for w.queue.Len() > 0 && w.queue[0].at <= until {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.do()
	}
	w.now = until
}

// leg is the time of one way. A reordering network makes some messages late by several.
func (w *world) leg() int64 {
	half := float64(w.load.RoundTrip) / 2
	d := half * (0.95 + 0.1*w.rng.Float64() + 0.02*w.rng.ExpFloat64())
	if w.chance(w.load.Reorder) {
		d += 6 * half * w.rng.Float64()
	}
	return int64(d)
}

func (w *world) chance(p float64) bool { return p > 0 && w.rng.Float64() < p }

func (w *world) cut(gate int) bool {
	for _, o := range w.load.Outages {
		if w.now-epoch >= o.From && w.now-epoch < o.To && (o.Gate < 0 || o.Gate == gate) {
			return true
		}
	}
	return false
}

// send carries a message from a gate to the server, which executes it when it is done with
// what came before. Messages may be lost or arrive twice. It reports whether any arrives.
func (w *world) send(gate int, execute func()) bool {
	if w.cut(gate) {
		return false
	}
	w.calls++
	copies := 1
	if w.chance(w.load.Loss) {
		copies = 0
	} else if w.chance(w.load.Double) {
		copies = 2
	}
	for range copies {
		w.at(w.now+w.leg(), func() {
			start := max(w.now, w.free)
			w.free = start + serveTime
			w.busy += serveTime
			w.at(w.free, execute)
		})
	}
	return copies > 0
}

// back carries a message from the server to a gate.
func (w *world) back(gate int, arrive func()) {
	if w.cut(gate) || w.chance(w.load.Loss) {
		return
	}
	w.at(w.now+w.leg(), arrive)
	if w.chance(w.load.Double) {
		w.at(w.now+w.leg(), arrive)
	}
}

// call is a question that is answered, or gives up when the server is away, as those of
// limiters without leases. To their advantage they wait for a server that is only busy.
func (w *world) call(gate int, execute func(), answer func(ok bool)) {
	sent := w.send(gate, func() {
		execute()
		w.at(w.now+w.leg(), func() { answer(true) })
	})
	if !sent {
		w.at(w.now+timeout+w.load.RoundTrip, func() { answer(false) })
	}
}
