package limits

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// failures in a row after which a store is taken for away: one may be an accident.
	failures = 3
	// cooldown is when one request may try again, if the probe has not meanwhile.
	cooldown = 5 * time.Second
)

// breaker keeps requests from waiting for a store that is away. The zero value is closed.
type breaker struct {
	open atomic.Bool // what requests read

	mu    sync.Mutex
	row   int
	retry time.Time
}

// allow reports whether to ask the store now.
func (b *breaker) allow(now time.Time) bool {
	if !b.open.Load() {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open.Load() && now.Before(b.retry) {
		return false
	}
	b.retry = now.Add(cooldown)
	return true
}

// failed notes a failure; it reports whether that opened the breaker.
func (b *breaker) failed(now time.Time) (opened bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.row++
	if b.row < failures {
		return false
	}
	b.retry = now.Add(cooldown)
	return !b.open.Swap(true)
}

// succeeded notes an answer; it reports whether that closed the breaker.
func (b *breaker) succeeded() (closed bool) {
	if !b.open.Load() {
		b.reset()
		return false
	}
	b.reset()
	return b.open.Swap(false)
}

func (b *breaker) reset() {
	b.mu.Lock()
	b.row = 0
	b.mu.Unlock()
}

func (b *breaker) isOpen() bool { return b.open.Load() }
