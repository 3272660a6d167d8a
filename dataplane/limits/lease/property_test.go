package lease_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/limits/lease"
	"github.com/sekifuda/sekifuda/dataplane/limits/lease/sim"
	"github.com/sekifuda/sekifuda/plugin"
)

const (
	ms = int64(time.Millisecond)
	s  = int64(time.Second)
)

func limitOf(l *sim.Workload, p plugin.Period) int64 {
	var most int64
	for _, set := range [][]plugin.Window{l.Windows, l.Raised} {
		for _, w := range set {
			if w.Period == p {
				most = max(most, w.Limit)
			}
		}
	}
	return most
}

// exact says what no schedule may break while the server keeps what it was told: nothing is
// admitted above the limit but what gates owe from outages, all that was admitted is charged,
// and nobody waits for ever.
func exact(l *sim.Workload, r sim.Result) error {
	for w, admitted := range r.Leases.Charged {
		debt := r.Leases.Debt[w]
		if limit := limitOf(l, w.Period); admitted > limit+debt {
			return fmt.Errorf("window %+v: admitted %d of which %d in an outage, want at most %d", w, admitted, debt, limit)
		}
		if c := charged(r, w); c < admitted-debt {
			return fmt.Errorf("window %+v: charged %d, admitted %d of which %d in an outage", w, c, admitted, debt)
		}
	}
	if r.Unanswered != r.Leases.Dropped {
		return fmt.Errorf("%d requests were never answered, %d waited at gates that crashed", r.Unanswered, r.Leases.Dropped)
	}
	return nil
}

// conserved says that every token that was charged admitted a request. It holds of limits of
// which nothing is leased ahead, on a network that delivers.
func conserved(_ *sim.Workload, r sim.Result) error {
	for w, admitted := range r.Leases.Charged {
		if c := charged(r, w); c != admitted {
			return fmt.Errorf("window %+v: charged %d, admitted %d", w, c, admitted)
		}
	}
	return nil
}

func charged(r sim.Result, w sim.Window) int64 {
	return r.Leases.Authority.Charged(lease.Slot{
		Key: fmt.Sprint("k", w.Key), Period: w.Period, Start: w.Start / 1000,
	})
}

// random makes a workload of everything that can go wrong.
func random(seed uint64) sim.Workload {
	g := rand.New(rand.NewPCG(seed, 1))
	limits := []int64{0, 1, 7, 100, 200, 201, 1000, 5000}
	l := sim.Workload{
		Gates: 1 + g.IntN(10), Keys: 1 + g.IntN(3), For: 4 * s, Seed: seed,
		RoundTrip: []int64{ms / 5, ms, 5 * ms}[g.IntN(3)],
		Skewed:    g.IntN(3) == 0, Bursty: g.IntN(3) == 0,
		ClockSkew: int64(g.IntN(200)) * ms, Most: int64(1 + 4*g.IntN(2)),
	}
	limit := limits[g.IntN(len(limits))]
	l.Windows = []plugin.Window{{Period: plugin.Second, Limit: limit}}
	switch g.IntN(3) {
	case 0:
		l.Windows = append(l.Windows, plugin.Window{Period: plugin.Minute, Limit: limit * 2})
	case 1:
		l.Windows = append(l.Windows, plugin.Window{Period: plugin.Hour, Limit: limit * 5 / 2})
	}
	l.Rate = float64(limit+20) * (0.3 + 2*g.Float64())
	l.Rule = lease.Rule{ExactUpTo: lease.DefaultExactUpTo, Outage: plugin.Outage(g.IntN(4)), RefuseNear: g.IntN(5) == 0}
	faults(g, &l)
	return l
}

func faults(g *rand.Rand, l *sim.Workload) {
	some := func(p float64) float64 {
		if g.IntN(2) == 0 {
			return 0
		}
		return p * g.Float64()
	}
	l.Loss, l.Double, l.Reorder = some(.05), some(.3), some(.3)
	if g.IntN(3) == 0 {
		l.CrashEach = int64(300+g.IntN(2000)) * ms
	}
	if g.IntN(3) == 0 {
		l.PauseEach, l.PauseFor = int64(100+g.IntN(900))*ms, int64(1+g.IntN(1500))*ms
	}
	for range g.IntN(3) {
		from := int64(g.IntN(4000)) * ms
		l.Outages = append(l.Outages, sim.Outage{From: from, To: from + int64(g.IntN(1500))*ms, Gate: g.IntN(l.Gates+1) - 1})
	}
	if g.IntN(4) == 0 {
		l.RaiseAt = int64(500+g.IntN(3000)) * ms
		for _, w := range l.Windows {
			l.Raised = append(l.Raised, plugin.Window{Period: w.Period, Limit: w.Limit*int64(g.IntN(4))/2 + 1})
		}
	}
}

