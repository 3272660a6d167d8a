// Package lease decides, on each gate, which requests may pass under a limit that many gates
// share, while it asks the place where counts are kept as seldom as it can.
//
// A gate leases tokens: the authority charges them to the windows when it grants them, and a
// token admits one request. Crashes, pauses and lost messages can therefore lose tokens but
// never make any. Near the limit the authority grants only what is waited for and recalls
// what lies idle.
//
// It knows no clock, no network and no goroutine: times and messages come in, messages come
// out, so the same code runs in the simulator and in production. Enter at Bucket, which is
// the gate's side of one identifier, and Authority, which is the other side as plain Go.
package lease

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// MaxWindows is the largest number of windows of a rule: one of each period.
const MaxWindows = int(plugin.Year) + 1

const (
	// DefaultExactUpTo is the largest limit of which every token is asked for by the request
	// that uses it, so that what is told to remain counts down as Kong's does.
	DefaultExactUpTo = 200
	// believe is the longest that a gate refuses without asking again, so that an operator
	// who resets a counter is heard also when the word of it was lost.
	believe = 30 * time.Second
	// believeReserved is that of limits of which what is reserved may come back at any time.
	believeReserved = 200 * time.Millisecond
	// minGrace is the least time that a holder has to answer a recall.
	minGrace = 50 * time.Millisecond
	// unusedFor is after what time without requests a bucket is not worth its memory.
	unusedFor = int64(10 * time.Minute)
	// retryAway is about how long debts wait between looks whether the authority is back:
	// every key that was used in an outage looks.
	retryAway = int64(time.Second)
	// maxWaiters bounds the requests that wait for one answer; further ones are decided as in
	// an outage. A gate that has more in flight for one identifier is not helped by waiting.
	maxWaiters = 1 << 16
)

// Rule is what buckets enforce. Immutable once a bucket has it.
type Rule struct {
	Windows   []plugin.Window // ascending by period, none twice, at most MaxWindows
	Outage    plugin.Outage
	ExactUpTo int64 // limits up to this one lease nothing ahead
	// Reclaim gives what a silent gate holds to the others, for at most that much over the
	// limit; otherwise a crash costs what the gate held until the window ends.
	Reclaim bool
	// RefuseNear refuses at once what could be admitted only after a recall.
	RefuseNear bool
	// Ahead is the percentage of a limit that all gates together may admit, as debt, before
	// the authority has answered for a window. It bounds the excess.
	Ahead float64
}

// Fleet is who shares the limits. Immutable.
type Fleet struct {
	Self    string
	Members []string // with Self
}

// Node is what the buckets of a gate have in common. It is safe for concurrent use.
type Node struct {
	incarnation string
	births      atomic.Int64
	roundTrip   atomic.Int64
	down        atomic.Bool
	fleet       atomic.Pointer[Fleet]
	Clock       Clock
	mutant      mutant // of tests
}

// NewNode makes the common part of a gate's buckets. No other gate, and no earlier process of
// this one, may have had the same incarnation: it would inherit what the dead one holds.
func NewNode(incarnation string) *Node {
	n := &Node{incarnation: incarnation}
	n.fleet.Store(&Fleet{Self: incarnation, Members: []string{incarnation}})
	n.roundTrip.Store(int64(time.Millisecond))
	return n
}

// born names a holder that the authority has not heard of.
func (n *Node) born() string { return n.incarnation + "." + strconv.FormatInt(n.births.Add(1), 36) }

// SetRoundTrip says how long an answer takes, in nanoseconds.
func (n *Node) SetRoundTrip(d int64) { n.roundTrip.Store(max(d, int64(50*time.Microsecond))) }

// RoundTrip is what SetRoundTrip said.
func (n *Node) RoundTrip() int64 { return n.roundTrip.Load() }

// SetDown says whether the authority is taken for away: then nothing is asked.
func (n *Node) SetDown(down bool) { n.down.Store(down) }

// Down is what SetDown said.
func (n *Node) Down() bool { return n.down.Load() }

// SetFleet says who shares the limits now.
func (n *Node) SetFleet(f *Fleet) { n.fleet.Store(f) }

// Members is how many share the limits.
func (n *Node) Members() int { return len(n.fleet.Load().Members) }

func (n *Node) grace() int64 { return max(4*n.RoundTrip(), int64(minGrace)) }

// horizon is for how long a lease is meant to last.
func (n *Node) horizon(r *Rule) int64 {
	four := 4 * n.RoundTrip()
	eighth := nominal(r.Windows[0].Period) / 8
	return min(max(eighth, int64(100*time.Millisecond), four), max(int64(time.Second), four))
}

// tau is how long a reclaimable lease may be used after it was asked for.
func (n *Node) tau(r *Rule) int64 { return 2 * n.horizon(r) }

// Clock estimates the authority's time from what it says. The zero value knows nothing.
type Clock struct {
	offset atomic.Int64
	synced atomic.Bool

	mu   sync.Mutex // guards what follows
	trip int64      // of the sample that offset is from
	at   int64
}

// sampleAge is when a better sample is forgotten, for clocks that drift.
const sampleAge = int64(10 * time.Second)

// Observe takes the authority's time theirs, in microseconds, from an exchange that began and
// ended at local times sent and received, in nanoseconds. The error is at most half the trip.
func (c *Clock) Observe(sent, received, theirs int64) {
	trip := received - sent
	offset := theirs*1000 - (sent + trip/2)
	c.mu.Lock()
	defer c.mu.Unlock()
	apart := offset - c.offset.Load()
	jumped := max(apart, -apart) > (trip+c.trip)/2+int64(time.Millisecond)
	if c.synced.Load() && !jumped && trip > c.trip && received-c.at < sampleAge {
		return
	}
	c.trip, c.at = trip, received
	c.offset.Store(offset)
	c.synced.Store(true)
}

// Synced reports whether the authority's time is known.
func (c *Clock) Synced() bool { return c.synced.Load() }

// Authority converts a local time to the authority's; both are in nanoseconds.
func (c *Clock) Authority(local int64) int64 { return local + c.offset.Load() }

func (c *Clock) local(theirs int64) int64 { return theirs - c.offset.Load() }

// mutant is a mistake that a test makes on purpose, to see it found.
type mutant uint8

const (
	sound mutant = iota
	deltaClaims
	dropLateGrants
)
