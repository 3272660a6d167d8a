package lease

// Join decides w, or takes it in until it appears in some later Out.Done.
func (b *Bucket) Join(now int64, w *Waiter, out *Out) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w.Arrived, b.used = now, now
	b.reserve = b.reserve || w.Reserve
	b.roll(now)
	if w.N == 0 {
		b.peek(now, w, out)
	} else if b.useToken(now, w) {
		b.admit(w, 0)
		out.Done = append(out.Done, w)
	} else {
		b.demand.joined += w.N
		b.queue(now, w, out)
	}
	b.arm(now, out)
}

// Leave takes out a waiter that gave up. It reports false when w was decided meanwhile: then
// it is in an Out.Done.
func (b *Bucket) Leave(w *Waiter) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, x := range b.waiters {
		if x == w {
			b.waiters = append(b.waiters[:i], b.waiters[i+1:]...)
			b.wanted -= w.N
			return true
		}
	}
	return false
}

// Refill asks for more before there is none, after Take said so.
func (b *Bucket) Refill(now int64, out *Out) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.roll(now)
	if b.pending == nil && !b.near && !b.isAway(now) {
		b.ask(now, out)
	}
	b.arm(now, out)
}

// peek tells what there is without taking. Windows whose every token is asked for are known
// only by asking.
func (b *Bucket) peek(now int64, w *Waiter, out *Out) {
	known := now < b.exh.Load() || b.isAway(now)
	if !known {
		known = true
		for i := range b.wins {
			known = known && b.wins[i].known && !b.exact(i)
		}
	}
	if known {
		b.admit(w, 0)
		out.Done = append(out.Done, w)
		return
	}
	b.wait(now, w, out)
}

func (b *Bucket) queue(now int64, w *Waiter, out *Out) {
	switch {
	case now < b.exh.Load():
		b.refuse(w, b.stop, out)
	case b.isAway(now) || len(b.waiters) >= maxWaiters:
		b.share(now, w, out)
	case b.takeAhead(w):
		out.Done = append(out.Done, w)
		if b.pending == nil {
			b.ask(now, out)
		}
	case b.parked && b.full(w.N):
		_, i := b.capacity()
		b.refuse(w, i, out)
	default:
		b.wait(now, w, out)
	}
}

func (b *Bucket) wait(now int64, w *Waiter, out *Out) {
	b.waiters = append(b.waiters, w)
	b.wanted += w.N
	w.seq = 0
	if b.pending == nil && !b.parked {
		b.ask(now, out)
	}
}

// full reports whether n more than all that wait cannot be met, whatever others give back.
func (b *Bucket) full(n int64) bool {
	most, _ := b.capacity()
	return b.wanted+n > most
}

// capacity is the most that may still come, and the window that allows least.
func (b *Bucket) capacity() (most int64, at int) {
	for i := range b.wins {
		w := &b.wins[i]
		if room := w.left.Load() + w.others; i == 0 || room <= most {
			most, at = room, i
		}
	}
	return most, at
}

// unleased is the least that is charged to nobody.
func (b *Bucket) unleased() int64 {
	least := b.wins[0].left.Load()
	for i := range b.wins {
		least = min(least, b.wins[i].left.Load())
	}
	return least
}

// useToken takes w.N of what is here; others may be taking too.
func (b *Bucket) useToken(now int64, w *Waiter) bool {
	if now >= b.end.Load() {
		return false
	}
	for {
		have := b.tok.Load()
		if have < w.N {
			return false
		}
		if b.tok.CompareAndSwap(have, have-w.N) {
			return true
		}
	}
}

// admit fills in w; rest is what of a grant is for those behind it.
func (b *Bucket) admit(w *Waiter, rest int64) {
	w.Verdict, w.Window, w.Outage = Admit, b.wins[0].start, false
	held := rest + max(0, b.tok.Load())
	for i := range b.wins {
		w.Left[i] = max(0, b.wins[i].left.Load()+held)
	}
}

func (b *Bucket) refuse(w *Waiter, stop int, out *Out) {
	w.Verdict, w.Stop, w.Window, w.Outage = Refuse, stop, b.wins[0].start, false
	b.Left(&w.Left)
	out.Done = append(out.Done, w)
}

// takeAhead admits w before anything is known of the windows, as debt, within the rule's
// bound.
func (b *Bucket) takeAhead(w *Waiter) bool {
	for i := range b.wins {
		if b.wins[i].known || b.wins[i].ahead < w.N {
			return false
		}
	}
	for i := range b.wins {
		b.wins[i].ahead -= w.N
		b.wins[i].own += w.N
		b.wins[i].left.Add(-w.N)
	}
	b.dirty = true
	b.admit(w, 0)
	return true
}

func (b *Bucket) exact(i int) bool { return b.rule.Windows[i].Limit <= b.rule.ExactUpTo }

func (b *Bucket) exactAny() bool {
	for i := range b.wins {
		if b.exact(i) {
			return true
		}
	}
	return false
}
