package sim

type counted map[Window]int64

func (w *world) window(key int, t int64) Window {
	p := w.load.Windows[0].Period
	start, _ := bounds(p, t)
	return Window{key, p, start}
}

func (w *world) limit() int64 { return w.load.Windows[0].Limit }

// clock is a gate's own, which these ways trust.
func (w *world) clock(gate int) int64 {
	return w.now + int64(gate-w.load.Gates/2)*w.load.ClockSkew
}

// PerRequest counts every request at the server, also refused ones, and admits what cannot
// be counted.
var PerRequest = Way{"INCR per request", func(w *world) limiter { return &perRequest{w, counted{}} }}

type perRequest struct {
	w      *world
	counts counted
}

func (x *perRequest) crash(int) {}

func (x *perRequest) request(gate, key int, n int64, done func(bool, int64)) {
	k := x.w.window(key, x.w.clock(gate))
	var used int64
	x.w.call(gate, func() {
		x.counts[k] += n
		used = x.counts[k]
	}, func(ok bool) { done(!ok || used <= x.w.limit(), 0) })
}

// DeltaSync counts at the gate and tells the server what was added every so often.
func DeltaSync(name string, every int64) Way {
	return Way{name, func(w *world) limiter {
		d := &deltaSync{w: w, every: every, counts: counted{}, gates: make([]deltaGate, w.load.Gates)}
		for i := range d.gates {
			d.gates[i].of = map[Window]*delta{}
		}
		return d
	}}
}

type delta struct {
	seen, added int64
	known       bool
}

type deltaGate struct {
	of      map[Window]*delta
	flushes bool
}

type deltaSync struct {
	w      *world
	every  int64
	counts counted
	gates  []deltaGate
}

func (x *deltaSync) crash(gate int) { x.gates[gate].of = map[Window]*delta{} }

func (x *deltaSync) flush(gate int) {
	g := &x.gates[gate]
	g.flushes = false
	old := g.of
	g.of = map[Window]*delta{}
	for k, d := range old {
		if d.added > 0 {
			x.w.call(gate, func() { x.counts[k] += d.added }, func(bool) {})
		}
	}
}

func (x *deltaSync) request(gate, key int, n int64, done func(bool, int64)) {
	g := &x.gates[gate]
	if !g.flushes {
		g.flushes = true
		x.w.at(x.w.now+x.every, func() { x.flush(gate) })
	}
	k := x.w.window(key, x.w.clock(gate))
	d := g.of[k]
	if d == nil {
		d = &delta{}
		g.of[k] = d
	}
	decide := func() {
		ok := d.seen+d.added+n <= x.w.limit()
		if ok {
			d.added += n
		}
		done(ok, 0)
	}
	if d.known {
		decide()
		return
	}
	var seen int64
	x.w.call(gate, func() { seen = x.counts[k] }, func(bool) {
		d.seen, d.known = max(d.seen, seen), true
		if g.of[k] != d { // it was told meanwhile: what is added now is told on its own
			x.w.call(gate, func() { x.counts[k] += n }, func(bool) {})
		}
		decide()
	})
}

// ShareGossip gives every gate a part of the limit by its part of the load of the second
// before.
var ShareGossip = Way{"shares, 1 s", func(w *world) limiter {
	s := &shareGossip{w: w}
	for range w.load.Gates {
		s.gates = append(s.gates, shareGate{share: 1 / float64(w.load.Gates), counts: counted{}})
	}
	w.at(w.now+second, s.exchange)
	return s
}}

type shareGate struct {
	load, share float64
	counts      counted
}

type shareGossip struct {
	w     *world
	gates []shareGate
}

func (x *shareGossip) crash(gate int) { x.gates[gate].counts = counted{} }

func (x *shareGossip) exchange() {
	if x.w.ended {
		return
	}
	x.w.calls += int64(len(x.gates))
	loads, sum := make([]float64, len(x.gates)), 0.0
	for i := range x.gates {
		loads[i] = x.gates[i].load + 1
		sum += loads[i]
		x.gates[i].load = 0
	}
	if !x.w.cut(-1) {
		x.w.at(x.w.now+x.w.load.RoundTrip, func() {
			for i := range x.gates {
				x.gates[i].share = loads[i] / sum
			}
		})
	}
	x.w.at(x.w.now+second, x.exchange)
}

func (x *shareGossip) request(gate, key int, n int64, done func(bool, int64)) {
	g := &x.gates[gate]
	g.load++
	k := x.w.window(key, x.w.clock(gate))
	limit := max(1, int64(g.share*float64(x.w.limit())))
	ok := g.counts[k]+n <= limit
	if ok {
		g.counts[k] += n
	}
	done(ok, 0)
}
