package lease_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/limits/lease"
)

type leaser func(t *lease.Theoretical, now int64, p *lease.Pace, wanted, target int64) (grant, wait int64)

// worst leases at random times and uses tokens at the worst ones: at once, at the very end of
// their time or in between. It returns how far above the burst the pace was found, in
// requests.
func worst(seed uint64, l leaser) (above int64, p *lease.Pace, admitted int) {
	g := rand.New(rand.NewPCG(seed, 3))
	p = &lease.Pace{Limit: 1 + g.Int64N(5000), Length: time.Duration(1+g.IntN(60)) * time.Second, Burst: 1 + g.Int64N(400)}
	var store lease.Theoretical
	var at []int64
	now := dawn
	interval := (int64(p.Length) + p.Limit - 1) / p.Limit
	for range 400 {
		now += g.Int64N(1 + interval*p.Burst/4)
		wanted := g.Int64N(4)
		grant, wait := l(&store, now, p, wanted, wanted+g.Int64N(1+p.Burst))
		if grant < wanted && wait <= 0 {
			return 1, p, 0
		}
		for i := range grant {
			used := now
			if i >= wanted {
				used += []int64{0, p.Usable() - 1, g.Int64N(1 + p.Usable())}[g.IntN(3)]
			}
			at = append(at, used)
		}
	}
	slices.Sort(at)
	tat := int64(0)
	for _, t := range at {
		tat = max(tat, t) + interval
		above = max(above, (tat-t-p.Burst*interval+interval-1)/interval)
	}
	return above, p, len(at)
}

// TestLeasedPaceKeepsToTheBurst has leases used whenever it hurts most.
func TestLeasedPaceKeepsToTheBurst(t *testing.T) {
	t.Parallel()
	leased, total := 0, 0
	for seed := range uint64(2000) {
		above, p, n := worst(seed, (*lease.Theoretical).Lease)
		if above > 0 {
			t.Fatalf("seed %d: %+v: %d above the burst", seed, *p, above)
		}
		if total += n; p.Usable() > 0 {
			leased++
		}
	}
	if leased < 200 || total < 10000 {
		t.Errorf("%d paces leased ahead, %d requests: that shows little", leased, total)
	}
}

func TestALeasedPaceWithoutReserveDoesNot(t *testing.T) {
	t.Parallel()
	found := 0
	for seed := range uint64(2000) {
		if above, _, _ := worst(seed, (*lease.Theoretical).LeaseWithoutReserve); above > 0 {
			found++
		}
	}
	if found == 0 {
		t.Error("no schedule found the mistake")
	}
}

func TestSlidingBucketUsesWhatItLeasedInTime(t *testing.T) {
	t.Parallel()
	p := &lease.Pace{Limit: 1000, Length: time.Second, Burst: 400}
	var store lease.Theoretical
	b := lease.NewSlidingBucket(p)
	if b.Take(dawn) || !b.Ask(dawn) || b.Ask(dawn) {
		t.Fatal("a bucket that has nothing asks once")
	}
	grant, _ := store.Lease(dawn+ms, p, 3, 50)
	if grant != 50 || b.Reply(grant, 3) != 3 {
		t.Fatalf("granted %d, want 50 of which 3 are waited for", grant)
	}
	for i := range 46 {
		if !b.Take(dawn + int64(i)*ms/2) {
			t.Fatalf("token %d of 47 is not there", i)
		}
	}
	if b.Take(dawn + p.Usable()) {
		t.Error("a token was used past its time")
	}
	b.Ask(dawn + s)
	b.Fail()
	if !b.Ask(dawn + s) {
		t.Error("a question that failed is still under way")
	}
	// At the limit the wait is what the pace says.
	for range 1000 {
		store.Lease(dawn+s, p, 1, 1)
	}
	grant, wait := store.Lease(dawn+s, p, 1, 1)
	if grant != 0 || wait <= 0 || wait > ms {
		t.Errorf("granted %d, wait %v, want to wait at most a millisecond", grant, time.Duration(wait))
	}
	if grant, _ = store.Lease(dawn+s+wait, p, 1, 1); grant != 1 {
		t.Error("nothing is granted after the wait")
	}
}
