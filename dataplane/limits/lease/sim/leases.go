package sim

import (
	"fmt"
	"strconv"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/limits/lease"
	"github.com/sekifuda/sekifuda/plugin"
)

const (
	// breakerOpen is how long a gate asks nothing after a call that was not answered; then a
	// probe goes first.
	breakerOpen = 100 * millisecond
)

// LeaseWay runs the production code of package lease.
func LeaseWay(name string) Way {
	return Way{name, func(w *world) limiter { return newLeases(w) }}
}

// Leases is a fleet of gates that lease, and the authority.
type Leases struct {
	w         *world
	Authority *lease.Authority
	gates     []*gate
	boots     int
	// Rewrite changes what is sent and Told hears what arrives; for tests.
	Rewrite func(*lease.Ask) *lease.Ask
	Told    func(*lease.Ask, *lease.Answer)
	// Incarnation names a boot of a gate.
	Incarnation func(gate, boot int) string
	// Tweak is called with each node that boots.
	Tweak func(*lease.Node)
	// Debt is what gates admitted in outages, by the window that it is owed to.
	Debt map[Window]int64
	// Charged is what was admitted, by the window that it was charged to: at a boundary that
	// may be the neighbour of the one in which the request came by true time.
	Charged map[Window]int64
	// Dropped is how many requests waited at gates that crashed.
	Dropped int64
}

type gate struct {
	all     *Leases
	id      int
	node    *lease.Node
	buckets map[int]*lease.Bucket
	rule    *lease.Rule
	alive   bool
	probing bool
	paused  int64 // until when it stands still
	skew    int64
	waiting int64
}

func newLeases(w *world) *Leases {
	l := &Leases{w: w, Authority: &lease.Authority{}, Debt: map[Window]int64{}, Charged: map[Window]int64{}}
	l.Incarnation = func(gate, boot int) string { return fmt.Sprintf("g%d-%d", gate, boot) }
	if w.load.Hook != nil {
		w.load.Hook(l)
	}
	for i := range w.load.Gates {
		g := &gate{all: l, id: i, skew: int64(i-w.load.Gates/2) * w.load.ClockSkew}
		l.gates = append(l.gates, g)
		g.boot()
	}
	l.schedule()
	return l
}

func (l *Leases) schedule() {
	w := l.w
	for t := w.load.PauseEach; t > 0 && t < w.load.For; t += w.load.PauseEach {
		w.at(epoch+t, func() { l.gates[w.rng.IntN(len(l.gates))].paused = w.now + w.load.PauseFor })
	}
	for t := w.load.LoseEach; t > 0 && t < w.load.For; t += w.load.LoseEach {
		w.at(epoch+t, l.Authority.Lose)
	}
	if w.load.RaiseAt > 0 {
		w.at(epoch+w.load.RaiseAt, l.raise)
	}
}

// raise changes the limits while leases are out: new rules get buckets of their own.
func (l *Leases) raise() {
	for _, g := range l.gates {
		r := *g.rule
		r.Windows = l.w.load.Raised
		old := g.buckets
		g.rule, g.buckets = &r, map[int]*lease.Bucket{}
		// What the old buckets hold comes back as anything idle does: when it is recalled.
		for k, b := range old {
			g.buckets[-1-k] = b
		}
	}
}

func (g *gate) boot() {
	w := g.all.w
	g.all.boots++
	g.node = lease.NewNode(g.all.Incarnation(g.id, g.all.boots))
	g.node.SetRoundTrip(w.load.RoundTrip)
	members := make([]string, w.load.Gates)
	for i := range members {
		members[i] = "gate" + strconv.Itoa(i)
	}
	g.node.SetFleet(&lease.Fleet{Self: members[g.id], Members: members})
	rule := w.load.Rule
	rule.Windows = w.load.Windows
	g.rule, g.buckets, g.alive, g.probing = &rule, map[int]*lease.Bucket{}, true, false
	if g.all.Tweak != nil {
		g.all.Tweak(g.node)
	}
	// The clocks met once before: an error of up to half a round trip stays.
	out := w.leg()
	theirs := (w.now + out) / 1000
	received := w.now + out + w.leg()
	g.node.Clock.Observe(g.local(w.now), g.local(received), theirs)
}

func (g *gate) local(t int64) int64 { return t - epoch + second*1000 + g.skew }
func (g *gate) now() int64          { return g.local(g.all.w.now) }

func (l *Leases) crash(i int) {
	g := l.gates[i]
	l.Dropped += g.waiting
	g.alive, g.waiting = false, 0
	node := g.node
	l.w.at(l.w.now+450*millisecond, func() {
		if g.node == node {
			g.boot()
		}
	})
}

// later runs do at t, or when the gate moves again, unless it has crashed.
func (g *gate) later(t int64, do func()) {
	node := g.node
	g.all.w.at(t, func() {
		switch {
		case !g.alive || g.node != node:
		case g.all.w.now < g.paused:
			g.later(g.paused, do)
		default:
			do()
		}
	})
}

