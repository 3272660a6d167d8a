package httplog

import (
	"fmt"
	"time"
)

// settings are those of the queue.
type settings struct {
	batch      int           // entries sent together
	coalesce   time.Duration // how long the first of a batch waits for others
	entries    int           // bound of the queue
	bytes      int64         // bound of the queue; 0: none
	retryFor   time.Duration // from the first try of a batch
	firstDelay time.Duration
	maxDelay   time.Duration
	senders    int // batches under way at a time
}

// manySenders stands for no limit of concurrency: Kong starts a timer for each batch.
const manySenders = 64

// settingsOf reads config.queue. The deprecated flat fields count when they differ from their
// old defaults, as in Kong 3.9.1.
func settingsOf(c *Config) (settings, error) {
	q := c.GetQueue()
	if q == nil {
		q = &Config_Queue{}
	}
	s := settings{
		batch:      int(intOr(q.MaxBatchSize, 1)),
		coalesce:   seconds(q.MaxCoalescingDelay, 1),
		entries:    int(intOr(q.MaxEntries, 10000)),
		bytes:      q.GetMaxBytes(),
		retryFor:   seconds(q.MaxRetryTime, 60),
		firstDelay: seconds(q.InitialRetryDelay, 0.01),
		maxDelay:   seconds(q.MaxRetryDelay, 60),
		senders:    1,
	}
	if c.QueueSize != nil && c.GetQueueSize() != 1 {
		s.batch = int(c.GetQueueSize())
	}
	if c.FlushTimeout != nil && c.GetFlushTimeout() != 2 {
		s.coalesce = seconds(c.FlushTimeout, 2)
	}
	if q.GetConcurrencyLimit() == -1 {
		s.senders = manySenders
	}
	for name, bad := range map[string]bool{
		"max_batch_size":      s.batch < 1,
		"max_entries":         s.entries < 1,
		"max_bytes":           s.bytes < 0,
		"initial_retry_delay": s.firstDelay <= 0,
		"max_retry_delay":     s.maxDelay <= 0,
	} {
		if bad {
			return s, fmt.Errorf("config.queue.%s: value is out of range", name)
		}
	}
	return s, nil
}

func intOr(n *int64, other int64) int64 {
	if n == nil {
		return other
	}
	return *n
}

func seconds(n *float64, other float64) time.Duration {
	if n == nil {
		return time.Duration(other * float64(time.Second))
	}
	return time.Duration(*n * float64(time.Second))
}
