// Package bell wakes the callers that wait for a new revision.
//
// It does not know what a revision holds or how the head is read. Whoever commits or hears
// of a commit rings it; where other processes commit too, a poll that runs only while
// somebody waits is the truth. Enter at New.
package bell

import (
	"context"
	"sync"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

// Poll makes a bell ask for the head.
type Poll struct {
	// Head reads the head's revision. Errors are passed over: the next poll asks again.
	Head func(context.Context) (uint64, error)
	// Every is the time between two polls.
	Every time.Duration
	// Hints, when set, runs beside the poll and calls its argument for every sign of a
	// new revision, until ctx ends.
	Hints func(ctx context.Context, ring func())
}

// Bell knows the last revision it heard of. All methods may be called concurrently.
type Bell struct {
	poll *Poll // nil: every commit rings

	mu      sync.Mutex
	rev     uint64
	rung    uint64        // how often Ring was called
	news    chan struct{} // closed when rev changes
	waiting int
	stop    context.CancelFunc // of the poll under way; nil when there is none
	loops   sync.WaitGroup
	closed  chan struct{}
}

// New makes a bell. poll may be nil when every commit rings.
func New(poll *Poll) *Bell {
	return &Bell{poll: poll, news: make(chan struct{}), closed: make(chan struct{})}
}

// Ring says that rev is committed. A lower one than before is passed over.
func (b *Bell) Ring(rev uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rung++
	if rev > b.rev {
		b.set(rev)
	}
}

// set needs mu.
func (b *Bell) set(rev uint64) {
	if rev != b.rev {
		b.rev = rev
		close(b.news)
		b.news = make(chan struct{})
	}
}

// Wait returns the head as soon as it is above after. When ctx ends it returns the head it
// knows and ctx's error.
func (b *Bell) Wait(ctx context.Context, after uint64) (uint64, error) {
	b.enter()
	defer b.leave()
	for {
		b.mu.Lock()
		rev, news := b.rev, b.news
		b.mu.Unlock()
		if rev > after {
			return rev, nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return rev, ctx.Err()
		case <-b.closed:
			return rev, store.ErrClosed
		}
	}
}

// Close wakes everybody with ErrClosed and ends the poll.
func (b *Bell) Close() {
	b.mu.Lock()
	select {
	case <-b.closed:
	default:
		close(b.closed)
	}
	if b.stop != nil {
		b.stop()
	}
	b.mu.Unlock()
	b.loops.Wait()
}

// enter starts the poll for the first caller.
func (b *Bell) enter() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting++
	if b.poll == nil || b.stop != nil {
		return
	}
	select {
	case <-b.closed:
		return
	default:
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.stop = cancel
	wake := make(chan struct{}, 1)
	b.loops.Add(1)
	go func() { defer b.loops.Done(); b.watch(ctx, wake) }()
	if b.poll.Hints != nil {
		b.loops.Add(1)
		go func() {
			defer b.loops.Done()
			b.poll.Hints(ctx, func() {
				select {
				case wake <- struct{}{}:
				default:
				}
			})
		}()
	}
}

func (b *Bell) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting--
}

// watch polls until ctx ends, or nobody waited for lingerPolls in a row.
func (b *Bell) watch(ctx context.Context, wake <-chan struct{}) {
	tick := time.NewTicker(b.poll.Every)
	defer tick.Stop()
	idle := 0
	for {
		b.ask(ctx)
		if idle = b.idle(idle); idle > lingerPolls {
			return
		}
		select {
		case <-tick.C:
		case <-wake:
		case <-ctx.Done():
			return
		}
	}
}

// A loop that waits, works and waits again should find the poll and the hints still there;
// a minute at the usual four polls a second.
const lingerPolls = 240

// idle counts polls that nobody waits for, and ends the poll above lingerPolls.
func (b *Bell) idle(n int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting > 0 {
		return 0
	}
	if n++; n > lingerPolls {
		b.stop()
		b.stop = nil
	}
	return n
}

// ask reads the head. What it reads is the truth, even when it is lower than what was
// heard (a database that lost its last commits), unless somebody rang meanwhile.
func (b *Bell) ask(ctx context.Context) {
	b.mu.Lock()
	rung := b.rung
	b.mu.Unlock()
	rev, err := b.poll.Head(ctx)
	if err != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if rung == b.rung || rev > b.rev {
		b.set(rev)
	}
}
