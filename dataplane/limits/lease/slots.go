package lease

import (
	"math"
	"sync"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// Times of slots.
const (
	// SlotLife is how long slots are a gate's after it last said so.
	SlotLife = 3 * time.Second
	// slotBeat is how often a gate says so.
	slotBeat = int64(time.Second)
	// slotPoll is how often a gate asks again for who waits: others may have given slots back.
	slotPoll = int64(100 * time.Millisecond)
)

// SlotRule is how many may run at once. Immutable once slots have it.
type SlotRule struct {
	Limit  int64
	Queue  int // of those that wait here until some time; who comes above is told at once
	Outage plugin.Outage
	// ExactUpTo is the largest limit of which a gate keeps no slot that it does not use.
	ExactUpTo int64
}

// SlotAsk is what a gate says of the slots of one key: how many requests run, and how many
// slots it wants in all. It is absolute, as an Ask is.
type SlotAsk struct {
	Key, Holder   string
	Seq           int64
	Running, Want int64
	Limit         int64
}

// SlotAnswer is how many slots are the gate's until SlotLife after it asked.
type SlotAnswer struct {
	Seq    int64
	Status Status // Granted, Stale or Broken
	Now    int64  // by the authority's clock, in microseconds
	Have   int64
	Left   int64 // nobody's
}

// SlotWaiter is a request that asks for a slot. The caller owns it; between Join and its
// appearance in SlotOut.Done the slots do.
type SlotWaiter struct {
	Ready chan struct{} // for whoever runs the slots; they do not touch it
	Until int64         // local time until when it waits for a slot; 0: it is told at once

	// The answer.
	Verdict Verdict
	Left    int64 // that are free after it, as far as it is known
	Outage  bool  // decided without the authority

	seq int64 // of the question that first counted it
}

// SlotOut is what slots want done after a call. The caller lends it, empty.
type SlotOut struct {
	Ask  *SlotAsk // to send; the answer goes to Reply, none to Fail
	Wake int64    // local time at which to call Tick; 0: as before
	Done []*SlotWaiter
}

// Slots is a gate's part of one key whose requests may run at once up to a limit. It is safe
// for concurrent use. A gate that is cut off starts nothing once its slots have run out; what
// runs there then is what may run above the limit.
type Slots struct {
	node        *Node // nil: nobody shares them
	key, holder string

	mu      sync.Mutex // guards what follows
	rule    *SlotRule
	seq     int64
	pending *SlotAsk
	have    int64
	counted int64 // for this gate, where slots are kept
	until   int64 // local time
	left    int64 // by the last answer
	running int64
	peak    int64 // of running since the last beat
	asked   int64
	beat    int64 // when to say that the gate is there
	poll    int64 // when to ask again for who waits
	wake    int64 // what SlotOut.Wake said last
	away    int64 // until when this key is decided as in an outage
	gone    bool  // nobody finds it any more
	waiters []*SlotWaiter
}

// NewSlots makes a part that has no slots. Without a node it is all there is of them.
func NewSlots(n *Node, key string) *Slots {
	s := &Slots{node: n, key: key}
	if n != nil {
		s.holder = n.born()
	}
	return s
}

// Take uses a slot that is here and reports how many are free after it. It does not wait.
func (s *Slots) Take(now int64, r *SlotRule) (left int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rule = r
	if s.gone || len(s.waiters) > 0 || !s.take(now) {
		return 0, false
	}
	return s.free(), true
}

func (s *Slots) take(now int64) bool {
	most := s.have
	if s.node == nil {
		most, s.until = s.rule.Limit, math.MaxInt64
	}
	if now >= s.until || s.running >= min(most, s.rule.Limit) {
		return false
	}
	s.start()
	return true
}

func (s *Slots) start() {
	s.running++
	s.peak = max(s.peak, s.running)
}

func (s *Slots) free() int64 {
	if s.node == nil {
		return max(0, s.rule.Limit-s.running)
	}
	return max(0, s.left+s.have-s.running)
}

// Join decides w, or takes it in until it appears in some later SlotOut.Done. It reports false
// for slots that were retired: the caller looks for others.
func (s *Slots) Join(now int64, r *SlotRule, w *SlotWaiter, out *SlotOut) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return false
	}
	s.rule, w.seq = r, 0
	if len(s.waiters) >= r.Queue {
		w.Until = 0
	}
	switch {
	case len(s.waiters) == 0 && s.take(now):
		s.decide(w, Admit, out)
	case s.isAway(now):
		s.share(w, out)
	case s.node == nil && w.Until == 0 || len(s.waiters) >= maxWaiters:
		s.decide(w, Refuse, out)
	default:
		s.waiters = append(s.waiters, w)
		s.proceed(now, out)
	}
	s.arm(now, out)
	return true
}

