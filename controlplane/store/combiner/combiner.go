// Package combiner lets many callers share one database transaction: while one batch of
// commits is being written, the next gathers. A transaction costs a flush to disk however
// small it is, so sharing it is what makes many writers fast.
//
// It does not know how a batch is written or judged; it is given a function for that. It
// starts a goroutine only while there is something to write. Enter at New.
package combiner

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/plan"
)

const (
	// maxWaiting callers may wait for their batch; more wait to be let in. Their commits
	// are in memory, and behind a thousand of them an answer takes longer than a client's
	// patience anyway.
	maxWaiting = 1024
	// maxBatch commits share a transaction: beyond it the flush is no longer what costs.
	maxBatch = 256
)

// ErrConstraint says that a database refused a batch although it was judged to be sound,
// because someone wrote past the head's lock. The batch is then judged and written again,
// commit by commit, so that only the guilty one fails.
var ErrConstraint = errors.New("refused by a constraint of the database")

// Write writes a batch in one transaction: an outcome for each commit, or an error when
// nothing was written.
type Write func(batch []store.Commit) ([]plan.Outcome, error)

// Combiner gathers commits into batches. All methods may be called concurrently.
type Combiner struct {
	write Write
	slots chan struct{}
	done  chan struct{} // closed by Close

	mu      sync.Mutex
	queue   []*request
	running bool
	closed  bool
	work    sync.WaitGroup
}

type request struct {
	commit store.Commit
	size   int
	answer chan plan.Outcome // 1 deep: the writer never waits for a caller that left
}

// New makes a combiner that calls write for one batch at a time.
func New(write Write) *Combiner {
	return &Combiner{write: write, slots: make(chan struct{}, maxWaiting), done: make(chan struct{})}
}

// Commit has c written and tells its outcome. When ctx ends before the batch began, c is
// not written. When it ends later the caller does not learn the outcome, and may ask again
// with the same RequestID.
func (c *Combiner) Commit(ctx context.Context, commit store.Commit) (store.Revision, error) {
	size, err := plan.Check(&commit)
	if err != nil {
		return store.Revision{}, err
	}
	if err := ctx.Err(); err != nil {
		return store.Revision{}, err
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return store.Revision{}, ctx.Err()
	case <-c.done:
		return store.Revision{}, store.ErrClosed
	}
	r := &request{commit: commit, size: size, answer: make(chan plan.Outcome, 1)}
	if !c.enqueue(r) {
		return store.Revision{}, store.ErrClosed
	}
	select {
	case o := <-r.answer:
		return o.Revision, o.Err
	case <-ctx.Done():
		c.withdraw(r)
		return store.Revision{}, ctx.Err()
	}
}

// Close lets no new commit in and returns when all that were let in are answered.
func (c *Combiner) Close() {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.done)
	}
	c.mu.Unlock()
	c.work.Wait()
}

func (c *Combiner) enqueue(r *request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.queue = append(c.queue, r)
	if !c.running {
		c.running = true
		c.work.Add(1)
		go c.drain()
	}
	return true
}

// withdraw takes r out of the queue if its batch did not begin.
func (c *Combiner) withdraw(r *request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, q := range c.queue {
		if q == r {
			c.queue = append(c.queue[:i], c.queue[i+1:]...)
			return
		}
	}
}

// drain writes batches until the queue is empty.
func (c *Combiner) drain() {
	defer c.work.Done()
	for batch := c.next(); batch != nil; batch = c.next() {
		c.answer(batch)
	}
}

// next takes a batch off the queue: as many commits as fit, at least one.
func (c *Combiner) next() []*request {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, size := 0, 0
	for n < len(c.queue) && n < maxBatch && (n == 0 || size+c.queue[n].size <= store.MaxCommitBytes) {
		size += c.queue[n].size
		n++
	}
	if n == 0 {
		c.running, c.queue = false, nil
		return nil
	}
	batch := c.queue[:n:n]
	c.queue = c.queue[n:]
	return batch
}

// take takes the whole queue.
func (c *Combiner) take() []*request {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.queue
	c.queue = nil
	return all
}

// answer writes the batch; one that a constraint refused is written commit by commit.
func (c *Combiner) answer(batch []*request) {
	commits := make([]store.Commit, len(batch))
	for i, r := range batch {
		commits[i] = r.commit
	}
	outcomes, err := c.write(commits)
	if !errors.Is(err, ErrConstraint) {
		deliver(batch, outcomes, err)
		if errors.Is(err, store.ErrUnavailable) {
			// Who waited behind the batch waited for the same database: the time to an
			// answer stays bounded, however long the queue is.
			deliver(c.take(), nil, err)
		}
		return
	}
	for i := range batch {
		outcomes, err := c.write(commits[i : i+1])
		deliver(batch[i:i+1], outcomes, err)
	}
}

func deliver(batch []*request, outcomes []plan.Outcome, err error) {
	for i, r := range batch {
		if err != nil {
			r.answer <- plan.Outcome{Err: fmt.Errorf("commit: %w", err)}
			continue
		}
		r.answer <- outcomes[i]
	}
}
