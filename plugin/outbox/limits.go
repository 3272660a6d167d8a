package outbox

import (
	"fmt"
	"time"
)

// ManySenders stands for no limit of concurrency: Kong starts a timer for each batch.
const ManySenders = 64

// Read returns the settings that configuration asks for; batch is the default of
// max_batch_size. A nil l has the defaults.
func Read(l *Limits, batch int64) (Settings, error) {
	if l == nil {
		l = &Limits{}
	}
	s := Settings{
		Batch:      int(or(l.MaxBatchSize, batch)),
		Coalesce:   Seconds(l.MaxCoalescingDelay, 1),
		Entries:    int(or(l.MaxEntries, DefaultEntries)),
		Bytes:      or(l.MaxBytes, 0),
		RetryFor:   Seconds(l.MaxRetryTime, 60),
		FirstDelay: Seconds(l.InitialRetryDelay, 0.01),
		MaxDelay:   Seconds(l.MaxRetryDelay, 60),
		Senders:    1,
	}
	if l.GetConcurrencyLimit() == -1 {
		s.Senders = ManySenders
	}
	for _, f := range [...]struct {
		name string
		bad  bool
	}{
		{"max_batch_size", s.Batch < 1},
		{"max_entries", s.Entries < 1},
		{"max_bytes", s.Bytes < 0},
		{"initial_retry_delay", s.FirstDelay <= 0},
		{"max_retry_delay", s.MaxDelay <= 0},
	} {
		if f.bad {
			return s, fmt.Errorf("config.queue.%s: value is out of range", f.name)
		}
	}
	return s, nil
}

func or(n *int64, other int64) int64 {
	if n == nil {
		return other
	}
	return *n
}

// Seconds reads seconds with a fraction; other when nothing is said.
func Seconds(n *float64, other float64) time.Duration {
	if n != nil {
		other = *n
	}
	return time.Duration(other * float64(time.Second))
}
