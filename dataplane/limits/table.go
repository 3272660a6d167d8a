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
	// shards is how many locks a table has. One lock is held for some 30 ns, so requests
	// meet only on the same identifier.
	shards = 256
	// looked is how many keys are looked at for one to forget.
	looked = 16
)

// budget is how many keys all tables may hold together.
type budget struct {
	limit int64
	used  atomic.Int64
}

// table holds the counts of one rule. Checking all windows and charging them must be one
// step, so a lock guards it; with atomics alone two windows could be charged by halves.
type table struct {
	keys   *budget
	seed   maphash.Seed
	shards [shards]shard
}

type shard struct {
	mu     sync.Mutex
	counts map[string]*count
	gone   bool // the table was let go
	_      [40]byte
}

// count is one identifier's use of each period: n in the window of that index.
type count struct {
	window [periods]uint32
	n      [periods]int64
}

func (c *count) used(p plugin.Period, window uint32) int64 {
	if c.window[p] != window {
		return 0
	}
	return c.n[p]
}

// past reports whether no count is of a window that now is in.
func (c *count) past(now *[periods]uint32) bool {
	for p := range c.n {
		if c.n[p] > 0 && c.window[p] == now[p] {
			return false
		}
	}
	return true
}

func newTable(keys *budget) *table { return &table{keys: keys, seed: maphash.MakeSeed()} }

// take charges n to every window, or to none. It reports false when the table is gone.
func (t *table) take(windows []plugin.Window, identifier string, n int64, d *plugin.Decision) bool {
	s := &t.shards[maphash.String(t.seed, identifier)%shards]
	var at [periods]uint32
	for _, w := range windows {
		at[w.Period] = index(w.Period, d.Now)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return false
	}
	c := s.counts[identifier]
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
		return true
	}
	if c == nil {
		c = t.add(s, identifier, d.Now)
	}
	for i, w := range windows {
		c.n[w.Period] = c.used(w.Period, at[w.Period]) + n
		c.window[w.Period] = at[w.Period]
		d.Remaining[i] -= n
	}
	return true
}

func (t *table) add(s *shard, identifier string, now time.Time) *count {
	if s.counts == nil {
		s.counts = map[string]*count{}
	}
	if t.keys.used.Load() >= t.keys.limit {
		t.forget(s, now)
	}
	c := &count{}
	s.counts[strings.Clone(identifier)] = c
	t.keys.used.Add(1)
	return c
}

// forget makes room: of a few keys it removes those of past windows, else the least used.
func (t *table) forget(s *shard, now time.Time) {
	current := indexes(now)
	least, leastUsed, seen, freed := "", int64(0), 0, false
	for id, c := range s.counts {
		if seen++; seen > looked {
			break
		}
		if c.past(&current) {
			t.remove(s, id)
			freed = true
			continue
		}
		var used int64
		for _, n := range c.n {
			used = max(used, n)
		}
		if least == "" || used < leastUsed {
			least, leastUsed = id, used
		}
	}
	if !freed && least != "" {
		t.remove(s, least)
	}
}

func (t *table) remove(s *shard, id string) {
	delete(s.counts, id)
	t.keys.used.Add(-1)
}

// sweep removes keys of past windows. A table without any key is let go: it reports true,
// and takes that still come must find the successor.
func (t *table) sweep(now time.Time) (gone bool) {
	current := indexes(now)
	left := 0
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for id, c := range s.counts {
			if c.past(&current) {
				t.remove(s, id)
			}
		}
		left += len(s.counts)
		s.mu.Unlock()
	}
	return left == 0 && t.leave()
}

// leave marks every shard as gone, unless one was filled meanwhile.
func (t *table) leave() bool {
	for i := range t.shards {
		t.shards[i].mu.Lock()
	}
	empty := true
	for i := range t.shards {
		empty = empty && len(t.shards[i].counts) == 0
	}
	for i := range t.shards {
		t.shards[i].gone = empty
		t.shards[i].mu.Unlock()
	}
	return empty
}

func indexes(now time.Time) (all [periods]uint32) {
	for p := range all {
		all[p] = index(plugin.Period(p), now)
	}
	return all
}
