package lease

import "math"

// Tick does what is due: it asks again for parked requests, leases ahead for the next window
// and gives back what lies idle. A call too early or too often does no harm.
func (b *Bucket) Tick(now int64, out *Out) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wake = 0
	b.roll(now)
	b.serveHeld(now, out)
	b.dismiss(now, out)
	switch {
	case b.pending != nil:
	case b.isAway(now):
		b.shareAll(now, out)
	case len(b.waiters) > 0:
		if !b.parked || now >= b.poll {
			b.ask(now, out)
		}
	case b.nextDue(now):
		b.askNext(now, out)
	case b.idle > 0 && now >= b.idle:
		b.returnIdle(now, out)
	case b.dirty:
		b.report(now, out)
	}
	b.arm(now, out)
}

// dismiss refuses parked requests that waited for longer than any recall takes.
func (b *Bucket) dismiss(now int64, out *Out) {
	if !b.parked {
		return
	}
	patience := 2*b.node.grace() + 2*b.node.RoundTrip()
	_, stop := b.capacity()
	for len(b.waiters) > 0 && now-b.waiters[0].Arrived > patience {
		w := b.waiters[0]
		b.waiters = b.waiters[1:]
		b.wanted -= w.N
		b.refuse(w, stop, out)
	}
	b.parked = len(b.waiters) > 0
}

// lead is how long before a window its first tokens are leased, by local time.
func (b *Bucket) lead() int64 {
	return 2*b.node.RoundTrip() + 5e6 + nominal(b.rule.Windows[0].Period)/50
}

func (b *Bucket) nextAt() int64 {
	at := b.node.Clock.local(b.wins[0].end) - b.lead()
	// Gates that all ask at the same instant would wait for one another.
	return at + int64(hash(b.holder, b.wins[0].end)%uint64(max(1, b.lead()/4)))
}

// nextWanted reports whether the next window is worth a lease of its own.
func (b *Bucket) nextWanted() bool {
	if b.demand.peak < 2 || b.exactAny() || b.nextFor == b.wins[0].end {
		return false
	}
	for i := 1; i < len(b.wins); i++ {
		if w := &b.wins[i]; w.end != b.wins[0].end && (w.near || !w.known) {
			return false
		}
	}
	return nominal(b.rule.Windows[0].Period) > b.lead()
}

func (b *Bucket) nextDue(now int64) bool { return b.nextWanted() && now >= b.nextAt() }

// idles reports whether a crash could cost tokens for long, so that idle ones go back.
func (b *Bucket) idles() bool {
	last := b.rule.Windows[len(b.rule.Windows)-1].Period
	return b.rule.Reclaim || nominal(last) > nominal(minute)
}

func (b *Bucket) returnIdle(now int64, out *Out) {
	b.idle = 0
	keep := int64(math.Ceil(b.demand.measure(now, b.tok.Load(), b.node.horizon(b.rule))))
	if keep < 2 {
		keep = 0
	}
	gave := b.giveBack(b.tok.Load() - keep)
	if b.dirty || gave || b.rule.Reclaim {
		b.report(now, out)
	}
}

// arm says when to call Tick next, when that is sooner than was said.
func (b *Bucket) arm(now int64, out *Out) {
	at := int64(math.MaxInt64)
	away := b.isAway(now)
	if len(b.waiters) > 0 && b.pending == nil {
		if at = now; b.parked {
			at = b.poll
		}
	}
	switch {
	case away && (b.dirty || len(b.waiters) > 0):
		at = min(at, now+retryAway+int64(hash(b.holder, 0)%uint64(retryAway)))
	case b.dirty && b.pending == nil:
		at = min(at, now+b.node.horizon(b.rule)/4)
	}
	if !away && b.nextWanted() {
		at = min(at, b.nextAt())
	}
	if b.idles() && b.tok.Load() > 0 {
		if b.idle == 0 {
			b.idle = now + b.node.horizon(b.rule)
		}
		at = min(at, b.idle)
	}
	if at == math.MaxInt64 || b.wake > now && b.wake <= at {
		return
	}
	b.wake = max(at, now+1e5)
	out.Wake = b.wake
}