// Leave takes out a waiter that gave up. It reports false when w was decided meanwhile: then
// it is in a SlotOut.Done.
func (s *Slots) Leave(w *SlotWaiter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, x := range s.waiters {
		if x == w {
			s.waiters = append(s.waiters[:i], s.waiters[i+1:]...)
			return true
		}
	}
	return false
}

// Release gives a slot back, to who waits here, else to others.
func (s *Slots) Release(now int64, out *SlotOut) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	s.serve(now, out)
	s.proceed(now, out)
	s.arm(now, out)
}

// Tick does what is due: it says that the gate is there, gives back what was idle since it last
// did, asks again for who waits and refuses who waited long enough.
func (s *Slots) Tick(now int64, out *SlotOut) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wake = 0
	s.serve(now, out)
	s.dismiss(now, out)
	switch {
	case s.node == nil || s.pending != nil:
	case s.isAway(now):
		s.shareAll(out)
	case len(s.waiters) > 0 && now >= s.poll:
		s.ask(now, s.running+int64(len(s.waiters)), out)
	case s.holds() && now >= s.beat:
		want := max(s.running, s.peak)
		if s.exact() {
			want = s.running
		}
		s.peak = s.running
		s.ask(now, want, out)
	}
	s.arm(now, out)
}

// Reply takes an answer; others than to the last question are ignored.
func (s *Slots) Reply(now int64, a *SlotAnswer, out *SlotOut) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending == nil || a.Seq != s.pending.Seq {
		return
	}
	q := s.pending
	s.pending = nil
	switch a.Status {
	case Granted:
		s.counted = max(a.Have, q.Running)
		s.have, s.left, s.until = a.Have, a.Left, s.asked+int64(SlotLife)
		s.serve(now, out)
		s.refuseAsked(a.Seq, out)
	case Broken:
		s.away = now + int64(time.Second)
		s.shareAll(out)
	}
	s.proceed(now, out)
	s.arm(now, out)
}

// Fail says that no answer came to q. The slots stay until they run out; those who wait are
// decided by the outage mode if the node is down, else by asking again.
func (s *Slots) Fail(now int64, q *SlotAsk, out *SlotOut) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending != q {
		return
	}
	s.pending = nil
	for _, w := range s.waiters {
		w.seq = 0 // it counts in no question that was answered
	}
	s.proceed(now, out)
	s.arm(now, out)
}

// Retire reports whether nothing is held or waited for here; then nobody may use the slots any
// more.
func (s *Slots) Retire(now int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running > 0 || len(s.waiters) > 0 || s.pending != nil || s.node != nil && s.have > 0 && now < s.until {
		return false
	}
	s.gone = true
	return true
}

// Running is how many run here.
func (s *Slots) Running() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running
}

// WakeAt is when Tick is next of use, or 0.
func (s *Slots) WakeAt() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wake
}

func (s *Slots) exact() bool { return s.rule.Limit <= s.rule.ExactUpTo }

func (s *Slots) holds() bool { return s.have > 0 || s.running > 0 }

func (s *Slots) isAway(now int64) bool { return s.node != nil && (s.node.Down() || now < s.away) }

func (s *Slots) decide(w *SlotWaiter, v Verdict, out *SlotOut) {
	w.Verdict, w.Left, w.Outage = v, s.free(), false
	out.Done = append(out.Done, w)
}

