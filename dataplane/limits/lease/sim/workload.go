package sim

import (
	"math"
	"math/rand/v2"

	"github.com/sekifuda/sekifuda/dataplane/limits/lease"
	"github.com/sekifuda/sekifuda/plugin"
)

// Workload is one scenario. Times are in nanoseconds; those of Outages from its start.
type Workload struct {
	Name      string
	Gates     int
	Windows   []plugin.Window
	Rate      float64 // requests in a second at all gates
	For       int64
	Skewed    bool // one gate has nine tenths
	Bursty    bool // ten times the rate for a tenth of the time
	Keys      int  // more than one: by Zipf's law
	RoundTrip int64
	Outages   []Outage
	CrashEach int64 // gate 0 crashes and is back after half a second
	PauseEach int64 // a gate stands still
	PauseFor  int64
	ClockSkew int64   // from one gate to the next
	Loss      float64 // of messages, as a probability
	Double    float64
	Reorder   float64
	LoseEach  int64 // the server forgets everything
	Most      int64 // largest number that one request takes; 0: 1
	Seed      uint64

	// Of leases.
	Rule   lease.Rule // without windows
	Raised []plugin.Window
	// RaiseAt is when the limits become Raised; 0: never.
	RaiseAt int64
	// Hook is called with the parts before anything runs; for tests.
	Hook func(*Leases)
}

// Outage is when the server is away, of one gate or of all.
type Outage struct {
	From, To int64
	Gate     int // -1: all
}

// limiter is one way to limit.
type limiter interface {
	// request is decided by a call of done, at once or later. window is the true start of
	// the window that it is charged to, or 0.
	request(gate, key int, n int64, done func(ok bool, window int64))
	crash(gate int)
}

// Way names a limiter to run.
type Way struct {
	Name string
	make func(w *world) limiter
}

// Window identifies a window of a key.
type Window struct {
	Key    int
	Period plugin.Period
	Start  int64
}

// Tally is what came of a window.
type Tally struct{ Offered, Admitted int64 }

// Result is what a run showed.
type Result struct {
	Over, WorstOver float64 // admitted above the limit, percent of all and of the worst window
	FalseRefusals   float64 // percent of what could have been admitted
	CallsPerRequest float64
	P50, P99        float64 // milliseconds
	Busy            float64 // of the server, percent
	Requests        int64
	Slowest         int64 // nanoseconds
	Unanswered      int64
	Windows         map[Window]Tally
	Leases          *Leases // of a run of leases
}

type run struct {
	*world
	limiter   limiter
	tallies   map[Window]*Tally
	latencies [420]int64
	requests  int64
	open      int64
	slowest   int64
	dead      []bool
	zipf      *rand.Zipf
}

// Run runs a workload under one way.
func Run(l Workload, way Way) Result {
	w := newWorld(&l)
	r := &run{world: w, tallies: map[Window]*Tally{}, dead: make([]bool, l.Gates)}
	r.limiter = way.make(w)
	if l.Keys > 1 {
		r.zipf = rand.NewZipf(w.rng, 1.07, 1, uint64(l.Keys-1))
	}
	w.at(epoch+10*millisecond, r.next)
	if l.CrashEach > 0 {
		for t := l.CrashEach; t < l.For; t += l.CrashEach {
			w.at(epoch+t, r.crash)
		}
	}
	w.run(epoch + l.For)
	w.ended = true
	w.run(epoch + l.For + 5*second)
	return r.result()
}

func (r *run) crash() {
	r.dead[0] = true
	r.limiter.crash(0)
	r.at(r.now+500*millisecond, func() { r.dead[0] = false })
}

func (r *run) next() {
	if r.ended {
		return
	}
	rate := r.load.Rate
	if r.load.Bursty {
		if (r.now/(50*millisecond))%10 == 0 {
			rate *= 9.1
		} else {
			rate *= 0.1
		}
	}
	key := 0
	if r.zipf != nil {
		key = int(r.zipf.Uint64())
	}
	n := int64(1)
	if r.load.Most > 1 {
		n += r.rng.Int64N(r.load.Most)
	}
	r.request(r.gate(), key, n)
	r.at(r.now+int64(r.rng.ExpFloat64()/rate*1e9)+1, r.next)
}

func (r *run) gate() int {
	g := r.rng.IntN(r.load.Gates)
	if r.load.Skewed {
		if g = 0; r.rng.Float64() >= 0.9 && r.load.Gates > 1 {
			g = 1 + r.rng.IntN(r.load.Gates-1)
		}
	}
	for r.dead[g] && r.load.Gates > 1 {
		g = (g + 1) % r.load.Gates
	}
	return g
}

func (r *run) request(gate, key int, n int64) {
	came := r.now
	r.requests++
	r.open++
	r.limiter.request(gate, key, n, func(ok bool, window int64) {
		r.open--
		r.slowest = max(r.slowest, r.now-came)
		r.latencies[bucket(r.now-came)]++
		for _, w := range r.load.Windows {
			start, _ := bounds(w.Period, max(came, window))
			t := r.tally(Window{key, w.Period, start})
			t.Offered += n
			if ok {
				t.Admitted += n
			}
		}
	})
}

func (r *run) tally(w Window) *Tally {
	t := r.tallies[w]
	if t == nil {
		t = &Tally{}
		r.tallies[w] = t
	}
	return t
}

// bucket is of a latency: 5 % wide each from 100 ns.
func bucket(d int64) int {
	if d < 100 {
		return 0
	}
	return min(419, 1+int(math.Log(float64(d)/100)/math.Log(1.05)))
}

func (r *run) quantile(q float64) float64 {
	var sum, all int64
	for _, n := range r.latencies {
		all += n
	}
	for i, n := range r.latencies {
		if sum += n; float64(sum) >= q*float64(all) {
			if i == 0 {
				return 0
			}
			return 100 * math.Pow(1.05, float64(i)) / 1e6
		}
	}
	return 0
}

func (r *run) result() Result {
	res := Result{
		CallsPerRequest: float64(r.calls) / float64(max(1, r.requests)), P50: r.quantile(.5), P99: r.quantile(.99),
		Busy: 100 * float64(r.busy) / float64(r.load.For), Requests: r.requests, Slowest: r.slowest,
		Unanswered: r.open, Windows: map[Window]Tally{},
	}
	res.Leases, _ = r.limiter.(*Leases)
	limits := map[plugin.Period]int64{}
	for _, w := range r.load.Windows {
		limits[w.Period] = w.Limit
	}
	var over, missed, could int64
	for k, t := range r.tallies {
		res.Windows[k] = *t
		limit := limits[k.Period]
		_, end := bounds(k.Period, k.Start)
		if end > epoch+r.load.For && k.Start > epoch {
			continue // not a whole window
		}
		o := max(0, t.Admitted-limit)
		over += o
		could += min(limit, t.Offered)
		missed += max(0, min(limit, t.Offered)-t.Admitted)
		res.WorstOver = max(res.WorstOver, 100*float64(o)/float64(limit))
	}
	if could > 0 {
		res.Over = 100 * float64(over) / float64(could)
		res.FalseRefusals = 100 * float64(missed) / float64(could)
	}
	return res
}
