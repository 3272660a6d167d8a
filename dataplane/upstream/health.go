package upstream

import (
	"math"
	"slices"
	"sync"
	"time"
)

// health is what is known of whether one address works. It is safe for concurrent use.
type health struct {
	spec *HealthSpec

	mu           sync.Mutex
	down         bool
	successes    int
	httpFailures int
	tcpFailures  int
	timeouts     int
}

func newHealth(spec *HealthSpec) *health { return &health{spec: spec} }

// carry is the health of the same address under another configuration.
func (h *health) carry(spec *HealthSpec) *health {
	n := newHealth(spec)
	h.mu.Lock()
	defer h.mu.Unlock()
	n.down = h.down && (spec.Passive.counts() || spec.Active.counts())
	return n
}

func (s *PassiveSpec) counts() bool { return s.HTTPFailures+s.TCPFailures+s.Timeouts > 0 }

func (s *ActiveSpec) counts() bool { return s.HealthyInterval > 0 || s.UnhealthyInterval > 0 }

func (h *health) up() bool {
	if !h.spec.Passive.counts() && !h.spec.Active.counts() {
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.down
}

// observe counts what traffic saw, by the passive rules. Traffic alone does not bring an
// address back: none goes to one that is down (Kong 3.9.1 has the same rule).
func (h *health) observe(o Outcome, status int) {
	s := &h.spec.Passive
	if !s.counts() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case o == Refused:
		h.fail(&h.tcpFailures, s.TCPFailures)
	case o == TimedOut:
		h.fail(&h.timeouts, s.Timeouts)
	case slices.Contains(s.Unhealthy, status):
		h.fail(&h.httpFailures, s.HTTPFailures)
	case slices.Contains(s.Healthy, status):
		h.succeed(s.Successes)
	}
}

// fail counts towards a threshold; 0 is off.
func (h *health) fail(count *int, limit int) {
	if limit == 0 {
		return
	}
	h.successes = 0
	if *count++; *count >= limit {
		h.down = true
	}
}

func (h *health) succeed(limit int) {
	if limit == 0 {
		return
	}
	h.httpFailures, h.tcpFailures, h.timeouts = 0, 0, 0
	if h.successes++; h.successes >= limit {
		h.down = false
	}
}

// ewmaDecay is the weight of one more measurement in the mean of latencies.
const ewmaDecay = 0.2

func (a *address) observe(o Outcome, status int, took time.Duration) {
	a.health.observe(o, status)
	if o == Answered {
		// Two writers may lose one measurement, which a mean can bear.
		old := math.Float64frombits(a.ewma.Load())
		mean := took.Seconds()
		if old > 0 {
			mean = old + ewmaDecay*(mean-old)
		}
		a.ewma.Store(math.Float64bits(mean))
	}
}
