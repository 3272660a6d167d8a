package lease

import "math"

// ask leases for the windows of now: what is waited for, and ahead what is likely.
func (b *Bucket) ask(now int64, out *Out) {
	horizon := b.node.horizon(b.rule)
	d := b.demand.measure(now, b.tok.Load(), horizon)
	b.demand.peak, b.used = d, now
	q := b.message(d)
	q.Wanted = b.wanted
	q.Target = max(0, int64(math.Ceil(d))-b.tok.Load())
	for i := range b.wins {
		w := &b.wins[i]
		q.Claims[i] = b.claim(i, w.start, w.end, w.own, b.heldIn(w))
	}
	for _, w := range b.waiters {
		if w.seq == 0 {
			w.seq = q.Seq
		}
	}
	b.send(q, out)
}

// askNext leases for the window that begins when the shortest one ends, so that its first
// requests need not wait.
func (b *Bucket) askNext(now int64, out *Out) {
	q := b.message(b.demand.peak)
	q.Target = int64(math.Ceil(b.demand.peak))
	begin := b.wins[0].end
	b.nextFor, b.nextTok = begin, 0
	for i := range b.wins {
		w := &b.wins[i]
		start, end := span(b.rule.Windows[i].Period, begin)
		if start == w.start {
			q.Claims[i] = b.claim(i, start, end, w.own, b.tok.Load())
		} else {
			q.Claims[i] = b.claim(i, start, end, 0, 0)
		}
	}
	b.send(q, out)
}

// report says what is claimed and asks for nothing.
func (b *Bucket) report(now int64, out *Out) {
	q := b.message(b.demand.measure(now, b.tok.Load(), b.node.horizon(b.rule)))
	q.Report = true
	for i := range b.wins {
		w := &b.wins[i]
		q.Claims[i] = b.claim(i, w.start, w.end, w.own, b.heldIn(w))
	}
	b.send(q, out)
}

func (b *Bucket) message(demand float64) *Ask {
	b.seq++
	return &Ask{
		Key: b.key, Holder: b.holder, Seq: b.seq,
		Demand: max(1, int64(math.Round(demand))),
		Free:   nominal(b.rule.Windows[0].Period) >= 50*b.node.RoundTrip(),
		Grace:  b.node.grace() / 1000,
		Claims: make([]Claim, len(b.wins)),
	}
}

func (b *Bucket) claim(i int, start, end, own, held int64) Claim {
	spec := b.rule.Windows[i]
	c := Claim{
		Period: spec.Period, Start: start / 1000, End: end / 1000, Limit: spec.Limit,
		Own: own, Held: max(0, held), Exact: b.exact(i),
	}
	if b.rule.Reclaim {
		c.Reclaim = b.node.tau(b.rule) / 1000
	}
	return c
}

// heldIn is what of w is here and not used, with what is held for the window after.
func (b *Bucket) heldIn(w *window) int64 {
	held := b.tok.Load()
	if b.coversNext(w) {
		held += b.nextTok
	}
	return held
}

// coversNext reports whether what is leased for the next shortest window is charged to w too.
func (b *Bucket) coversNext(w *window) bool { return w.start < b.nextFor && b.nextFor < w.end }

func (b *Bucket) send(q *Ask, out *Out) {
	b.pending, out.Ask = q, q
	b.dirty = false
	b.low.Store(never)
}
