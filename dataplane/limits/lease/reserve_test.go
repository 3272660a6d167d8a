package lease_test

import (
	"math/rand/v2"
	"testing"

	"github.com/sekifuda/sekifuda/dataplane/limits/lease"
	"github.com/sekifuda/sekifuda/plugin"
)

type spending struct {
	r      *lease.Reservation
	b      *lease.Bucket
	n      int64
	window int64
}

// TestReservationsAreConserved reserves and settles at random over gates and windows: in the
// end what is charged is what was used.
func TestReservationsAreConserved(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		g := rand.New(rand.NewPCG(seed, 4))
		estimates := seed%2 == 1 // that may be too low
		d := &desk{}
		r := &lease.Rule{Windows: []plugin.Window{{Period: plugin.Minute, Limit: 4000}, {Period: plugin.Hour, Limit: 12000}}, ExactUpTo: int64(g.IntN(2)) * 5000}
		var gates []*lease.Bucket
		for range 3 {
			gates = append(gates, lease.NewBucket(node(t), r, "k"))
		}
		var open []spending
		used := map[int64]int64{}
		now := hour
		settle := func(i int) {
			sp := open[i]
			open = append(open[:i], open[i+1:]...)
			actual := g.Int64N(sp.n + 1)
			if estimates {
				actual = g.Int64N(2*sp.n + 1)
			}
			var out lease.Out
			if !sp.b.Settle(now, sp.r, actual, &out) {
				t.Fatal("Settle = false the first time")
			}
			d.do(now, sp.b, &out)
			if sp.b.Settle(now, sp.r, 0, &out) {
				t.Fatal("Settle = true the second time")
			}
			used[sp.window] += actual
		}
		for range 300 {
			now += g.Int64N(3 * s)
			b := gates[g.IntN(3)]
			if n := 1 + g.Int64N(300); g.IntN(2) == 0 || len(open) == 0 {
				w := d.take(now, b, n)
				if w.Verdict == lease.Undecided && !b.Leave(w) {
					t.Fatal("an undecided request does not wait")
				}
				if w.Verdict == lease.Admit {
					open = append(open, spending{lease.Reserve(w), b, n, w.Window})
				}
			} else {
				settle(g.IntN(len(open)))
			}
			recall(now, d, gates)
		}
		for len(open) > 0 {
			settle(0)
		}
		for _, b := range gates {
			var out lease.Out
			b.Tick(now, &out)
			d.do(now, b, &out)
			out = lease.Out{}
			b.Retire(now, &out)
			d.do(now, b, &out)
		}
		balance(t, seed, d, used, now, estimates)
	}
}

// hour is the start of an hour.
const hour = dawn - dawn%(3600*s)

func recall(now int64, d *desk, gates []*lease.Bucket) {
	for len(d.authority.Recalls) > 0 {
		slot := d.authority.Recalls[0]
		d.authority.Recalls = d.authority.Recalls[1:]
		for _, b := range gates {
			var out lease.Out
			b.Recall(now, slot.Start, &out)
			d.do(now, b, &out)
		}
	}
}

func balance(t *testing.T, seed uint64, d *desk, used map[int64]int64, now int64, estimates bool) {
	t.Helper()
	var sum int64
	for _, n := range used {
		sum += n
		if n > 4000 && !estimates {
			t.Errorf("seed %d: a minute used %d, want at most 4000", seed, n)
		}
	}
	charged := d.authority.Charged(lease.Slot{Key: "k", Period: plugin.Hour, Start: hour / 1000})
	if now < hour+3600*s && charged != sum {
		t.Errorf("seed %d: the hour is charged %d, used %d", seed, charged, sum)
	}
	if sum > 12000 && !estimates {
		t.Errorf("seed %d: the hour used %d, want at most 12000", seed, sum)
	}
	if sum < 1000 {
		t.Errorf("seed %d: used %d: that shows little", seed, sum)
	}
}

// TestWhatIsNotUsedIsHeardOfElsewhere has one gate reserve all there is and use little, while
// another was told that there is nothing.
func TestWhatIsNotUsedIsHeardOfElsewhere(t *testing.T) {
	t.Parallel()
	d, r := &desk{}, minutes(1000)
	one, two := lease.NewBucket(node(t), r, "k"), lease.NewBucket(node(t), r, "k")
	reserve := func(now int64, b *lease.Bucket, n int64) *lease.Waiter {
		w := &lease.Waiter{N: n, Reserve: true}
		var out lease.Out
		b.Join(now, w, &out)
		d.do(now, b, &out)
		return w
	}
	all := reserve(dawn, one, 1000)
	if w := reserve(dawn, two, 10); all.Verdict != lease.Admit || w.Verdict != lease.Refuse {
		t.Fatalf("all of 1000: %+v, ten more: %+v", all, w)
	}
	var out lease.Out
	one.Settle(dawn+100*ms, lease.Reserve(all), 100, &out)
	d.do(dawn+100*ms, one, &out)
	now := dawn + s
	if at := one.WakeAt(); at == 0 || at > now {
		t.Fatalf("nothing is said of what was not used before %d", at-dawn)
	}
	out = lease.Out{}
	one.Tick(now, &out)
	d.do(now, one, &out)
	if w := reserve(now, two, 900); w.Verdict != lease.Admit {
		t.Errorf("900 of the 900 that were not used: %+v", w)
	}
	if w := reserve(now, two, 1); w.Verdict != lease.Refuse {
		t.Errorf("one more: %+v", w)
	}
}