// calm takes the faults out.
func calm(l *sim.Workload) {
	l.Loss, l.Double, l.Reorder, l.CrashEach, l.PauseEach, l.Outages, l.RaiseAt = 0, 0, 0, 0, 0, nil, 0
	l.Rule.RefuseNear, l.Most = false, 1
}

func seeds(t *testing.T, n uint64) uint64 {
	t.Helper()
	if testing.Short() {
		return n / 8
	}
	return n
}

// TestNothingIsAdmittedTwice runs hundreds of schedules with loss, doubles, reordering, crashes,
// pauses, clocks that differ, partitions, outages and limits that change.
func TestNothingIsAdmittedTwice(t *testing.T) {
	t.Parallel()
	for seed := range seeds(t, 250) {
		l := random(seed)
		r := sim.Run(l, sim.LeaseWay("leases"))
		if err := exact(&l, r); err != nil {
			t.Errorf("seed %d, %+v: %v", seed, l, err)
		}
		if r.Requests == 0 {
			t.Errorf("seed %d: no requests", seed)
		}
	}
}

// TestNothingIsRefusedWrongly runs gates that stay up on a network that delivers: then every
// window admits exactly what it can, and nobody waits for longer than a recall takes.
func TestNothingIsRefusedWrongly(t *testing.T) {
	t.Parallel()
	for seed := range seeds(t, 120) {
		l := random(seed)
		calm(&l)
		r := sim.Run(l, sim.LeaseWay("leases"))
		if err := exact(&l, r); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		if len(l.Windows) == 1 && (r.Over != 0 || r.FalseRefusals != 0) {
			t.Errorf("seed %d, %+v: %v %% over, %v %% refused wrongly", seed, l, r.Over, r.FalseRefusals)
		}
		if limitOf(&l, plugin.Second) <= lease.DefaultExactUpTo && len(l.Windows) == 1 {
			if err := conserved(&l, r); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
		}
		grace := max(4*l.RoundTrip, 50*ms)
		if most := 2*grace + 8*l.RoundTrip; r.Slowest > most {
			t.Errorf("seed %d: a request waited %v, want at most %v", seed, time.Duration(r.Slowest), time.Duration(most))
		}
	}
}

// TestEqualSharesSumToTheLimit has the server away for whole windows.
func TestEqualSharesSumToTheLimit(t *testing.T) {
	t.Parallel()
	for _, limit := range []int64{1, 7, 10, 999, 5000} {
		l := sim.Workload{
			Gates: 10, Windows: []plugin.Window{{Period: plugin.Second, Limit: limit}}, Rate: float64(20*limit + 200),
			For: 6 * s, RoundTrip: ms, Seed: uint64(limit), Outages: []sim.Outage{{From: 500 * ms, To: 5500 * ms, Gate: -1}},
			Rule: lease.Rule{ExactUpTo: lease.DefaultExactUpTo},
		}
		r := sim.Run(l, sim.LeaseWay("leases"))
		whole := 0
		for w, t2 := range r.Windows {
			if at := w.Start - firstWindow(r); at < 1*s || at >= 5*s {
				continue
			}
			whole++
			if t2.Admitted != limit {
				t.Errorf("limit %d: a window of the outage admitted %d", limit, t2.Admitted)
			}
		}
		if whole != 4 {
			t.Errorf("limit %d: %d whole windows, want 4", limit, whole)
		}
	}
}

func firstWindow(r sim.Result) int64 {
	first := int64(1 << 62)
	for w := range r.Windows {
		first = min(first, w.Start)
	}
	return first
}

// TestDebtIsRepaid has the server away for the middle of a minute: what was admitted then
// counts when it is back.
func TestDebtIsRepaid(t *testing.T) {
	t.Parallel()
	l := sim.Workload{
		Gates: 5, Windows: []plugin.Window{{Period: plugin.Minute, Limit: 3000}}, Rate: 100, For: 60*s - 1,
		RoundTrip: ms, Seed: 3, Outages: []sim.Outage{{From: 10 * s, To: 20 * s, Gate: -1}},
		Rule: lease.Rule{ExactUpTo: lease.DefaultExactUpTo},
	}
	r := sim.Run(l, sim.LeaseWay("leases"))
	w := sim.Window{Period: plugin.Minute, Start: firstWindow(r)}
	if debt, admitted, c := r.Leases.Debt[w], r.Leases.Charged[w], charged(r, w); debt < 500 || admitted != 3000 || c != 3000 {
		t.Errorf("debt %d, admitted %d, charged %d, want all 3000 charged", debt, admitted, c)
	}
}

