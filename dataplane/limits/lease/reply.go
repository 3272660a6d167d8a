package lease

import (
	"math"
	"time"
)

// maxMoves is how often in a row an answer may be that the clock is in another window: more
// than once only when windows end faster than answers come.
const maxMoves = 3

// Reply takes the answer to an Ask that was sent at local time sent. The caller has shown the
// answer's time to the Clock first. Answers to anything but the last Ask are ignored.
func (b *Bucket) Reply(now, sent int64, a *Answer, out *Out) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.pending
	if q == nil || a.Seq != q.Seq {
		return
	}
	b.pending = nil
	b.roll(now)
	if a.Status != Granted {
		b.turnedAway(now, a, out)
		b.arm(now, out)
		return
	}
	b.moves = 0
	b.learn(now, q, a)
	b.keep(sent, q, a.Grant, out)
	b.proceed(now, out)
	b.arm(now, out)
}

// turnedAway tries again when the cause may be gone, else decides as in an outage for a while.
func (b *Bucket) turnedAway(now int64, a *Answer, out *Out) {
	b.moves++
	b.dirty = true
	if a.Status == Broken || b.moves > maxMoves {
		b.moves = 0
		b.away = now + int64(time.Second)
		b.shareAll(now, out)
		return
	}
	b.proceed(now, out)
}

// learn keeps what is said of windows that are still current.
func (b *Bucket) learn(now int64, q *Ask, a *Answer) {
	b.near = false
	for i := range b.wins {
		w := &b.wins[i]
		if q.Claims[i].Start == w.start/1000 && q.Seq > b.doubt {
			v := &a.Views[i]
			w.left.Store(v.Left)
			w.others, w.near, w.known, w.shared = v.Others, v.Near, true, false
			b.poll = now + v.Retry*1000
			if v.Demand > 0 {
				b.weight, b.seen = float64(q.Demand)/float64(v.Demand), now
			}
			b.worth(i, v)
		}
		b.near = b.near || w.near
	}
}

// worth decides whether to ask ahead: not when a share of what is left would be a few tokens.
func (b *Bucket) worth(i int, v *View) {
	if i == 0 {
		b.scarce = false
	}
	b.scarce = b.scarce || v.Left/max(1, v.Holders) < 4
}

// keep puts a grant where it belongs: to the requests it was asked for, to the window that is
// current or to the next.
func (b *Bucket) keep(sent int64, q *Ask, grant int64, out *Out) {
	start := q.Claims[0].Start * 1000
	switch {
	case start == b.wins[0].start:
		for i := range b.wins {
			b.wins[i].own += grant
		}
		rest := b.serve(grant, q.Seq, out)
		if rest > 0 {
			b.demand.put(rest)
			b.tok.Add(rest)
		}
		if b.rule.Reclaim {
			b.expires = sent + b.node.tau(b.rule)
			b.end.Store(min(b.node.Clock.local(b.wins[0].end), b.expires))
		}
	case start > b.wins[0].start:
		b.nextTok += grant
		for i := range b.wins {
			if b.wins[i].start < start && q.Claims[i].Start*1000 == b.wins[i].start {
				b.wins[i].own += grant
			}
		}
	default:
		b.keepLate(q, grant, out)
	}
}

// keepLate admits those for whom tokens were charged in a window that has ended meanwhile:
// they came in it. Dropping the grant would refuse them although there was room. Who came
// since belongs to the window that is current.
func (b *Bucket) keepLate(q *Ask, grant int64, out *Out) {
	served := len(out.Done)
	used := min(grant, q.Wanted)
	if b.node.mutant == dropLateGrants {
		used = 0
	}
	used -= b.serveAsked(used, q.Seq, out)
	for i := range b.wins {
		if w := &b.wins[i]; q.Claims[i].Start*1000 == w.start {
			w.own += used
		}
	}
	for _, w := range out.Done[served:] {
		w.Window = q.Claims[0].Start * 1000
	}
	b.dirty = b.dirty || len(b.wins) > 1
}

// serve admits waiters in their order from a grant and returns what is left of it. Those
// that asked only to know are told what there is.
func (b *Bucket) serve(grant, seq int64, out *Out) (rest int64) {
	return b.serveIf(grant, out, func(w *Waiter) bool { return w.N > 0 || w.seq > 0 && w.seq <= seq })
}

// serveAsked is serve for those alone whom the question counted.
func (b *Bucket) serveAsked(grant, seq int64, out *Out) (rest int64) {
	return b.serveIf(grant, out, func(w *Waiter) bool { return w.seq > 0 && w.seq <= seq })
}

func (b *Bucket) serveIf(grant int64, out *Out, may func(*Waiter) bool) (rest int64) {
	kept := b.waiters[:0]
	for _, w := range b.waiters {
		if w.N > grant || !may(w) {
			kept = append(kept, w)
			continue
		}
		grant -= w.N
		b.wanted -= w.N
		b.admit(w, grant)
		out.Done = append(out.Done, w)
	}
	clear(b.waiters[len(kept):])
	b.waiters = kept
	return grant
}

