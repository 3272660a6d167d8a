package lease

import "sync/atomic"

// Reservation is what a request took before it was known what it would use, such as the
// tokens of a language model. It is settled once, by whoever comes first.
type Reservation struct {
	n       int64
	window  int64 // start of the shortest window that it was charged to
	settled atomic.Bool
}

// Reserve keeps what w was admitted with.
func Reserve(w *Waiter) *Reservation { return &Reservation{n: w.N, window: w.Window} }

// Settle corrects a reservation to what was used, in the windows that it was charged to: what
// is over goes to others here or back; what is missing is taken from the tokens here, and
// beyond them is debt. Windows that have ended stay as they are. It reports false when the
// reservation was settled before.
//
// A use that is never above its reservation keeps the limit; the excess of estimates is the
// sum of what they were too low by.
func (b *Bucket) Settle(now int64, r *Reservation, used int64, out *Out) bool {
	if r.settled.Swap(true) {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.roll(now)
	switch over := r.n - used; {
	case over > 0:
		b.refund(r, over)
	case over < 0:
		b.takeMore(r, -over)
	}
	b.proceed(now, out)
	b.arm(now, out)
	return true
}

func (b *Bucket) refund(r *Reservation, n int64) {
	if b.wins[0].start == r.window {
		b.demand.put(n)
		b.tok.Add(n)
		b.dirty = true // others may wait for it, and nobody knows of it
		return
	}
	b.chargeIn(r, -n)
}

func (b *Bucket) takeMore(r *Reservation, n int64) {
	if b.wins[0].start == r.window {
		for {
			have := b.tok.Load()
			got := min(max(0, have), n)
			if b.tok.CompareAndSwap(have, have-got) {
				n -= got
				break
			}
		}
	}
	if n > 0 {
		b.chargeIn(r, n)
	}
}

// chargeIn claims n more of the windows that r was charged to.
func (b *Bucket) chargeIn(r *Reservation, n int64) {
	for i := range b.wins {
		w := &b.wins[i]
		if start, _ := span(b.rule.Windows[i].Period, r.window); start == w.start {
			w.own += n
			w.left.Add(-n)
			b.dirty = true
		}
	}
}
