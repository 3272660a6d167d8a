package lease

import (
	"sync"
	"time"
)

// Times of slots.
const (
	// SlotLife is how long slots are a gate's after it last said so.
	SlotLife = 3 * time.Second
	// SlotBeat is how often a gate says so.
	SlotBeat = time.Second
)

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
	Seq  int64
	Have int64
	Left int64
}

// SlotAuthority is where slots are kept, as plain Go. The zero value is empty. It is not safe
// for concurrent use.
type SlotAuthority struct {
	keys map[string]map[string]slotHolder
}

type slotHolder struct{ have, seq, heard int64 }

// Serve answers q at time now, in nanoseconds. What runs is granted in any case: it cannot be
// stopped. ok is false for a message that a newer one overtook.
func (a *SlotAuthority) Serve(now int64, q *SlotAsk) (ans SlotAnswer, ok bool) {
	if a.keys == nil {
		a.keys = map[string]map[string]slotHolder{}
	}
	holders := a.keys[q.Key]
	if holders == nil {
		holders = map[string]slotHolder{}
		a.keys[q.Key] = holders
	}
	if h := holders[q.Holder]; h.seq > q.Seq {
		return SlotAnswer{}, false
	}
	var others int64
	for name, h := range holders {
		switch {
		case name == q.Holder:
		case now-h.heard > int64(SlotLife):
			delete(holders, name)
		default:
			others += h.have
		}
	}
	have := max(q.Running, min(q.Want, q.Limit-others))
	holders[q.Holder] = slotHolder{max(0, have), q.Seq, now}
	return SlotAnswer{Seq: q.Seq, Have: max(0, have), Left: max(0, q.Limit-others-have)}, true
}

// Slots is a gate's part of one key whose requests may run at once up to a limit. It is safe
// for concurrent use. A gate that is cut off starts nothing once its slots have run out; what
// runs there then is what may run above the limit.
type Slots struct {
	key, holder string
	limit       int64

	mu      sync.Mutex // guards what follows
	seq     int64
	pending *SlotAsk
	have    int64
	until   int64 // local time
	running int64
	peak    int64 // of running and of those that came, since the last question
	asked   int64
}

// NewSlots makes a part that has no slots. holder must be of this process alone.
func NewSlots(key, holder string, limit int64) *Slots {
	return &Slots{key: key, holder: holder, limit: limit}
}

// Take uses a slot that is here.
func (s *Slots) Take(now int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.take(now)
}

func (s *Slots) take(now int64) bool {
	if now >= s.until || s.running >= s.have {
		return false
	}
	s.running++
	return true
}

// Acquire is Take that asks for one slot more when there is none. The caller sends ask and
// calls Take after the answer: who gets none then is refused. Without ask, one is under way.
func (s *Slots) Acquire(now int64) (ok bool, ask *SlotAsk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peak = max(s.peak, s.running+1)
	if s.take(now) {
		return true, nil
	}
	return false, s.ask(now, s.running+1)
}

// Release gives a slot back, for others here. Idle ones leave with the next heartbeat.
func (s *Slots) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
}

// Beat says that the gate is there and gives back what was idle since the last beat. The
// caller calls it every SlotBeat. Nothing is sent for what is not used.
func (s *Slots) Beat(now int64) *SlotAsk {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.have == 0 && s.running == 0 {
		return nil
	}
	want := max(s.running, s.peak)
	s.peak = s.running
	return s.ask(now, want)
}

func (s *Slots) ask(now, want int64) *SlotAsk {
	if s.pending != nil {
		return nil
	}
	s.seq++
	s.asked = now
	s.pending = &SlotAsk{Key: s.key, Holder: s.holder, Seq: s.seq, Running: s.running, Want: want, Limit: s.limit}
	// What is given back must not be used while the question is under way.
	s.have = min(s.have, max(s.running, want))
	return s.pending
}

// Reply takes an answer; others than to the last question are ignored.
func (s *Slots) Reply(a SlotAnswer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending == nil || a.Seq != s.pending.Seq {
		return
	}
	s.pending = nil
	s.have, s.until = a.Have, s.asked+int64(SlotLife)
}

// Fail says that no answer came to q. The slots stay until they run out.
func (s *Slots) Fail(q *SlotAsk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending == q {
		s.pending = nil
	}
}

// Running is how many run here.
func (s *Slots) Running() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running
}
