package limits

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

const (
	// maxSpent bounds the refusals that are remembered; beyond it a refused request costs
	// a call again. One takes about 250 bytes.
	maxSpent = 1 << 18
	// maxHold is the longest that a refusal is believed without asking again, so that an
	// operator who deletes a counter is heard.
	maxHold = 30 * time.Second
)

// spent remembers who has nothing left in a store, so that refusing costs nothing.
type spent struct {
	seed   maphash.Seed
	shards [shards]struct {
		mu       sync.Mutex
		refusals map[string]refusal
	}
}

// refusal is what a store answered, by period.
type refusal struct {
	until  time.Time // by the store's clock
	period plugin.Period
	limit  int64 // of that period: with a higher one the store is asked again
	known  [periods]bool
	used   [periods]int64
}

func newSpent() *spent { return &spent{seed: maphash.MakeSeed()} }

// refuse fills in d when the key is known to have nothing left of one of the windows.
func (s *spent) refuse(windows []plugin.Window, key string, n int64, now time.Time, d *plugin.Decision) bool {
	sh := &s.shards[maphash.String(s.seed, key)%shards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r, ok := sh.refusals[key]
	if !ok || n < 1 {
		return false
	}
	if !now.Before(r.until) {
		delete(sh.refusals, key)
		return false
	}
	stop := -1
	for i, w := range windows {
		if w.Period == r.period && w.Limit <= r.limit {
			stop = i
		}
	}
	if stop < 0 {
		return false
	}
	d.Allowed, d.Stop, d.Now = false, stop, now
	for i, w := range windows {
		d.Remaining[i] = w.Limit
		if r.known[w.Period] {
			d.Remaining[i] = max(0, w.Limit-r.used[w.Period])
		}
	}
	return true
}

// note remembers the answer to a charge of windows that was refused by windows[stop], when
// that has nothing left at all.
func (s *spent) note(windows []plugin.Window, c *charge, stop int) {
	w := windows[stop]
	if c.used[stop] < w.Limit {
		return
	}
	r := refusal{until: c.windows[stop].end, period: w.Period, limit: w.Limit}
	if hold := c.now.Add(maxHold); hold.Before(r.until) {
		r.until = hold
	}
	for i, w := range windows {
		r.known[w.Period], r.used[w.Period] = true, c.used[i]
		// What another window has left is told as of now; past its end it is unknown.
		if i < stop && c.windows[i].end.Before(r.until) {
			r.used[w.Period] = 0
		}
	}
	sh := &s.shards[maphash.String(s.seed, c.key)%shards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.refusals == nil {
		sh.refusals = map[string]refusal{}
	}
	if len(sh.refusals) >= maxSpent/shards {
		return
	}
	sh.refusals[c.key] = r
}

func (s *spent) sweep(now time.Time) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for key, r := range sh.refusals {
			if !now.Before(r.until) {
				delete(sh.refusals, key)
			}
		}
		sh.mu.Unlock()
	}
}
