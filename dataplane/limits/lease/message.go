package lease

import "github.com/sekifuda/sekifuda/plugin"

// Ask is what a gate says to the authority of one bucket. Times are in microseconds of the
// authority's clock. It is immutable once sent.
//
// A claim is absolute and the sequence rises with every message, so one that is lost, doubled
// or late does no harm: returns, debts, grants that never arrived and counters that were lost
// are all one rule, namely that the newest claim of a holder is what it has.
type Ask struct {
	Key    string // of the rule and identifier; all windows of a key live together
	Holder string
	Seq    int64
	// Wanted is what requests wait for, Target what would be useful, Demand what the holder
	// is used to spend in a lease's time.
	Wanted, Target, Demand int64
	// Free lets a stranger lease a little ahead.
	Free bool
	// Report asks for nothing.
	Report bool
	// Grace is how long a holder has to answer a recall.
	Grace  int64
	Claims []Claim
}

// Claim is what a holder has of one window.
type Claim struct {
	Period     plugin.Period
	Start, End int64
	Limit      int64
	Own        int64 // admitted, held and owed: all that is charged for this holder
	Held       int64 // of that, not used
	Exact      bool  // nothing is leased ahead
	Reclaim    int64 // after what silence what is held goes to others; 0: never
}

// Status is what became of an Ask.
type Status uint8

// The statuses.
const (
	Granted Status = iota // perhaps nothing
	Stale                 // a newer message came first
	Moved                 // the authority's clock is in another window
	Broken                // what is stored cannot be counted with
)

// Answer is what the authority says to an Ask.
type Answer struct {
	Seq    int64
	Status Status
	Now    int64 // by the authority's clock, in microseconds
	Grant  int64 // charged to every window of the Ask
	Views  []View
}

// View is one window after an Ask.
type View struct {
	Left    int64 // charged to nobody
	Others  int64 // held by others who may still give it back
	Near    bool  // the limit is near: nothing is leased ahead any more
	Retry   int64 // in microseconds, when Others will have answered a recall
	Holders int64
	Demand  int64 // of all holders
}

// Verdict is what becomes of a request.
type Verdict uint8

// The verdicts.
const (
	Undecided Verdict = iota // the request must join the waiters
	Admit
	Refuse
	Fault // the authority is away and the rule is Closed
)

// Waiter is a request that the fast path could not decide. The caller owns it; between Join
// and its appearance in Out.Done the bucket does.
type Waiter struct {
	N       int64
	Reserve bool          // a part of N may come back
	Ready   chan struct{} // for whoever runs the bucket; the bucket does not touch it
	Arrived int64         // local time

	// The answer.
	Verdict Verdict
	Stop    int               // the window that refused
	Left    [MaxWindows]int64 // of each window, after this request
	Window  int64             // start of the shortest window that it is charged to, authority's time
	Outage  bool              // decided without the authority

	// Tag is the caller's.
	Tag any

	seq int64 // of the Ask that first counted it
}

// Out is what a bucket wants done after a call. The caller lends it, empty.
type Out struct {
	Ask  *Ask      // to send; the answer goes to Reply, none to Fail
	Wake int64     // local time at which to call Tick; 0: as before
	Done []*Waiter // decided
}