// TestReclaimedTokensAreUsedByOthers compares what a fleet admits whose gate crashes again
// and again.
func TestReclaimedTokensAreUsedByOthers(t *testing.T) {
	t.Parallel()
	l := sim.Workload{
		Gates: 10, Windows: []plugin.Window{{Period: plugin.Minute, Limit: 30000}}, Rate: 1000, For: 60*s - 1,
		RoundTrip: ms, Seed: 5, CrashEach: 5 * s, Rule: lease.Rule{ExactUpTo: lease.DefaultExactUpTo},
	}
	forfeit := sim.Run(l, sim.LeaseWay("leases"))
	l.Rule.Reclaim = true
	reclaim := sim.Run(l, sim.LeaseWay("leases"))
	if err := exact(&l, forfeit); err != nil {
		t.Error(err)
	}
	// 11 crashes, each of at most a lease: what a gate spends in a horizon of a second and
	// what it had before.
	if lost := 30000 - total(forfeit); lost <= 0 || lost > 11*400 {
		t.Errorf("forfeit: lost %d, want some and at most a lease for each crash", lost)
	}
	if over := total(reclaim) - 30000; over < 0 || over > 11*400 {
		t.Errorf("reclaim: %d over, want none lost and at most a lease for each crash", over)
	}
}

func total(r sim.Result) int64 {
	return r.Leases.Charged[sim.Window{Period: plugin.Minute, Start: firstWindow(r)}]
}

// TestLostCountersAreAssertedAgain has the server forget everything in the middle of a minute.
func TestLostCountersAreAssertedAgain(t *testing.T) {
	t.Parallel()
	l := sim.Workload{
		Gates: 10, Windows: []plugin.Window{{Period: plugin.Minute, Limit: 6000}}, Rate: 200, For: 60*s - 1,
		RoundTrip: ms, Seed: 5, LoseEach: 15 * s, Rule: lease.Rule{ExactUpTo: lease.DefaultExactUpTo},
	}
	r := sim.Run(l, sim.LeaseWay("leases"))
	// Without it each of the losses after which requests still come admits up to 3000 again.
	if over := total(r) - 6000; over > 120 {
		t.Errorf("%d over after three losses, want at most 2 %%", over)
	}
}

// TestMutants shows that the properties find what they are for.
func TestMutants(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		apply func(*sim.Workload)
		find  func(*sim.Workload, sim.Result) error
	}{
		{"claims as deltas", deltas, exact},
		{"a boot that has the name of another", func(l *sim.Workload) {
			l.CrashEach = 700 * ms
			l.Hook = func(x *sim.Leases) { x.Incarnation = func(gate, _ int) string { return fmt.Sprint("g", gate) } }
		}, exact},
		{"late grants dropped", func(l *sim.Workload) {
			calm(l)
			l.Windows, l.Rate = []plugin.Window{{Period: plugin.Second, Limit: 200}}, 150
			l.Hook = func(x *sim.Leases) { x.Tweak = func(n *lease.Node) { n.Mutate(lease.DropLateGrants) } }
		}, conserved},
	}
	for _, tt := range tests {
		found := 0
		for seed := range uint64(60) {
			l := random(seed)
			tt.apply(&l)
			if tt.find(&l, sim.Run(l, sim.LeaseWay(tt.name))) != nil {
				found++
			}
		}
		if found == 0 {
			t.Errorf("%s: no property failed", tt.name)
		}
		t.Logf("%s: found by %d of 60 schedules", tt.name, found)
	}
}

// deltas has holders say what changed since they last spoke.
func deltas(l *sim.Workload) {
	l.Double = 0.3
	type of struct {
		holder string
		slot   lease.Slot
	}
	l.Hook = func(x *sim.Leases) {
		x.Authority.Mutate(lease.DeltaClaims)
		said := map[of]int64{}
		x.Rewrite = func(q *lease.Ask) *lease.Ask {
			d := *q
			d.Claims = append([]lease.Claim(nil), q.Claims...)
			for i, c := range q.Claims {
				k := of{q.Holder, lease.Slot{Key: q.Key, Period: c.Period, Start: c.Start}}
				d.Claims[i].Own -= said[k]
				said[k] = c.Own
			}
			return &d
		}
		x.Told = func(q *lease.Ask, a *lease.Answer) {
			for _, c := range q.Claims {
				said[of{q.Holder, lease.Slot{Key: q.Key, Period: c.Period, Start: c.Start}}] += a.Grant
			}
		}
	}
}
