package ledger

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/limits/lease"
)

const (
	// batch is how many questions go in one call: the script then runs for about two
	// milliseconds, in which Redis does nothing else.
	batch = 128
	// workers bounds the calls under way at once. A second one serves who came just after
	// the first left; more only make calls emptier.
	workers = 4
	// stall is by how much a timer may be late before this process, and not Redis, is taken
	// for the one that stood still.
	stall = 5 * time.Millisecond
)

// item is a question and who asks it.
type item struct {
	from *entry
	ask  *lease.Ask
}

// queue holds what waits for a call. Every bucket has at most one question under way, so it
// is bounded by the number of buckets. What comes while calls run goes out in the next one
// together; nothing waits for others to come.
type queue struct {
	mu      sync.Mutex // guards what follows
	items   []item
	working int
}

func (l *Ledger) enqueue(it item) {
	q := &l.queue
	q.mu.Lock()
	q.items = append(q.items, it)
	start := q.working < workers
	if start {
		q.working++
	}
	q.mu.Unlock()
	if start {
		go l.work()
	}
}

// work makes calls until nothing waits.
func (l *Ledger) work() {
	for {
		items := l.queue.next(l.o.Cluster)
		if items == nil {
			return
		}
		l.exchange(items)
	}
}

// next takes what goes into one call, or ends the worker that asks when there is nothing.
func (q *queue) next(oneTag bool) []item {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) == 0 {
		q.working--
		q.items = nil // it keeps the room of its busiest moment
		return nil
	}
	if !oneTag {
		n := min(batch, len(q.items))
		items := append([]item(nil), q.items[:n]...)
		q.items = q.items[n:]
		return items
	}
	tag := tagOf(q.items[0].ask.Key)
	var items []item
	rest := q.items[:0]
	for _, it := range q.items {
		if len(items) < batch && tagOf(it.ask.Key) == tag {
			items = append(items, it)
		} else {
			rest = append(rest, it)
		}
	}
	q.items = rest
	return items
}

// waitEmpty waits until what was queued was sent and answered.
func (q *queue) waitEmpty(ctx context.Context) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		q.mu.Lock()
		done := q.working == 0
		q.mu.Unlock()
		if done {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// trip is one call. Whoever sets decided first tells the buckets.
type trip struct {
	items   []item
	answers []lease.Answer
	sent    int64
	decided atomic.Bool
	done    chan struct{}
}

// exchange makes one call and waits for its answer for as long as requests may. An answer
// that comes later says only that Redis is there: what it granted is claimed back by the next
// question, as claims are absolute.
func (l *Ledger) exchange(items []item) {
	if l.node.Down() {
		l.fail(items)
		return
	}
	t := &trip{items: items, answers: make([]lease.Answer, len(items)), sent: l.o.Now(), done: make(chan struct{})}
	l.stats.calls.Add(1)
	l.stats.asks.Add(uint64(len(items)))
	patience := l.patience()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	go l.carry(t)
	for extended := false; ; extended = true {
		select {
		case <-t.done:
			return
		case <-timer.C:
		}
		late := time.Duration(l.o.Now()-t.sent) > patience+stall
		if late && !extended {
			timer.Reset(patience)
			continue
		}
		if t.decided.CompareAndSwap(false, true) {
			l.silent(errPatience)
			l.fail(items)
		}
		return
	}
}

func (l *Ledger) carry(t *trip) {
	defer close(t.done)
	ctx, cancel := context.WithTimeout(context.Background(), l.o.Timeout)
	defer cancel()
	asks := make([]*lease.Ask, len(t.items))
	for i := range t.items {
		asks[i] = t.items[i].ask
	}
	err := call(ctx, l.o.Client, acquire, l.channel, asks, t.answers)
	received := l.o.Now()
	if !t.decided.CompareAndSwap(false, true) {
		if err == nil && time.Duration(received-t.sent) < 5*l.patience() {
			l.answered(t.sent, received, t.answers[0].Now)
		}
		return
	}
	if err != nil {
		l.silent(err)
		l.fail(t.items)
		return
	}
	l.answered(t.sent, received, t.answers[0].Now)
	for i, it := range t.items {
		if t.answers[i].Status == lease.Broken {
			l.broken(it.ask.Key)
		}
		var out lease.Out
		it.from.Reply(received, t.sent, &t.answers[i], &out)
		it.from.do(&out)
	}
}

func (l *Ledger) fail(items []item) {
	now := l.o.Now()
	for _, it := range items {
		var out lease.Out
		it.from.Fail(now, it.ask, &out)
		it.from.do(&out)
	}
}
