package feed

import "testing"

// TestGuardForgetsWhatStoodBehind writes a short text over a long one.
func TestGuardForgetsWhatStoodBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g, err := openGuard(dir, "1")
	if err != nil {
		t.Fatal(err)
	}
	at := Pos{Epoch: "a-long-epoch", Staged: 1234567890, Live: 1234567890}
	if err := g.begin(at); err != nil {
		t.Fatal(err)
	}
	again, err := openGuard(dir, "1")
	if err != nil {
		t.Fatal(err)
	}
	if !holds(again.suspects, at) {
		t.Errorf("after a death in %v, suspects are %v", at, again.suspects)
	}
	g.suspects = []Pos{at, {Epoch: "b"}}
	if err := g.write(); err != nil {
		t.Fatal(err)
	}
	g.suspects = nil
	g.abandon()
	if again, err = openGuard(dir, "1"); err != nil {
		t.Fatal(err)
	}
	if len(again.suspects) != 0 {
		t.Errorf("after there are none, suspects are %v", again.suspects)
	}
}
