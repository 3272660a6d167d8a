package limits

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

const (
	// maxSpent bounds the refusals that are remembered; beyond it a refused request costs
	// a call again. One takes about half a kilobyte.
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
	used   [periods]int64
	ends   [periods]int64 // of the window of used, in Unix nanoseconds; 0: not known
}

func newSpent() *spent { return &spent{seed: maphash.MakeSeed()} }

// refuse fills in d when the key is known to have nothing left of one of the windows.
func (s *spent) refuse(windows []plugin.Window, key []byte, n int64, now time.Time, d *plugin.Decision) bool {
	sh := &s.shards[maphash.Bytes(s.seed, key)%shards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r, ok := sh.refusals[string(key)]
	if !ok || n < 1 {
		return false
	}
	if !now.Before(r.until) {
		delete(sh.refusals, string(key))
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
		// A shorter window may have ended since, and is then untouched.
		if now.UnixNano() < r.ends[w.Period] {
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
		r.used[w.Period], r.ends[w.Period] = c.used[i], c.windows[i].end.UnixNano()
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
