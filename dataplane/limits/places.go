package limits

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/limits/lease"
	"github.com/sekifuda/sekifuda/dataplane/limits/ledger"
	"github.com/sekifuda/sekifuda/plugin"
)

// places are the identifiers of which something runs, or did lately, in one store. There are as
// many as run at most, and beyond that as many as are kept of counters.
type places struct {
	store  *ledger.Ledger // nil: this process
	seed   maphash.Seed
	limit  int64
	used   atomic.Int64
	shards [shards]struct {
		mu sync.RWMutex
		of map[key]*place
		_  [32]byte // a cache line to itself
	}
}

// place is the slots of one identifier that does what they want done.
type place struct {
	*lease.Slots
	in *places

	mu    sync.Mutex // guards timer
	timer *time.Timer
}

var _ plugin.Slot = (*place)(nil)

var start = time.Now()

func (p *places) now() int64 {
	if p.store != nil {
		return p.store.Now()
	}
	return int64(time.Since(start))
}

func (p *places) look() int64 {
	if p.store != nil {
		return p.store.Look()
	}
	return p.now()
}

func (p *places) get(k key) *place {
	s := &p.shards[(maphash.String(p.seed, k.rule)^maphash.String(p.seed, k.identifier))%shards]
	s.mu.RLock()
	found := s.of[k]
	s.mu.RUnlock()
	if found != nil {
		return found
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.of[k]; found != nil {
		return found
	}
	if s.of == nil {
		s.of = map[key]*place{}
	}
	if p.used.Load() >= p.limit {
		p.retire(s.of, looked)
	}
	made := &place{in: p}
	if k = (key{k.rule, strings.Clone(k.identifier)}); p.store == nil {
		made.Slots = lease.NewSlots(nil, "")
	} else {
		made.Slots = p.store.NewSlots(k.rule, k.identifier)
	}
	s.of[k] = made
	p.used.Add(1)
	return made
}

// retire lets go of those of the first n of which nothing runs.
func (p *places) retire(of map[key]*place, n int) {
	now := p.now()
	for k, one := range of {
		if n--; n < 0 {
			return
		}
		if one.Retire(now) {
			delete(of, k)
			p.used.Add(-1)
		}
	}
}

func (p *places) sweep() {
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		p.retire(s.of, len(s.of))
		if len(s.of) == 0 {
			s.of = nil // a map keeps the room of its largest day
		}
		s.mu.Unlock()
	}
}

// Release implements plugin.Slot.
func (p *place) Release() {
	var out lease.SlotOut
	p.Slots.Release(p.in.now(), &out)
	p.do(&out)
}

// Answered implements ledger.SlotAsker.
func (p *place) Answered(now int64, a *lease.SlotAnswer) {
	var out lease.SlotOut
	p.Reply(now, a, &out)
	p.do(&out)
}

// Failed implements ledger.SlotAsker.
func (p *place) Failed(now int64, q *lease.SlotAsk) {
	var out lease.SlotOut
	p.Fail(now, q, &out)
	p.do(&out)
}

// do does what the slots want done.
func (p *place) do(out *lease.SlotOut) {
	for _, w := range out.Done {
		w.Ready <- struct{}{}
	}
	if out.Ask != nil {
		p.in.store.AskSlots(out.Ask, p)
	}
	if out.Wake > 0 {
		p.arm()
	}
}

// arm sets the timer to when Tick is due. It asks the slots, because what one call said may be
// overtaken by what a later one did: an older word must not put the timer off.
func (p *place) arm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.WakeAt()
	if at == 0 {
		return // a Tick is under way, which says it anew
	}
	d := time.Duration(at - p.in.now())
	if p.timer == nil {
		p.timer = time.AfterFunc(d, p.tick)
		return
	}
	p.timer.Reset(d)
}

func (p *place) tick() {
	at, now := p.WakeAt(), p.in.now()
	if at == 0 {
		return
	}
	if at > now {
		p.arm()
		return
	}
	var out lease.SlotOut
	p.Tick(now, &out)
	p.do(&out)
}
