package combiner

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/plan"
)

// desk is a database that takes a second for a batch and notes what it was given.
type desk struct {
	mu      sync.Mutex
	batches [][]string
	fail    func(batch []store.Commit) error
}

func (d *desk) write(batch []store.Commit) ([]plan.Outcome, error) {
	time.Sleep(time.Second)
	d.mu.Lock()
	defer d.mu.Unlock()
	var messages []string
	outcomes := make([]plan.Outcome, len(batch))
	for i, c := range batch {
		messages = append(messages, c.Message)
		outcomes[i].Revision.Message = c.Message
	}
	d.batches = append(d.batches, messages)
	if d.fail != nil {
		if err := d.fail(batch); err != nil {
			return nil, err
		}
	}
	return outcomes, nil
}

// send commits messages, each from a caller of its own, in their order.
func send(t *testing.T, c *Combiner, ctx context.Context, answers chan<- error, messages ...string) {
	t.Helper()
	for _, m := range messages {
		go func() {
			r, err := c.Commit(ctx, store.Commit{Message: m})
			if err == nil && r.Message != m {
				err = fmt.Errorf("answer %q to %q", r.Message, m)
			}
			answers <- err
		}()
		synctest.Wait()
	}
}

func TestBatchesGatherWhileOneIsWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var d desk
		c := New(d.write)
		answers := make(chan error, 8)
		send(t, c, t.Context(), answers, "a", "b", "c", "d")
		for range 4 {
			if err := <-answers; err != nil {
				t.Errorf("Commit = %v", err)
			}
		}
		if got := fmt.Sprint(d.batches); got != "[[a] [b c d]]" {
			t.Errorf("batches = %v, want the first alone and the rest together", got)
		}
		send(t, c, t.Context(), answers, "e") // a queue that was empty starts again
		if err := <-answers; err != nil {
			t.Errorf("Commit = %v", err)
		}
	})
}

func TestConstraintHitsTheGuilty(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := desk{fail: func(batch []store.Commit) error {
			for _, c := range batch {
				if c.Message == "guilty" {
					return fmt.Errorf("%w: a key", ErrConstraint)
				}
			}
			return nil
		}}
		c := New(d.write)
		answers := make(chan error, 8)
		send(t, c, t.Context(), answers, "first", "x", "guilty", "y")
		failed := 0
		for range 4 {
			if err := <-answers; errors.Is(err, ErrConstraint) {
				failed++
			} else if err != nil {
				t.Errorf("Commit = %v", err)
			}
		}
		if got := fmt.Sprint(d.batches); failed != 1 || got != "[[first] [x guilty y] [x] [guilty] [y]]" {
			t.Errorf("%d failed, batches = %v", failed, got)
		}
	})
}

func TestOutageAnswersTheQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := desk{fail: func([]store.Commit) error { return store.ErrUnavailable }}
		c := New(d.write)
		answers := make(chan error, 2*maxBatch)
		begin := time.Now()
		for i := range 2 * maxBatch {
			send(t, c, t.Context(), answers, fmt.Sprint(i))
		}
		for range 2 * maxBatch {
			if err := <-answers; !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("Commit = %v, want ErrUnavailable", err)
			}
		}
		if took := time.Since(begin); took != time.Second {
			t.Errorf("answers took %v, want one try", took)
		}
	})
}

func TestWithdrawnIsNotWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var d desk
		c := New(d.write)
		answers := make(chan error, 8)
		send(t, c, t.Context(), answers, "a")
		ctx, cancel := context.WithCancel(t.Context())
		send(t, c, ctx, answers, "b")
		send(t, c, t.Context(), answers, "c")
		cancel()
		if err := <-answers; !errors.Is(err, context.Canceled) {
			t.Errorf("Commit = %v, want Canceled at once", err)
		}
		<-answers
		<-answers
		if got := fmt.Sprint(d.batches); got != "[[a] [c]]" {
			t.Errorf("batches = %v, want no b", got)
		}
	})
}

func TestBatchBounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var d desk
		c := New(d.write)
		answers := make(chan error, maxWaiting+8)
		for i := range maxBatch + 3 {
			send(t, c, t.Context(), answers, fmt.Sprint(i))
		}
		for range maxBatch + 3 {
			<-answers
		}
		if n := len(d.batches[1]); n != maxBatch || len(d.batches) != 3 {
			t.Errorf("second of %d batches has %d commits, want %d", len(d.batches), n, maxBatch)
		}
		d.batches = nil
		big := string(make([]byte, store.MaxCommitBytes/2-100))
		send(t, c, t.Context(), answers, "first", big, big, big)
		for range 4 {
			<-answers
		}
		if len(d.batches) != 3 || len(d.batches[1]) != 2 || len(d.batches[2]) != 1 {
			t.Errorf("%d batches, want three: 1, 2 and 1 commits", len(d.batches))
		}
	})
}

func TestCloseAnswersAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var d desk
		c := New(d.write)
		answers := make(chan error, maxWaiting+1)
		for i := range maxWaiting + 1 { // one more than fits waits outside
			send(t, c, t.Context(), answers, fmt.Sprint(i))
		}
		c.Close()
		closed := 0
		for range maxWaiting + 1 {
			if err := <-answers; errors.Is(err, store.ErrClosed) {
				closed++
			} else if err != nil {
				t.Errorf("Commit = %v", err)
			}
		}
		if closed != 1 {
			t.Errorf("%d were turned away, want the one outside", closed)
		}
		if _, err := c.Commit(t.Context(), store.Commit{}); !errors.Is(err, store.ErrClosed) {
			t.Errorf("Commit after Close = %v, want ErrClosed", err)
		}
		c.Close()
	})
}