// proceed decides what to do about those who still wait.
func (b *Bucket) proceed(now int64, out *Out) {
	b.serveHeld(now, out)
	if len(b.waiters) == 0 {
		b.rest(now, out)
		return
	}
	switch {
	case b.isAway(now):
		b.shareAll(now, out)
	case b.pending != nil:
	case !b.allKnown() || b.unleased() > 0 && !b.hopeless():
		b.parked = false
		b.ask(now, out)
	default:
		b.park(now, out)
	}
}

// serveHeld gives waiters what is here, for instance what was leased for a window that began.
func (b *Bucket) serveHeld(now int64, out *Out) {
	kept := b.waiters[:0]
	for _, w := range b.waiters {
		if w.N == 0 || !b.useToken(now, w) {
			kept = append(kept, w)
			continue
		}
		b.wanted -= w.N
		b.demand.joined -= w.N // the token is counted
		b.admit(w, 0)
		out.Done = append(out.Done, w)
	}
	clear(b.waiters[len(kept):])
	b.waiters = kept
}

func (b *Bucket) allKnown() bool {
	for i := range b.wins {
		if !b.wins[i].known {
			return false
		}
	}
	return true
}

// hopeless reports whether nobody who waits can be served, though something is left: they
// want more at once than there is.
func (b *Bucket) hopeless() bool {
	most, _ := b.capacity()
	most += b.tok.Load()
	for _, w := range b.waiters {
		if w.N <= most {
			return false
		}
	}
	return true
}

// park keeps those waiting for whom others may give tokens back, and refuses the rest.
func (b *Bucket) park(now int64, out *Out) {
	most, stop := b.capacity()
	if most <= 0 && b.tok.Load() == 0 {
		b.exhaust(now, stop)
	}
	if b.rule.RefuseNear {
		most = 0
	}
	most += b.tok.Load()
	kept, sum := b.waiters[:0], int64(0)
	for _, w := range b.waiters {
		if w.N > 0 && sum+w.N > most {
			b.wanted -= w.N
			b.refuse(w, stop, out)
			continue
		}
		sum += w.N
		kept = append(kept, w)
	}
	clear(b.waiters[len(kept):])
	b.waiters = kept
	if len(kept) == 0 {
		b.rest(now, out)
		return
	}
	first := !b.parked
	b.parked = true
	if first {
		b.backoff = b.node.RoundTrip()
	}
	b.poll = min(now+b.backoff, max(b.poll, now)+1e6)
	b.backoff = min(2*b.backoff, b.node.grace())
}

// exhaust refuses all that come until the window ends, without asking.
func (b *Bucket) exhaust(now int64, stop int) {
	b.stop = stop
	long := believe
	if b.reserve {
		long = believeReserved
	}
	b.exh.Store(min(b.node.Clock.local(b.wins[stop].end), now+int64(long)))
}

// rest is when nobody waits: what is not needed near the limit goes back, and otherwise the
// mark is set at which to ask ahead.
func (b *Bucket) rest(now int64, out *Out) {
	b.parked, b.backoff = false, 0
	if b.near && b.giveBack(b.tok.Load()) {
		b.dirty = true
	}
	if b.pending != nil || b.isAway(now) {
		return
	}
	if b.dirty && b.near {
		b.report(now, out)
		return
	}
	if !b.near && !b.scarce && !b.exactAny() {
		use := b.demand.perNano * float64(b.node.RoundTrip()*3/2+2e6)
		b.low.Store(max(1, int64(math.Ceil(use))))
	}
}

// giveBack takes up to n tokens out of the bucket and of the claims.
func (b *Bucket) giveBack(n int64) bool {
	for {
		have := b.tok.Load()
		got := min(have, n)
		if got <= 0 {
			return false
		}
		if !b.tok.CompareAndSwap(have, have-got) {
			continue
		}
		b.demand.put(-got)
		for i := range b.wins {
			b.wins[i].own -= got
		}
		return true
	}
}

// Recall is the authority's call for what is held of the window that begins at start, in
// microseconds of the authority's time.
func (b *Bucket) Recall(now, start int64, out *Out) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.roll(now)
	called := false
	for i := range b.wins {
		w := &b.wins[i]
		if w.start/1000 != start {
			continue
		}
		called, w.near = true, true
		if b.nextTok > 0 && b.coversNext(w) {
			b.dropNext()
		}
	}
	if !called {
		return
	}
	b.near, b.dirty = true, true
	b.low.Store(never)
	b.giveBack(b.tok.Load())
	if b.pending == nil && !b.isAway(now) {
		b.report(now, out)
	}
	b.arm(now, out)
}

// Retire gives back all that is held, for a bucket that is forgotten. It may be used again.
func (b *Bucket) Retire(now int64, out *Out) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.roll(now)
	if b.nextTok > 0 {
		b.dropNext()
	}
	if b.giveBack(b.tok.Load()) {
		b.dirty = true
	}
	if b.dirty && b.pending == nil && !b.isAway(now) {
		b.report(now, out)
	}
}

// dropNext gives back what is held for the window after this one.
func (b *Bucket) dropNext() {
	for i := range b.wins {
		if w := &b.wins[i]; b.coversNext(w) {
			w.own -= b.nextTok
		}
	}
	b.nextTok = 0
	b.dirty = true
}
