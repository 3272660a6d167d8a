package lease

import "time"

// tolerated is how far the authority's time may go back, as estimates do, without the bucket
// following it into a window that it has left.
const tolerated = int64(time.Second)

// roll moves to the windows of now. Longer windows contain the shorter ones, so the shortest
// is the first to end.
func (b *Bucket) roll(now int64) {
	t := b.node.Clock.Authority(now)
	w := &b.wins[0]
	if t >= w.start-tolerated && t < w.end {
		b.setEnd(now)
		return
	}
	if t < w.start {
		b.forget()
	}
	dropped := b.drop()
	for i := range b.wins {
		b.enter(i, t, dropped)
	}
	b.adoptNext()
	b.near = false
	for i := range b.wins {
		b.near = b.near || b.wins[i].near
	}
	b.parked, b.backoff = false, 0
	b.dirty = b.dirty || dropped > 0 && len(b.wins) > 1
	b.setEnd(now)
}

// forget begins anew as another holder: the claims on windows that it goes back to are gone.
func (b *Bucket) forget() {
	b.born()
	b.pending, b.nextTok, b.nextFor = nil, 0, 0
	b.exh.Store(0)
	for i := range b.wins {
		b.wins[i].start = -1
	}
}

// setEnd says until when tokens may be used, which is for others to read at any time.
func (b *Bucket) setEnd(now int64) {
	end := b.node.Clock.local(b.wins[0].end)
	if b.rule.Reclaim && b.expires > 0 {
		end = min(end, b.expires)
		if now >= b.expires {
			dropped := b.drop()
			for i := range b.wins {
				b.wins[i].own -= dropped
			}
			b.dirty = b.dirty || dropped > 0
			b.expires = 0
			end = b.node.Clock.local(b.wins[0].end)
		}
	}
	b.end.Store(end)
}

// drop takes all tokens out of the bucket.
func (b *Bucket) drop() int64 {
	n := b.tok.Swap(0)
	b.demand.put(-n)
	return n
}

// enter makes wins[i] the window of t, after dropped tokens were taken out.
func (b *Bucket) enter(i int, t, dropped int64) {
	w := &b.wins[i]
	spec := b.rule.Windows[i]
	start, end := span(spec.Period, t)
	if start == w.start {
		w.own -= dropped
		return
	}
	w.start, w.end, w.own = start, end, 0
	w.known, w.near, w.shared, w.share = false, false, false, 0
	w.left.Store(spec.Limit)
	w.others = 0
	w.ahead = int64(float64(spec.Limit) * b.rule.Ahead / 100 / float64(len(b.node.fleet.Load().Members)))
}

// adoptNext uses what was leased for the window that begins, or gives it back when that
// window went by unseen.
func (b *Bucket) adoptNext() {
	n, start := b.nextTok, b.nextFor
	b.nextTok, b.nextFor = 0, 0
	if n == 0 {
		return
	}
	fits := start == b.wins[0].start
	b.dirty = b.dirty || !fits && len(b.wins) > 1
	for i := range b.wins {
		w := &b.wins[i]
		switch {
		case !fits && w.start < start:
			w.own -= n // a longer window that the lease was charged to as well
		case fits && w.start == start:
			w.own += n
		}
	}
	if fits {
		b.demand.put(n)
		b.tok.Add(n)
	}
}
