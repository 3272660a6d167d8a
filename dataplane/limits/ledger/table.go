package ledger

import (
	"hash/maphash"
	"strings"
	"sync"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/limits/lease"
)

const (
	// shards is how many locks a rule's identifiers have; reading shares them.
	shards = 64
	// looked is how many identifiers are looked at for one to forget.
	looked = 16
)

// table is the identifiers of one rule.
type table struct {
	ledger *Ledger
	rule   *lease.Rule
	name   string // of the rule, in keys
	seed   maphash.Seed
	listed bool // among the ledger's tables; guarded by its mu
	shards [shards]struct {
		mu sync.RWMutex
		of map[string]*entry
		_  [32]byte // a cache line to itself
	}
}

// entry is a bucket that does what it wants done.
type entry struct {
	*lease.Bucket
	ledger *Ledger

	mu    sync.Mutex // guards timer
	timer *time.Timer
}

func (t *table) get(identifier string) *entry {
	s := &t.shards[maphash.String(t.seed, identifier)%shards]
	s.mu.RLock()
	e := s.of[identifier]
	s.mu.RUnlock()
	if e != nil {
		return e
	}
	return t.add(identifier)
}

// find is get without making one.
func (t *table) find(identifier string) *entry {
	s := &t.shards[maphash.String(t.seed, identifier)%shards]
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.of[identifier]
}

// add makes the entry of a new identifier. It is copied: identifiers live in the memory of an
// exchange.
func (t *table) add(identifier string) *entry {
	s := &t.shards[maphash.String(t.seed, identifier)%shards]
	now := t.ledger.o.Now()
	s.mu.Lock()
	if e := s.of[identifier]; e != nil {
		s.mu.Unlock()
		return e
	}
	if s.of == nil {
		s.of = map[string]*entry{}
	}
	var gone []*entry
	if t.ledger.keys.Load() >= int64(t.ledger.o.MaxKeys) {
		gone = t.forget(s.of, now)
	}
	key := t.name + "|" + identifier
	e := &entry{Bucket: lease.NewBucket(t.ledger.node, t.rule, key), ledger: t.ledger}
	s.of[strings.Clone(identifier)] = e
	t.ledger.keys.Add(1)
	s.mu.Unlock()
	t.ledger.list(t) // after it is in: an empty table may be taken out at any time
	for _, e := range gone {
		e.retire(now)
	}
	return e
}

// forget makes room: of a few it takes out those that are quiet, else the one that holds
// least.
func (t *table) forget(of map[string]*entry, now int64) (gone []*entry) {
	least, seen := "", 0
	for id, e := range of {
		if seen++; seen > looked {
			break
		}
		if e.Quiet(now) {
			t.remove(of, id)
			gone = append(gone, e)
		} else if least == "" || e.Held() < of[least].Held() {
			least = id
		}
	}
	if len(gone) == 0 && of[least] != nil {
		gone = append(gone, of[least])
		t.remove(of, least)
	}
	return gone
}

func (t *table) remove(of map[string]*entry, id string) {
	delete(of, id)
	t.ledger.keys.Add(-1)
}

// sweep takes out what is idle, and tables that are empty need not be found by recalls.
func (t *table) sweep(now int64) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for id, e := range s.of {
			if e.Idle(now) {
				t.remove(s.of, id)
				e.stop()
			}
		}
		if len(s.of) == 0 {
			s.of = nil // a map keeps the room of its largest day
		}
		s.mu.Unlock()
	}
}

// idle reports whether nothing is in the table. One that gets an entry meanwhile is listed
// again by the next.
func (t *table) idle() bool {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.RLock()
		n := len(s.of)
		s.mu.RUnlock()
		if n > 0 {
			return false
		}
	}
	return true
}

func (t *table) retireAll(now int64) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		all := s.of
		s.of = nil
		s.mu.Unlock()
		t.ledger.keys.Add(-int64(len(all)))
		for _, e := range all {
			e.retire(now)
		}
	}
}

// list makes the table known to recalls.
func (l *Ledger) list(t *table) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !t.listed {
		t.listed = true
		l.tables[t.name] = append(l.tables[t.name], t)
	}
}

// do does what the bucket wants done.
func (e *entry) do(out *lease.Out) {
	for _, w := range out.Done {
		w.Ready <- struct{}{}
	}
	if out.Ask != nil {
		e.ledger.leases.enqueue(item{e, out.Ask})
	}
	if out.Wake > 0 {
		e.arm()
	}
}

// arm sets the timer to when Tick is due. It asks the bucket, because what one call said may be
// overtaken by what a later one did: an older word must not put the timer off.
func (e *entry) arm() {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := e.WakeAt()
	if at == 0 {
		return // a Tick is under way, which says it anew
	}
	d := time.Duration(at - e.ledger.o.Now())
	if e.timer == nil {
		e.timer = time.AfterFunc(d, e.tick)
		return
	}
	e.timer.Reset(d)
}

func (e *entry) tick() {
	at, now := e.WakeAt(), e.ledger.o.Now()
	if at == 0 {
		return
	}
	if at > now {
		e.arm()
		return
	}
	var out lease.Out
	e.Tick(now, &out)
	e.do(&out)
}

func (e *entry) retire(now int64) {
	var out lease.Out
	e.Retire(now, &out)
	out.Wake = 0
	e.stop()
	e.do(&out)
}

func (e *entry) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.timer != nil {
		e.timer.Stop()
	}
}
