package lease_test

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/limits/lease"
	"github.com/sekifuda/sekifuda/dataplane/limits/lease/sim"
	"github.com/sekifuda/sekifuda/plugin"
)

// dawn is the start of a minute in nanoseconds; local clocks of tests are the authority's.
const dawn = int64(1_700_000_040) * s

var nodes atomic.Int64

func node(t testing.TB) *lease.Node {
	t.Helper()
	n := lease.NewNode("n" + strconv.FormatInt(nodes.Add(1), 10))
	n.Clock.Observe(dawn, dawn, dawn/1000)
	return n
}

func minutes(limit int64) *lease.Rule {
	return &lease.Rule{
		Windows: []plugin.Window{{Period: plugin.Minute, Limit: limit}}, ExactUpTo: lease.DefaultExactUpTo,
	}
}

// desk answers a bucket at once.
type desk struct {
	authority lease.Authority
	asked     int
}

func (d *desk) do(now int64, b *lease.Bucket, out *lease.Out) {
	for out.Ask != nil {
		d.asked++
		a := d.authority.Serve(now/1000, out.Ask)
		out.Ask = nil
		b.Reply(now, now, &a, out)
	}
}

func (d *desk) take(now int64, b *lease.Bucket, n int64) *lease.Waiter {
	w := &lease.Waiter{N: n}
	var out lease.Out
	b.Join(now, w, &out)
	d.do(now, b, &out)
	return w
}

// full returns a bucket that holds n tokens of a large limit.
func full(t testing.TB, n int64) *lease.Bucket {
	t.Helper()
	b := lease.NewBucket(node(t), minutes(1<<50), "k")
	d := &desk{}
	if w := d.take(dawn, b, 1); w.Verdict != lease.Admit || b.Held() < n {
		t.Fatalf("first = %+v, held %d, want at least %d", w, b.Held(), n)
	}
	return b
}

func TestExactLimitsCountDown(t *testing.T) {
	t.Parallel()
	d := &desk{}
	var gates []*lease.Bucket
	for range 10 {
		gates = append(gates, lease.NewBucket(node(t), minutes(100), "k"))
	}
	for i := range 100 {
		w := d.take(dawn+int64(i)*ms, gates[i%10], 1)
		if w.Verdict != lease.Admit || w.Left[0] != int64(99-i) {
			t.Fatalf("request %d: %+v, want it admitted with %d left", i, w, 99-i)
		}
	}
	for range 2 {
		for i, b := range gates {
			if w := d.take(dawn+s, b, 1); w.Verdict != lease.Refuse || w.Left[0] != 0 {
				t.Errorf("gate %d: %+v, want it refused", i, w)
			}
		}
	}
	if d.asked != 110 {
		t.Errorf("asked %d times, want once for each token and once for each gate", d.asked)
	}
	for i, b := range gates {
		if v, _ := b.Take(dawn+2*s, 1); v != lease.Refuse {
			t.Errorf("gate %d: Take = %v, want it refused without a lock", i, v)
		}
		if w := d.take(dawn+60*s, b, 1); w.Verdict != lease.Admit {
			t.Errorf("gate %d: next minute = %+v, want it admitted", i, w)
		}
	}
}

// TestAnUndoMintsATokenAndTakeDoesNot has the window end in the middle of a limiter that
// subtracts first and puts back what was not there, and in the middle of ours.
func TestAnUndoMintsATokenAndTakeDoesNot(t *testing.T) {
	t.Parallel()
	for name, take := range map[string]func(b *lease.Bucket, rolls func()){
		"undo": func(b *lease.Bucket, rolls func()) { b.TakeThenUndo(dawn+59*s, rolls) },
		"take": func(b *lease.Bucket, rolls func()) { b.Take(dawn+59*s, 1); rolls() },
	} {
		b, d := lease.NewBucket(node(t), minutes(10000), "k"), &desk{}
		d.take(dawn, b, 1)
		for b.Held() > 0 {
			b.Take(dawn, 1)
		}
		take(b, func() { d.take(dawn+60*s, b, 1) })
		charged := d.authority.Charged(lease.Slot{Key: "k", Period: plugin.Minute, Start: dawn/1000 + 60e6})
		if minted := b.Held() + 1 - charged; (minted > 0) != (name == "undo") {
			t.Errorf("%s: %d tokens that nobody charged", name, minted)
		}
	}
}