// serve admits those who wait, in their order, as far as there are slots.
func (s *Slots) serve(now int64, out *SlotOut) {
	n := 0
	for n < len(s.waiters) && s.take(now) {
		s.decide(s.waiters[n], Admit, out)
		n++
	}
	s.drop(n)
}

func (s *Slots) drop(n int) {
	kept := copy(s.waiters, s.waiters[n:])
	clear(s.waiters[kept:])
	s.waiters = s.waiters[:kept]
}

// refuseAsked refuses those who do not wait and were counted in the question seq.
func (s *Slots) refuseAsked(seq int64, out *SlotOut) {
	s.refuseIf(out, func(w *SlotWaiter) bool { return w.Until == 0 && w.seq > 0 && w.seq <= seq })
}

// dismiss refuses those who waited long enough.
func (s *Slots) dismiss(now int64, out *SlotOut) {
	s.refuseIf(out, func(w *SlotWaiter) bool { return w.Until > 0 && now >= w.Until })
}

func (s *Slots) refuseIf(out *SlotOut, enough func(*SlotWaiter) bool) {
	kept := s.waiters[:0]
	for _, w := range s.waiters {
		if enough(w) {
			s.decide(w, Refuse, out)
		} else {
			kept = append(kept, w)
		}
	}
	clear(s.waiters[len(kept):])
	s.waiters = kept
}

// proceed asks for who has not been asked for, and gives back what a small limit has to spare.
func (s *Slots) proceed(now int64, out *SlotOut) {
	if s.node == nil || s.pending != nil {
		return
	}
	if s.isAway(now) {
		s.shareAll(out)
		return
	}
	need := s.running + int64(len(s.waiters))
	switch {
	case len(s.waiters) > 0 && s.waiters[len(s.waiters)-1].seq == 0:
		if !s.exact() {
			need += need / 8 // for who comes next
		}
		s.ask(now, need, out)
	case s.exact() && s.counted > need:
		s.ask(now, need, out)
	}
}

func (s *Slots) ask(now, want int64, out *SlotOut) {
	s.seq++
	s.asked, s.beat, s.poll = now, now+slotBeat, now+slotPoll
	s.pending = &SlotAsk{Key: s.key, Holder: s.holder, Seq: s.seq, Running: s.running, Want: want, Limit: s.rule.Limit}
	for _, w := range s.waiters {
		if w.seq == 0 {
			w.seq = s.seq
		}
	}
	// What is given back must not be used while the question is under way.
	s.have = min(s.have, max(s.running, want))
	out.Ask = s.pending
}

func (s *Slots) shareAll(out *SlotOut) {
	for _, w := range s.waiters {
		s.share(w, out)
	}
	s.drop(len(s.waiters))
}

// share decides w by the outage mode: parts of the limit, however long they last.
func (s *Slots) share(w *SlotWaiter, out *SlotOut) {
	v, part := Refuse, int64(math.MaxInt64)
	switch s.rule.Outage {
	case plugin.Closed:
		v, part = Fault, 0
	case plugin.EqualShare, plugin.DemandShare:
		part = s.node.fleet.Load().part(s.rule.Limit, s.key, 0)
	}
	if s.running < part {
		v = Admit
		s.start()
	}
	s.decide(w, v, out)
	w.Outage, w.Left = true, max(0, part-s.running)
}

// arm says when to call Tick next, when that is sooner than was said.
func (s *Slots) arm(now int64, out *SlotOut) {
	at := int64(math.MaxInt64)
	for _, w := range s.waiters {
		if w.Until > 0 {
			at = min(at, w.Until)
		}
	}
	if s.node != nil && s.pending == nil {
		if len(s.waiters) > 0 {
			at = min(at, s.poll)
		}
		if s.holds() {
			at = min(at, max(s.beat, now+slotPoll)) // an outage does not make it busy
		}
	}
	if at == math.MaxInt64 || s.wake > now && s.wake <= at {
		return
	}
	s.wake = max(at, now+1e5)
	out.Wake = s.wake
}
