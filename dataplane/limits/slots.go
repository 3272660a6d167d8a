package limits

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/limits/lease"
	"github.com/sekifuda/sekifuda/dataplane/limits/ledger"
	"github.com/sekifuda/sekifuda/plugin"
)

// Slots returns what may run at once under a rule. All with one rule ID and store count
// together; a new limit acts on what runs.
func (l *Limits) Slots(r plugin.SlotRule) (plugin.Slots, error) {
	if r.Limit < 0 || r.Limit > maxLimit {
		return nil, fmt.Errorf("rule %q: limit %d is not between 0 and 2^53", r.ID, r.Limit)
	}
	if r.Queue < 0 || r.Patience < 0 {
		return nil, fmt.Errorf("rule %q: a queue of %d for %v cannot be", r.ID, r.Queue, r.Patience)
	}
	return &slots{places: l.placesOf(r.Redis), id: r.ID, patience: r.Patience, rule: &lease.SlotRule{
		Limit: r.Limit, Queue: r.Queue, Outage: r.Outage, ExactUpTo: lease.DefaultExactUpTo,
	}}, nil
}

func (l *Limits) placesOf(r *plugin.Redis) *places {
	s := l.storeOf(r)
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.places[s]
	if p == nil {
		p = &places{store: s, seed: maphash.MakeSeed(), limit: int64(l.o.MaxKeys)}
		l.places[s] = p
	}
	return p
}

// sweepSlots lets go of identifiers of which nothing runs.
func (l *Limits) sweepSlots() {
	l.mu.Lock()
	var all []*places
	for _, p := range l.places {
		all = append(all, p)
	}
	l.mu.Unlock()
	for _, p := range all {
		p.sweep()
	}
}

// slots is a rule of slots.
type slots struct {
	places   *places
	id       string
	rule     *lease.SlotRule
	patience time.Duration
}

var _ plugin.Slots = (*slots)(nil)

// Acquire implements plugin.Slots. Nothing is allocated for who finds a slot here.
func (s *slots) Acquire(ctx func() context.Context, identifier string, d *plugin.SlotDecision) (plugin.Slot, error) {
	*d = plugin.SlotDecision{Counted: true, Mode: "local"}
	if s.places.store != nil {
		d.Mode = "shared"
	}
	k := key{s.id, shorten(identifier)}
	for {
		p := s.places.get(k)
		if left, ok := p.Take(s.places.now(), s.rule); ok {
			d.Allowed, d.Left = true, left
			return p, nil
		}
		if slot, found, err := s.join(ctx, p, d); found {
			return slot, err
		}
	}
}

var slotWaiters = sync.Pool{New: func() any { return &lease.SlotWaiter{Ready: make(chan struct{}, 1)} }}

// join waits for the place to decide. found is false when it was let go of meanwhile.
func (s *slots) join(ctx func() context.Context, p *place, d *plugin.SlotDecision) (slot plugin.Slot, found bool, err error) {
	now := s.places.look()
	w := slotWaiters.Get().(*lease.SlotWaiter)
	*w = lease.SlotWaiter{Ready: w.Ready}
	if s.patience > 0 {
		w.Until = now + int64(s.patience)
	}
	var out lease.SlotOut
	if !p.Join(now, s.rule, w, &out) {
		slotWaiters.Put(w)
		return nil, false, nil
	}
	p.do(&out)
	waits := w.Until > 0 && len(w.Ready) == 0
	if err := ledger.Await(ctx, w.Ready, p, w); err != nil {
		return nil, true, fmt.Errorf("wait for a slot of rule %s: %w", s.id, err)
	}
	d.Waited = waits
	err = s.decide(w, d)
	slotWaiters.Put(w)
	if d.Allowed {
		slot = p
	}
	return slot, true, err
}

func (s *slots) decide(w *lease.SlotWaiter, d *plugin.SlotDecision) error {
	d.Allowed, d.Left = w.Verdict == lease.Admit, w.Left
	if !w.Outage {
		return nil
	}
	d.Mode = s.rule.Outage.String()
	s.places.store.NoteOutage(d.Allowed)
	if w.Verdict == lease.Fault {
		d.Counted = false
		return fmt.Errorf("count rule %s: %w", s.id, ledger.ErrAway)
	}
	d.Counted = s.rule.Outage != plugin.Open
	return nil
}