// TestAClockThatJumpsAdmitsNothingTwice has the authority's clock go back two minutes, as
// after a failover to a machine that is behind, and forth again.
func TestAClockThatJumpsAdmitsNothingTwice(t *testing.T) {
	t.Parallel()
	for _, limit := range []int64{5, 1000} {
		n, d := node(t), &desk{}
		b := lease.NewBucket(n, minutes(limit), "k")
		used := func(off int64) (admitted int64) {
			n.Clock.Observe(dawn, dawn, (dawn+off)/1000)
			for range limit + 10 {
				w := &lease.Waiter{N: 1}
				var out lease.Out
				b.Join(dawn, w, &out)
				for out.Ask != nil {
					a := d.authority.Serve((dawn+off)/1000, out.Ask)
					out.Ask = nil
					b.Reply(dawn, dawn, &a, &out)
				}
				if w.Verdict == lease.Admit {
					admitted++
				} else if w.Verdict == lease.Undecided {
					b.Leave(w)
				}
			}
			return admitted
		}
		now, back, again := used(0), used(-120*s), used(0)
		if now != limit || back != limit || again != 0 {
			t.Errorf("limit %d: admitted %d, two minutes before %d, then again %d, want each minute's limit once", limit, now, back, again)
		}
	}
}

// TestAheadIsBounded has gates admit a percentage before anything is known.
func TestAheadIsBounded(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		l := sim.Workload{
			Gates: 10, Windows: []plugin.Window{{Period: plugin.Second, Limit: 2000}}, Rate: 5000, For: 4 * s,
			RoundTrip: 20 * ms, Seed: seed, Rule: lease.Rule{ExactUpTo: lease.DefaultExactUpTo, Ahead: 5},
		}
		r := sim.Run(l, sim.LeaseWay("ahead"))
		for w, admitted := range r.Leases.Charged {
			if admitted > 2100 {
				t.Errorf("seed %d: window %+v admitted %d, want at most 5 %% above 2000", seed, w, admitted)
			}
		}
	}
}

// TestNoTokenIsMinted has many take while tokens come, go back and windows end.
func TestNoTokenIsMinted(t *testing.T) {
	t.Parallel()
	n := node(t)
	b := lease.NewBucket(n, &lease.Rule{Windows: []plugin.Window{{Period: plugin.Second, Limit: 3000}, {Period: plugin.Hour, Limit: 20000}}}, "k")
	var mu sync.Mutex // the authority's
	var d desk
	var now, admitted atomic.Int64
	now.Store(dawn)
	answer := func(out *lease.Out) {
		for out.Ask != nil {
			mu.Lock()
			a := d.authority.Serve(now.Load()/1000, out.Ask)
			d.authority.Recalls = nil
			mu.Unlock()
			*out = lease.Out{Done: out.Done}
			b.Reply(now.Load(), now.Load(), &a, out)
		}
		for _, w := range out.Done {
			if w.Verdict == lease.Admit {
				admitted.Add(w.N)
			}
		}
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 6000 {
				var out lease.Out
				switch v, ask := b.Take(now.Load(), 1); {
				case v == lease.Admit:
					admitted.Add(1)
					if ask {
						b.Refill(now.Load(), &out)
					}
				case v == lease.Undecided:
					b.Join(now.Load(), &lease.Waiter{N: 1}, &out)
				}
				answer(&out)
				if g == 0 && i%10 == 0 {
					now.Add(5 * ms)
				}
				if g == 1 && i%50 == 0 {
					out = lease.Out{}
					b.Recall(now.Load(), dawn/1000, &out)
					answer(&out)
					out = lease.Out{}
					b.Tick(now.Load(), &out)
					answer(&out)
				}
			}
		})
	}
	wg.Wait()
	_, end := lease.Bounds(plugin.Hour, unix(dawn))
	start := end.UnixNano() - 3600*s
	charged := d.authority.Charged(lease.Slot{Key: "k", Period: plugin.Hour, Start: start / 1000})
	if a := admitted.Load(); a > 20000 || a > charged || a < 2000 {
		t.Errorf("admitted %d, charged %d, want at most that and 20000", a, charged)
	}
}

func TestTakeDoesNotAllocate(t *testing.T) {
	b := full(t, 1<<20)
	if n := testing.AllocsPerRun(1000, func() { b.Take(dawn, 1) }); n != 0 {
		t.Errorf("Take allocates %v times, want 0", n)
	}
}

func BenchmarkTake(b *testing.B) {
	k := full(b, 1<<40)
	b.ReportAllocs()
	for b.Loop() {
		if v, _ := k.Take(dawn, 1); v != lease.Admit {
			b.Fatal("refused")
		}
	}
}

func BenchmarkTakeContended(b *testing.B) {
	k := full(b, 1<<40)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if v, _ := k.Take(dawn, 1); v != lease.Admit {
				b.Error("refused")
				return
			}
		}
	})
}

func unix(ns int64) time.Time { return time.Unix(0, ns) }
