package lease

import (
	"math"
	"sync"
	"sync/atomic"
)

// never is a mark that tokens do not fall to.
const never = math.MinInt64

// Bucket is a gate's part of one identifier under one rule. All methods are safe for
// concurrent use; times are local and in nanoseconds.
type Bucket struct {
	tok atomic.Int64 // leased and not used
	end atomic.Int64 // until when tok may be used
	exh atomic.Int64 // until when there is nothing left for anyone
	low atomic.Int64 // to ask ahead when tok falls to it

	node *Node
	rule *Rule
	key  string

	mu      sync.Mutex // guards what follows
	holder  string
	seq     int64
	pending *Ask  // sent and not answered
	doubt   int64 // the answer to this question says nothing of windows: they were set back since
	wins    []window
	waiters []*Waiter
	wanted  int64 // by waiters
	near    bool
	parked  bool
	reserve bool // parts of what was taken may come back, here and elsewhere
	backoff int64
	poll    int64 // when to ask again for who is parked
	dirty   bool  // the authority should hear of the claims
	stop    int   // the window that is exhausted
	moves   int   // answers in a row that the clock is in another window
	away    int64 // until when this key is decided as in an outage
	expires int64 // of reclaimable tokens
	idle    int64 // when to look for idle tokens
	wake    int64 // what Out.Wake said last
	used    int64 // when last joined or asked

	nextTok int64 // leased for the window after wins[0]
	nextFor int64 // its start; 0: not asked for

	scarce bool // too little is left to ask ahead

	demand demand
	weight float64 // part of all demand, when weighed
	seen   int64   // when weight was seen
}

// window is what a bucket knows of one window. Times are the authority's.
type window struct {
	start, end int64
	own        int64        // charged for this bucket
	left       atomic.Int64 // by the last answer
	others     int64
	known      bool // an answer told of it
	near       bool
	share      int64 // what an outage lets this gate admit
	shared     bool
	ahead      int64 // what may be admitted before the first answer
}

// NewBucket makes a bucket that knows nothing yet. key names the rule and the identifier.
func NewBucket(n *Node, r *Rule, key string) *Bucket {
	b := &Bucket{node: n, rule: r, key: key, wins: make([]window, len(r.Windows))}
	b.born()
	b.low.Store(never)
	return b
}

// born makes the bucket a holder that the authority has not heard of. A holder that forgot
// what it was granted must not speak for the one who knew.
func (b *Bucket) born() {
	b.holder = b.node.born()
}

// Take decides n requests at once or not at all. ask is true for one caller each time that
// tokens run low: it calls Refill. Undecided requests Join. It neither waits nor allocates.
//
// It compares and swaps: taking first and putting back what was not there would make a token
// when the window ends in between.
func (b *Bucket) Take(now, n int64) (v Verdict, ask bool) {
	if now < b.end.Load() {
		for {
			have := b.tok.Load()
			if have < n {
				break
			}
			if b.tok.CompareAndSwap(have, have-n) {
				low := b.low.Load()
				return Admit, have-n <= low && b.low.CompareAndSwap(low, never)
			}
		}
	}
	if now < b.exh.Load() {
		return Refuse, false
	}
	return Undecided, false
}

// Left fills in what remains of each window by the last answer and the tokens here. It is
// exact when nobody leases ahead and never negative.
func (b *Bucket) Left(left *[MaxWindows]int64) {
	held := max(0, b.tok.Load())
	for i := range b.wins {
		left[i] = max(0, b.wins[i].left.Load()+held)
	}
}

// Stop is the window that refuses, and what remains of each, when Take refused.
func (b *Bucket) Stop(left *[MaxWindows]int64) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Left(left)
	return b.stop
}

// Quiet reports whether the bucket can be forgotten at now without loss: nothing is held,
// owed, waited for or known to be exhausted.
func (b *Bucket) Quiet(now int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.quiet(now)
}

func (b *Bucket) quiet(now int64) bool {
	if b.pending != nil || len(b.waiters) > 0 {
		return false
	}
	if b.node.Clock.Authority(now) >= b.wins[len(b.wins)-1].end {
		return true
	}
	return b.tok.Load() == 0 && b.nextTok == 0 && !b.dirty && now >= b.exh.Load()
}

// Idle reports whether the bucket should be forgotten: it is quiet, and its windows have ended
// or nobody asked for long. A bucket that is made again is another holder to the authority, so
// forgetting one that is soon asked for fills the counters with holders.
func (b *Bucket) Idle(now int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.quiet(now) && (now-b.used > unusedFor || b.node.Clock.Authority(now) >= b.wins[len(b.wins)-1].end)
}

// WakeAt is when Tick is next of use, or 0.
func (b *Bucket) WakeAt() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.wake
}

// Window is the start of the shortest window now, by the authority's clock.
func (b *Bucket) Window() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.wins[0].start
}

// Held is how many tokens are here.
func (b *Bucket) Held() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tok.Load() + b.nextTok
}
