package plugintest

import (
	"context"
	"sync"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// Counters is a limiter that is exact and slow: one map under one lock.
type Counters struct {
	clock *Clock

	mu        sync.Mutex
	counts    map[slot]int64
	rules     []plugin.Rule
	running   map[taken]int64
	slotRules []plugin.SlotRule
	fail      error
}

type slot struct {
	rule, identifier string
	period           plugin.Period
	start            int64
}

// NewCounters returns counters whose windows follow the clock.
func NewCounters(clock *Clock) *Counters {
	return &Counters{clock: clock, counts: map[slot]int64{}, running: map[taken]int64{}}
}

// Limiter returns the counters of a rule and remembers it.
func (c *Counters) Limiter(r plugin.Rule) plugin.Limiter {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rules = append(c.rules, r)
	return &limiter{c, r}
}

// Rules returns the rules that were asked for, in order.
func (c *Counters) Rules() []plugin.Rule {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]plugin.Rule(nil), c.rules...)
}

// Set makes used the count of a window that the clock stands in.
func (c *Counters) Set(rule, identifier string, p plugin.Period, used int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[slot{rule, identifier, p, start(c.clock.Now(), p)}] = used
}

// Used returns the count of a window that the clock stands in.
func (c *Counters) Used(rule, identifier string, p plugin.Period) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts[slot{rule, identifier, p, start(c.clock.Now(), p)}]
}

// Fail makes every Take act as if the store were away: err for a strict rule, an uncounted
// admission for a tolerant one. nil mends it.
func (c *Counters) Fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail = err
}

type limiter struct {
	c    *Counters
	rule plugin.Rule
}

// Take implements plugin.Limiter.
func (l *limiter) Take(_ func() context.Context, identifier string, n int64, d *plugin.Decision) error {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	*d = plugin.Decision{Allowed: true, Counted: true, Mode: "local", Now: l.c.clock.Now()}
	if l.c.fail != nil {
		d.Counted = false
		if l.rule.Outage != plugin.Closed {
			return nil
		}
		d.Allowed = false
		return l.c.fail
	}
	for i, w := range l.rule.Windows {
		d.Remaining[i] = max(0, w.Limit-l.c.counts[l.slot(identifier, w)])
		if d.Remaining[i] < n {
			d.Allowed, d.Stop = false, i
		}
	}
	if !d.Allowed {
		return nil
	}
	for i, w := range l.rule.Windows {
		l.c.counts[l.slot(identifier, w)] += n
		d.Remaining[i] -= n
	}
	return nil
}

// Reserve implements plugin.Limiter.
func (l *limiter) Reserve(ctx func() context.Context, identifier string, n int64, d *plugin.Decision) (plugin.Reservation, error) {
	if err := l.Take(ctx, identifier, n, d); err != nil || !d.Allowed || !d.Counted {
		return nil, err
	}
	r := &reservation{c: l.c, n: n}
	for _, w := range l.rule.Windows {
		r.slots = append(r.slots, l.slot(identifier, w))
	}
	return r, nil
}

// reservation is settled in the slots that it was charged to.
type reservation struct {
	c       *Counters
	slots   []slot
	n       int64
	settled bool
}

// Settle implements plugin.Reservation.
func (r *reservation) Settle(used int64) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	if r.settled {
		return
	}
	r.settled = true
	for _, s := range r.slots {
		r.c.counts[s] += used - r.n
	}
}

func (l *limiter) slot(identifier string, w plugin.Window) slot {
	return slot{l.rule.ID, identifier, w.Period, start(l.c.clock.Now(), w.Period)}
}

func start(now time.Time, p plugin.Period) int64 {
	now = now.UTC()
	y, m, d := now.Date()
	switch p {
	case plugin.Year:
		return time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	case plugin.Month:
		return time.Date(y, m, 1, 0, 0, 0, 0, time.UTC).Unix()
	case plugin.Day:
		return time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix()
	case plugin.Hour:
		return now.Truncate(time.Hour).Unix()
	case plugin.Minute:
		return now.Truncate(time.Minute).Unix()
	default:
		return now.Truncate(time.Second).Unix()
	}
}
