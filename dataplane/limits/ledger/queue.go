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

// letter is what waits for a call.
type letter interface {
	// key is that of package lease; questions of one call have the same tag on a cluster.
	key() string
	// fail says that no answer came.
	fail(now int64)
}

// courier makes calls of one script for many questions, which go out together.
type courier[Q letter] struct {
	ledger *Ledger
	queue  queue[Q]
	// call makes one call and says what time it is there; deliver hands the answers out.
	call func(ctx context.Context, qs []Q) (theirs int64, deliver func(sent, received int64), err error)
}

// queue holds what waits for a call. Every bucket has at most one question under way, so it
// is bounded by the number of buckets. What comes while calls run goes out in the next one
// together; nothing waits for others to come.
type queue[Q letter] struct {
	mu      sync.Mutex // guards what follows
	items   []Q
	working int
}

func (c *courier[Q]) enqueue(one Q) {
	q := &c.queue
	q.mu.Lock()
	q.items = append(q.items, one)
	start := q.working < workers
	if start {
		q.working++
	}
	q.mu.Unlock()
	if start {
		go c.work()
	}
}

// work makes calls until nothing waits.
func (c *courier[Q]) work() {
	for {
		items := c.queue.next(c.ledger.o.Cluster)
		if items == nil {
			return
		}
		c.exchange(items)
	}
}

// next takes what goes into one call, or ends the worker that asks when there is nothing.
func (q *queue[Q]) next(oneTag bool) []Q {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) == 0 {
		q.working--
		q.items = nil // it keeps the room of its busiest moment
		return nil
	}
	if !oneTag {
		n := min(batch, len(q.items))
		items := append([]Q(nil), q.items[:n]...)
		q.items = q.items[n:]
		return items
	}
	tag := tagOf(q.items[0].key())
	var items []Q
	rest := q.items[:0]
	for _, one := range q.items {
		if len(items) < batch && tagOf(one.key()) == tag {
			items = append(items, one)
		} else {
			rest = append(rest, one)
		}
	}
	q.items = rest
	return items
}

// waitEmpty waits until what was queued was sent and answered.
func (q *queue[Q]) waitEmpty(ctx context.Context) {
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

// trip is one call. Whoever sets decided first tells who asked.
type trip[Q letter] struct {
	items   []Q
	sent    int64
	decided atomic.Bool
	done    chan struct{}
}

// exchange makes one call and waits for its answer for as long as requests may. An answer
// that comes later says only that Redis is there: what it granted is claimed back by the next
// question, as claims are absolute.
func (c *courier[Q]) exchange(items []Q) {
	l := c.ledger
	if l.node.Down() {
		c.fail(items)
		return
	}
	t := &trip[Q]{items: items, sent: l.o.Now(), done: make(chan struct{})}
	l.stats.calls.Add(1)
	l.stats.asks.Add(uint64(len(items)))
	patience := l.patience()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	go c.carry(t)
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
			c.fail(items)
		}
		return
	}
}

func (c *courier[Q]) carry(t *trip[Q]) {
	defer close(t.done)
	l := c.ledger
	ctx, cancel := context.WithTimeout(context.Background(), l.o.Timeout)
	defer cancel()
	theirs, deliver, err := c.call(ctx, t.items)
	received := l.o.Now()
	if !t.decided.CompareAndSwap(false, true) {
		if err == nil && time.Duration(received-t.sent) < 5*l.patience() {
			l.answered(t.sent, received, theirs)
		}
		return
	}
	if err != nil {
		l.silent(err)
		c.fail(t.items)
		return
	}
	l.answered(t.sent, received, theirs)
	deliver(t.sent, received)
}

func (c *courier[Q]) fail(items []Q) {
	now := c.ledger.o.Now()
	for _, one := range items {
		one.fail(now)
	}
}

// item is a question about leases and who asks it.
type item struct {
	from *entry
	ask  *lease.Ask
}

func (it item) key() string { return it.ask.Key }

func (it item) fail(now int64) {
	var out lease.Out
	it.from.Fail(now, it.ask, &out)
	it.from.do(&out)
}

func (l *Ledger) askLeases(ctx context.Context, items []item) (theirs int64, deliver func(sent, received int64), err error) {
	asks, answers := make([]*lease.Ask, len(items)), make([]lease.Answer, len(items))
	for i := range items {
		asks[i] = items[i].ask
	}
	if err := call(ctx, l.o.Client, acquire, l.channel, asks, answers); err != nil {
		return 0, nil, err
	}
	return answers[0].Now, func(sent, received int64) {
		for i, it := range items {
			if answers[i].Status == lease.Broken {
				l.broken(it.ask.Key)
			}
			var out lease.Out
			it.from.Reply(received, sent, &answers[i], &out)
			it.from.do(&out)
		}
	}, nil
}
