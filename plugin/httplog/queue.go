package httplog

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// drainFor bounds what is sent after the end: a process that stops is not held longer.
const drainFor = 5 * time.Second

// queue holds entries until they are sent.
type queue struct {
	settings
	send func(ctx context.Context, batch [][]byte) error
	log  *slog.Logger
	wake chan struct{}

	mu      sync.Mutex
	waiting [][]byte
	size    int64
	dropped int  // since the queue was full
	full    bool // a word of it is in the log
}

func newQueue(s settings, send func(context.Context, [][]byte) error, log *slog.Logger) *queue {
	return &queue{settings: s, send: send, log: log, wake: make(chan struct{}, 1)}
}

// add queues an entry. It never waits: the oldest entries make room.
func (q *queue) add(entry []byte) {
	q.mu.Lock()
	q.waiting = append(q.waiting, entry)
	q.size += int64(len(entry))
	for len(q.waiting) > q.entries || q.bytes > 0 && q.size > q.bytes && len(q.waiting) > 0 {
		q.size -= int64(len(q.waiting[0]))
		q.waiting[0] = nil
		q.waiting = q.waiting[1:]
		q.dropped++
	}
	first := q.dropped > 0 && !q.full
	q.full = q.full || first
	q.mu.Unlock()
	if first {
		q.log.Error("queue is full; the oldest log entries are dropped", "plugin", "http-log", "max_entries", q.entries)
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take removes a batch, or nothing when the queue is empty.
func (q *queue) take() [][]byte {
	q.mu.Lock()
	n := min(q.batch, len(q.waiting))
	batch := append([][]byte(nil), q.waiting[:n]...)
	clear(q.waiting[:n])
	q.waiting = q.waiting[n:]
	for _, e := range batch {
		q.size -= int64(len(e))
	}
	dropped := 0
	if len(q.waiting) == 0 {
		q.waiting = nil // the array behind it is let go
		dropped, q.dropped, q.full = q.dropped, 0, false
	}
	q.mu.Unlock()
	if dropped > 0 {
		q.log.Error("log entries were dropped", "plugin", "http-log", "entries", dropped)
	}
	return batch
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

// run sends batches until ctx ends, then what is left. It returns how many entries of those
// could not be sent.
func (q *queue) run(ctx context.Context) (lost int) {
	// Batches under way when ctx ends go on, within the bound.
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var senders sync.WaitGroup
	slots := make(chan struct{}, q.senders)
	for q.wait(ctx) {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			continue // no slot is taken; wait says that it is the end
		}
		batch := q.take()
		senders.Go(func() {
			defer func() { <-slots }()
			q.deliver(sending, ctx, batch)
		})
	}
	bound := time.AfterFunc(drainFor, stop)
	defer bound.Stop()
	senders.Wait()
	for batch := q.take(); len(batch) > 0; batch = q.take() {
		if sending.Err() != nil || q.send(sending, batch) != nil {
			lost += len(batch)
		}
	}
	return lost
}

// wait waits for a batch: for as many entries as one holds, or for the time to pass since
// the first. It reports false at the end.
func (q *queue) wait(ctx context.Context) bool {
	for q.len() == 0 {
		select {
		case <-ctx.Done():
			return false
		case <-q.wake:
		}
	}
	timer := time.NewTimer(q.coalesce)
	defer timer.Stop()
	for q.len() < q.batch {
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

// deliver tries until the batch is sent, its time is over, or the queue comes to its end and
// one more try has failed.
func (q *queue) deliver(sending, ctx context.Context, batch [][]byte) {
	start, delay := time.Now(), q.firstDelay
	for {
		err := q.send(sending, batch)
		if err == nil {
			return
		}
		if time.Since(start)+delay > q.retryFor || ctx.Err() != nil {
			q.log.Error("log entries could not be sent", "plugin", "http-log", "entries", len(batch), "error", err)
			return
		}
		q.log.Warn("send log entries; trying again", "plugin", "http-log", "in", delay, "error", err)
		pause := time.NewTimer(delay)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
		delay = min(2*delay, q.maxDelay)
	}
}
