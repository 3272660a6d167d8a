package limits

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

const (
	// shards is how many locks a table has. One lock is held for some 50 ns, so requests
	// seldom meet but on the same identifier.
	shards = 256
	// looked is how many keys are looked at for one to forget.
	looked = 16
)

// table holds the counts of this process. Checking all windows and charging them must be one
// step, so a lock guards it; with atomics alone two windows could be charged by halves.
type table struct {
	limit  int64 // of keys; a shard without any may have one more
	seed   maphash.Seed
	used   atomic.Int64
	shards [shards]shard
}

type shard struct {
	mu     sync.Mutex
	counts map[key]*count
	_      [48]byte // a cache line to itself
}

type key struct{ rule, identifier string }

// count is one identifier's use of each period: n in the window of that index.
type count struct {
	window [periods]uint32
	n      [periods]int64
}

// in returns the window that a request belongs to whose clock says window. A request that
// read the clock later may have come first: then the next window has begun, and going back
// would lose what it charged. Further back is a clock that was set, and is followed.
func (c *count) in(p plugin.Period, window uint32) uint32 {
	if c.n[p] > 0 && c.window[p] == window+1 {
		return window + 1
	}
	return window
}

func (c *count) used(p plugin.Period, window uint32) int64 {
	if c.window[p] != c.in(p, window) {
		return 0
	}
	return c.n[p]
}

// past reports whether nothing is counted in the windows of now, or in the ones after, to
// which requests may come whose clock was read later.
func (c *count) past(now *[periods]uint32) bool {
	for p := range c.n {
		if c.used(plugin.Period(p), now[p]) > 0 {
			return false
		}
	}
	return true
}

func newTable(limit int64) *table { return &table{limit: limit, seed: maphash.MakeSeed()} }

func (t *table) shard(k key) *shard {
	return &t.shards[(maphash.String(t.seed, k.rule)^maphash.String(t.seed, k.identifier))%shards]
}

// take charges n to every window at d.Now, or to none, and fills in the rest of d.
func (t *table) take(windows []plugin.Window, k key, n int64, d *plugin.Decision) {
	var at [periods]uint32
	for _, w := range windows {
		at[w.Period] = index(w.Period, d.Now)
	}
	s := t.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts[k]
	d.Allowed = true
	for i, w := range windows {
		left := w.Limit
		if c != nil {
			left -= c.used(w.Period, at[w.Period])
		}
		d.Remaining[i] = max(0, left)
		if left < n {
			d.Allowed, d.Stop = false, i
		}
	}
	if !d.Allowed || n == 0 {
		return
	}
	if c == nil {
		c = t.add(s, k, d.Now)
	}
	for i, w := range windows {
		now := c.in(w.Period, at[w.Period])
		c.n[w.Period] = c.used(w.Period, now) + n
		c.window[w.Period] = now
		d.Remaining[i] -= n
	}
}

// correct adds n, which may be negative, to what was charged at a time, in those of its windows
// that have not ended.
func (t *table) correct(windows []plugin.Window, k key, n int64, at time.Time) {
	s := t.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts[k]
	if c == nil {
		return // forgotten or set back: there is nothing to correct
	}
	for _, w := range windows {
		if c.window[w.Period] == index(w.Period, at) {
			c.n[w.Period] = max(0, c.n[w.Period]+n)
		}
	}
}

// add makes the count of a new key. The key is copied: identifiers live in the memory of an
// exchange.
func (t *table) add(s *shard, k key, now time.Time) *count {
	if s.counts == nil {
		s.counts = map[key]*count{}
	}
	if t.used.Load() >= t.limit {
		t.forget(s, now)
	}
	c := &count{}
	s.counts[key{k.rule, strings.Clone(k.identifier)}] = c
	t.used.Add(1)
	return c
}

// forget makes room: of a few keys it removes those of past windows, else the least used.
func (t *table) forget(s *shard, now time.Time) {
	current := indexes(now)
	var least key
	leastUsed, seen, freed := int64(-1), 0, false
	for k, c := range s.counts {
		if seen++; seen > looked {
			break
		}
		if c.past(&current) {
			t.remove(s, k)
			freed = true
			continue
		}
		var used int64
		for _, n := range c.n {
			used = max(used, n)
		}
		if leastUsed < 0 || used < leastUsed {
			least, leastUsed = k, used
		}
	}
	if !freed && leastUsed >= 0 {
		t.remove(s, least)
	}
}

func (t *table) remove(s *shard, k key) {
	delete(s.counts, k)
	t.used.Add(-1)
}

// sweep removes keys of past windows.
func (t *table) sweep(now time.Time) {
	current := indexes(now)
	for i := range t.shards {
		t.sweepShard(&t.shards[i], &current)
	}
}

func (t *table) sweepShard(s *shard, current *[periods]uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, c := range s.counts {
		if c.past(current) {
			t.remove(s, k)
		}
	}
	if len(s.counts) == 0 {
		s.counts = nil // a map keeps the room of its largest day
	}
}

func indexes(now time.Time) (all [periods]uint32) {
	for p := range all {
		all[p] = index(plugin.Period(p), now)
	}
	return all
}

// usage is what a key used in the windows of now.
func (t *table) usage(k key, now time.Time) (used [periods]int64) {
	s := t.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts[k]
	if c == nil {
		return used
	}
	for p, window := range indexes(now) {
		used[p] = c.used(plugin.Period(p), window)
	}
	return used
}

func (t *table) reset(k key) {
	s := t.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts[k] != nil {
		t.remove(s, k)
	}
}

// maxListed bounds the identifiers that are looked at for a list.
const maxListed = 10_000

// identifiers are some of a rule's, if there are more than can be looked at.
func (t *table) identifiers(rule string, most int) (all []string) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for k := range s.counts {
			if k.rule == rule && len(all) < max(most, maxListed) {
				all = append(all, k.identifier)
			}
		}
		s.mu.Unlock()
	}
	return all
}
