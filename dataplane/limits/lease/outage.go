package lease

import (
	"hash/fnv"

	"github.com/sekifuda/sekifuda/plugin"
)

// weightAge is how old a view of everyone's demand may be for parts to be made from it.
const weightAge = int64(2e9)

// isAway reports whether to decide without the authority.
func (b *Bucket) isAway(now int64) bool { return b.node.Down() || now < b.away }

// Fail says that no answer came to q. Those who wait are decided at once: by the outage mode
// if the node is down, else by asking again.
func (b *Bucket) Fail(now int64, q *Ask, out *Out) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pending != q {
		return
	}
	b.pending = nil
	// The claims are absolute, so it does not matter whether q arrived; but they must arrive.
	b.dirty = true
	if b.nextFor == q.Claims[0].Start*1000 {
		b.nextFor = 0 // to ask for it again
	}
	b.roll(now)
	b.proceed(now, out)
	b.arm(now, out)
}

func (b *Bucket) shareAll(now int64, out *Out) {
	for _, w := range b.waiters {
		b.share(now, w, out)
	}
	clear(b.waiters)
	b.waiters, b.wanted, b.parked = b.waiters[:0], 0, false
}

// share decides w by the outage mode. What it admits is debt: claims that the authority has
// not granted.
func (b *Bucket) share(now int64, w *Waiter, out *Out) {
	w.Outage, w.Window = true, b.wins[0].start
	out.Done = append(out.Done, w)
	if b.rule.Outage == plugin.Closed {
		w.Verdict = Fault
		return
	}
	w.Verdict = Admit
	if b.rule.Outage != plugin.Open {
		for i := range b.wins {
			b.setShare(now, i)
			if b.wins[i].share < w.N {
				w.Verdict, w.Stop = Refuse, i
			}
		}
	}
	for i := range b.wins {
		s := &b.wins[i]
		if w.Verdict == Admit {
			s.share -= w.N
			s.own += w.N
			b.dirty = b.dirty || w.N > 0
		}
		w.Left[i] = max(0, s.share)
	}
}

// setShare makes the gate's part of what was left of a window when it was last seen.
func (b *Bucket) setShare(now int64, i int) {
	w := &b.wins[i]
	if w.shared {
		return
	}
	w.shared = true
	base := max(0, w.left.Load()) // the limit when nothing is known
	if b.rule.Outage == plugin.DemandShare && now-b.seen < weightAge {
		w.share = int64(float64(base) * b.weight)
		return
	}
	w.share = b.node.fleet.Load().part(base, b.key, w.start)
}

// part is this gate's part of base; those of all members sum to it.
func (f *Fleet) part(base int64, key string, start int64) int64 {
	n := int64(max(1, len(f.Members)))
	part := base / n
	if f.rank(key, start) < base%n {
		part++
	}
	return part
}

// rank orders the members differently for every key and window, so that the odd tokens of
// small limits do not always go to the same gates.
func (f *Fleet) rank(key string, start int64) (rank int64) {
	own := hash(f.Self+key, start)
	for _, m := range f.Members {
		if m != f.Self && hash(m+key, start) > own {
			rank++
		}
	}
	return rank
}

// hash is the same on every gate.
func hash(s string, n int64) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	var b [8]byte
	for i := range b {
		b[i] = byte(n >> (8 * i))
	}
	_, _ = h.Write(b[:])
	x := h.Sum64()
	// FNV spreads the last bytes poorly.
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	return x ^ x>>33
}
