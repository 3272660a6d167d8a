package lease

// Forgive is the operator's word that the window that begins at start, in microseconds of the
// authority's time, was set back: what is known of it is not so any more. Who is refused without
// asking asks again.
func (b *Bucket) Forgive(now, start int64, out *Out) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.roll(now)
	for i := range b.wins {
		w := &b.wins[i]
		if w.start/1000 != start {
			continue
		}
		w.known, w.near, w.shared = false, false, false
		w.left.Store(b.rule.Windows[i].Limit)
		w.others = 0
		b.exh.Store(0)
		b.parked, b.backoff = false, 0
		if b.pending != nil {
			b.doubt = b.pending.Seq // its answer may be of before
		}
	}
	b.near = false
	for i := range b.wins {
		b.near = b.near || b.wins[i].near
	}
	b.proceed(now, out)
	b.arm(now, out)
}
