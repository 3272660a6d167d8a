// Package outbox holds what log and trace plugins have to send until it is sent: a bounded
// queue, filled by exchanges, and the loop that empties it in batches.
//
// It knows bytes, bounds and retries; what they say and where they go is a plugin's. Enter at
// New.
package outbox

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Settings are the bounds of a queue and the pace of its loop.
type Settings struct {
	Entries  int           // that wait at most; at least 1
	Bytes    int64         // that wait at most; 0: no bound
	Batch    int           // entries that are sent together; at least 1
	Coalesce time.Duration // how long the first of a batch waits for others
	Senders  int           // batches under way at a time; 0: one
	// RetryFor is how long a batch is tried, from its first try on; 0: once. Delays between
	// tries begin with FirstDelay and double up to MaxDelay.
	RetryFor, FirstDelay, MaxDelay time.Duration
}

// Kong's bound of a queue, and what keeps large entries from making it a matter of gigabytes.
const (
	DefaultEntries = 10000
	DefaultBytes   = 32 << 20
)

// DrainFor bounds what is sent after the end: a process that stops is not held longer.
const DrainFor = 5 * time.Second

// Queue holds entries until they are sent. Add is safe for concurrent use; Run is called once.
type Queue struct {
	s    Settings
	log  *slog.Logger
	wake chan struct{}

	mu      sync.Mutex
	waiting [][]byte
	bytes   int64
	dropped int  // since the last batch was sent
	failing bool // the last batch could not be sent
}

// New returns an empty queue. log names the plugin.
func New(s Settings, log *slog.Logger) *Queue {
	return &Queue{s: s, log: log, wake: make(chan struct{}, 1)}
}

// scratch is where entries are made, so that each takes no more memory than it has bytes.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// Add queues what render appends. It never waits: in a full queue the oldest make room, and
// are counted.
func (q *Queue) Add(render func(b []byte) []byte) {
	b := scratch.Get().(*[]byte)
	*b = render((*b)[:0])
	entry := slices.Clone(*b)
	if cap(*b) <= 64<<10 {
		scratch.Put(b) // a rare large one is not kept
	}
	q.mu.Lock()
	q.waiting = append(q.waiting, entry)
	q.bytes += int64(len(entry))
	for len(q.waiting) > q.s.Entries || q.s.Bytes > 0 && q.bytes > q.s.Bytes && len(q.waiting) > 0 {
		q.bytes -= int64(len(q.waiting[0]))
		q.waiting[0] = nil
		q.waiting = q.waiting[1:]
		q.dropped++
	}
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Run sends batches until ctx ends, and then what is left, for DrainFor at most. What cannot
// be sent is lost, which the log tells when it begins and when it is over.
func (q *Queue) Run(ctx context.Context, send func(ctx context.Context, batch [][]byte) error) {
	// A batch that is on its way when ctx ends goes on, within the bound.
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	unwatch := context.AfterFunc(ctx, func() { time.AfterFunc(DrainFor, stop) })
	defer unwatch()
	var senders sync.WaitGroup
	slots := make(chan struct{}, max(q.s.Senders, 1))
	for q.wait(ctx) {
		if cap(slots) == 1 {
			q.deliver(ctx, sending, send)
			continue
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			continue // no slot is taken; wait says that it is the end
		}
		batch := q.next()
		senders.Go(func() {
			defer func() { <-slots }()
			q.try(ctx, sending, send, batch)
		})
	}
	senders.Wait()
	for q.len() > 0 {
		q.deliver(ctx, sending, send)
	}
}

// wait waits for a batch: for as many entries as one holds, or for the time to pass since the
// first. It reports false at the end.
func (q *Queue) wait(ctx context.Context) bool {
	for q.len() == 0 {
		select {
		case <-ctx.Done():
			return false
		case <-q.wake:
		}
	}
	if q.s.Coalesce <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(q.s.Coalesce)
	defer timer.Stop()
	for q.len() < q.s.Batch {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-q.wake:
		}
	}
	return ctx.Err() == nil
}

func (q *Queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

func (q *Queue) take() (batch [][]byte, dropped int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(q.s.Batch, len(q.waiting))
	batch = slices.Clone(q.waiting[:n])
	for _, entry := range batch {
		q.bytes -= int64(len(entry))
	}
	clear(q.waiting[:n])
	if q.waiting = q.waiting[n:]; len(q.waiting) == 0 {
		q.waiting = nil // the array behind it is let go
	}
	dropped, q.dropped = q.dropped, 0
	return batch, dropped
}

// deliver takes a batch and sends it.
func (q *Queue) deliver(ctx, sending context.Context, send func(context.Context, [][]byte) error) {
	q.try(ctx, sending, send, q.next())
}

// next takes a batch, and tells what was dropped before it.
func (q *Queue) next() [][]byte {
	batch, dropped := q.take()
	if dropped > 0 {
		q.log.Error("queue was full; entries are lost", "entries", dropped)
	}
	return batch
}

// try tries until a batch is sent, its time is over, or the queue comes to its end.
func (q *Queue) try(ctx, sending context.Context, send func(context.Context, [][]byte) error, batch [][]byte) {
	if len(batch) == 0 {
		return
	}
	start, delay := time.Now(), q.s.FirstDelay
	for tries := 1; ; tries++ {
		err := send(sending, batch)
		if err == nil {
			if q.fails(false) {
				q.log.Info("entries are sent again")
			}
			return
		}
		if ctx.Err() != nil || q.s.RetryFor <= 0 || time.Since(start)+delay > q.s.RetryFor {
			// A server that is away is one event: the first loss of many is told.
			if !q.fails(true) {
				q.log.Error("entries are lost until the server can be reached", "entries", len(batch), "error", err)
			}
			return
		}
		if tries == 1 {
			q.log.Warn("send entries; trying again", "entries", len(batch), "error", err)
		}
		pause := time.NewTimer(delay)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
		delay = min(2*delay, q.s.MaxDelay)
	}
}

// fails notes whether the last batch was lost, and returns what it was before.
func (q *Queue) fails(now bool) (before bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	before, q.failing = q.failing, now
	return before
}
