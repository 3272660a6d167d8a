package lease

import (
	"sync"
	"sync/atomic"
	"time"
)

// Pace is a sliding limit: Limit in any stretch of Length once Burst is used up. Immutable.
type Pace struct {
	Limit  int64
	Length time.Duration
	Burst  int64
}

// interval is the time between two requests at the pace, rounded up: never faster.
func (p *Pace) interval() int64 {
	return max(1, (int64(p.Length)+p.Limit-1)/max(1, p.Limit))
}

// Usable is for how long a lease of this pace may be used: a part of what fills the burst. It is 0
// when so little is allowed that every request must ask.
func (p *Pace) Usable() int64 {
	usable := min(p.interval()*p.Burst/8, int64(500*time.Millisecond))
	if usable < 2*p.interval() {
		return 0
	}
	return usable
}

// Theoretical is a sliding limit where counts are kept: when the next request would come if
// all came at the pace, in nanoseconds. It is all that is stored of a key.
type Theoretical int64

// Lease grants up to wanted, or up to target when leases may be used later than at once, and
// says how long until one more will be granted.
//
// A lease is used up to usable after it was granted, so what is admitted in a stretch was
// granted in one that is longer by that. The burst is shortened by what comes in usable; then
// admissions keep to the pace exactly, whenever leases are used.
func (t *Theoretical) Lease(now int64, p *Pace, wanted, target int64) (grant, wait int64) {
	return t.lease(now, p, wanted, target, true)
}

func (t *Theoretical) lease(now int64, p *Pace, wanted, target int64, reserve bool) (grant, wait int64) {
	usable, interval := p.Usable(), p.interval()
	room := p.Burst * interval
	if reserve {
		room -= (usable + interval - 1) / interval * interval
	}
	ahead := max(0, int64(*t)-now)
	most := max(0, (room-ahead)/interval)
	if usable == 0 {
		target = wanted
	}
	grant = min(most, max(wanted, target))
	*t = Theoretical(now + ahead + grant*interval)
	if grant == most {
		wait = max(0, now+ahead+(grant+1)*interval-room-now)
	}
	return grant, wait
}

// SlidingBucket is a gate's part of one key under a Pace. It is safe for concurrent use; times
// are local. What is not used in time is lost, to the pace's disadvantage only.
type SlidingBucket struct {
	tok atomic.Int64
	end atomic.Int64

	pace *Pace
	mu   sync.Mutex // guards what follows
	sent int64
	busy bool
}

// NewSlidingBucket makes a part that has leased nothing.
func NewSlidingBucket(p *Pace) *SlidingBucket { return &SlidingBucket{pace: p} }

// Take uses one token that is here. It neither waits nor allocates.
func (b *SlidingBucket) Take(now int64) bool {
	for now < b.end.Load() {
		have := b.tok.Load()
		if have <= 0 {
			return false
		}
		if b.tok.CompareAndSwap(have, have-1) {
			return true
		}
	}
	return false
}

// Ask begins a question, unless one is under way; the caller sends it and calls Reply or Fail.
func (b *SlidingBucket) Ask(now int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.busy {
		return false
	}
	b.busy, b.sent = true, now
	return true
}

// Reply takes a grant of which wanted requests waited. It returns how many of these are
// admitted; the rest is here until Usable after the question was sent.
func (b *SlidingBucket) Reply(grant, wanted int64) (admitted int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.busy = false
	admitted = min(grant, wanted)
	// Tokens of before have their own end, which is earlier: they are lost.
	b.end.Store(0)
	b.tok.Store(grant - admitted)
	b.end.Store(b.sent + b.pace.Usable())
	return admitted
}

// Fail says that no answer came.
func (b *SlidingBucket) Fail() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.busy = false
}