func (l *Leases) request(i, key int, n int64, done func(bool, int64)) {
	g := l.gates[i]
	if !g.alive {
		done(false, 0)
		return
	}
	if l.w.now < g.paused {
		l.w.at(g.paused, func() { l.request(i, key, n, done) })
		return
	}
	b := g.buckets[key]
	if b == nil {
		b = lease.NewBucket(g.node, g.rule, "k"+strconv.Itoa(key))
		g.buckets[key] = b
	}
	v, ask := b.Take(g.now(), n)
	var out lease.Out
	switch v {
	case lease.Undecided:
		w := &waiter{done: done, key: key, gate: g}
		w.N, w.Tag = n, w
		g.waiting++
		b.Join(g.now(), &w.Waiter, &out)
		g.do(b, &out)
		return
	case lease.Admit:
		l.admitted(l.Charged, key, n, b.Window())
		done(true, b.Window())
	default:
		done(false, 0)
	}
	if ask {
		b.Refill(g.now(), &out)
		g.do(b, &out)
	}
}

// do does what a bucket wants done.
func (g *gate) do(b *lease.Bucket, out *lease.Out) {
	for _, w := range out.Done {
		g.all.decided(w)
	}
	if out.Ask != nil {
		g.send(b, out.Ask)
	}
	if at := out.Wake; at > 0 {
		g.later(at-g.now()+g.all.w.now, func() {
			if b.WakeAt() != at {
				return
			}
			var out lease.Out
			b.Tick(g.now(), &out)
			g.do(b, &out)
		})
	}
}

func (g *gate) send(b *lease.Bucket, q *lease.Ask) {
	l, w := g.all, g.all.w
	sent, asked := g.now(), q
	if l.Rewrite != nil {
		q = l.Rewrite(q)
	}
	open := true
	g.later(w.now+timeout+w.load.RoundTrip, func() {
		if !open {
			return
		}
		open = false
		g.fail(b, asked)
	})
	w.send(g.id, func() {
		a := l.Authority.Serve(w.now/1000, q)
		l.recall()
		w.back(g.id, func() {
			g.later(w.now, func() {
				if !open {
					return // the call was given up, or this is the second copy
				}
				open = false
				if l.Told != nil {
					l.Told(asked, &a)
				}
				g.node.Clock.Observe(sent, g.now(), a.Now)
				var out lease.Out
				b.Reply(g.now(), sent, &a, &out)
				g.do(b, &out)
			})
		})
	})
}

func (g *gate) fail(b *lease.Bucket, q *lease.Ask) {
	g.node.SetDown(true)
	if !g.probing {
		g.probing = true
		g.later(g.all.w.now+breakerOpen, g.probe)
	}
	var out lease.Out
	b.Fail(g.now(), q, &out)
	g.do(b, &out)
}

func (g *gate) probe() {
	w := g.all.w
	open := true
	g.later(w.now+timeout+w.load.RoundTrip, func() {
		if open {
			open = false
			g.later(w.now+breakerOpen, g.probe)
		}
	})
	w.send(g.id, func() {
		w.back(g.id, func() {
			g.later(w.now, func() {
				if open {
					open, g.probing = false, false
					g.node.SetDown(false)
				}
			})
		})
	})
}

func (l *Leases) recall() {
	for _, s := range l.Authority.Recalls {
		key, err := strconv.Atoi(s.Key[1:])
		if err != nil {
			continue // not a key of request
		}
		for _, g := range l.gates {
			l.w.back(g.id, func() {
				g.later(l.w.now, func() {
					for _, k := range [2]int{key, -1 - key} {
						if b := g.buckets[k]; b != nil {
							var out lease.Out
							b.Recall(g.now(), s.Start, &out)
							g.do(b, &out)
						}
					}
				})
			})
		}
	}
	l.Authority.Recalls = nil
}

type waiter struct {
	lease.Waiter
	done func(bool, int64)
	key  int
	gate *gate
}

func (l *Leases) decided(x *lease.Waiter) {
	w := x.Tag.(*waiter)
	w.gate.waiting--
	if x.Verdict == lease.Admit {
		l.admitted(l.Charged, w.key, x.N, x.Window)
		if x.Outage {
			l.admitted(l.Debt, w.key, x.N, x.Window)
		}
	}
	w.done(x.Verdict == lease.Admit, x.Window)
}

func (l *Leases) admitted(m map[Window]int64, key int, n, window int64) {
	for _, spec := range l.w.load.Windows {
		start, _ := bounds(spec.Period, window)
		m[Window{key, spec.Period, start}] += n
	}
}

func bounds(p plugin.Period, t int64) (start, end int64) {
	s, e := lease.Bounds(p, time.Unix(0, t))
	return s.UnixNano(), e.UnixNano()
}
