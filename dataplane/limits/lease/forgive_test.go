package lease_test

import (
	"testing"

	"github.com/sekifuda/sekifuda/dataplane/limits/lease"
	"github.com/sekifuda/sekifuda/plugin"
)

// TestASetBackWindowIsAskedForAgain has the word of it come when nothing is under way, while a
// question is, and while its answer is of before.
func TestASetBackWindowIsAskedForAgain(t *testing.T) {
	t.Parallel()
	window := lease.Slot{Key: "k", Period: plugin.Minute, Start: dawn / 1000}
	used := func(t *testing.T) (*desk, *lease.Bucket) {
		d, b := &desk{}, lease.NewBucket(node(t), minutes(2), "k")
		d.take(dawn, b, 1)
		d.take(dawn, b, 1)
		return d, b
	}
	forgive := func(d *desk, b *lease.Bucket) {
		var out lease.Out
		d.authority.Reset(window, dawn/1000)
		b.Forgive(dawn, window.Start, &out)
		d.do(dawn, b, &out)
	}
	d, b := used(t)
	if w := d.take(dawn, b, 1); w.Verdict != lease.Refuse {
		t.Fatalf("a third of two: %+v", w)
	}
	var out lease.Out
	b.Forgive(dawn, window.Start+60e6, &out) // of another window
	if v, _ := b.Take(dawn, 1); v != lease.Refuse {
		t.Error("the word of another window changes this one")
	}
	forgive(d, b)
	if v, _ := b.Take(dawn, 1); v != lease.Undecided {
		t.Errorf("Take = %v after the window was set back", v)
	}
	for i := range 3 {
		if w := d.take(dawn, b, 1); (w.Verdict == lease.Admit) != (i < 2) {
			t.Errorf("request %d after the window was set back: %+v", i, w)
		}
	}

	d, b = used(t)
	w := &lease.Waiter{N: 1}
	out = lease.Out{}
	b.Join(dawn, w, &out)
	before := d.authority.Serve(dawn/1000, out.Ask)
	forgive(d, b)
	out = lease.Out{}
	b.Reply(dawn, dawn, &before, &out)
	d.do(dawn, b, &out)
	if w.Verdict != lease.Admit {
		t.Errorf("the answer of before decides: %+v", w)
	}
	if got := d.authority.Charged(window); got != 1 {
		t.Errorf("charged %d, want the one that was admitted since", got)
	}
}
