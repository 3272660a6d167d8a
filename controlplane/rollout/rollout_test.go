package rollout

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestTargets(t *testing.T) {
	t.Parallel()
	p, err := New([]Group{
		{Name: "blue", Mode: Pinned, Rev: 7, Generation: 3},
		{Name: "green", Mode: Follow, Rev: 99, Generation: 2},
		{Name: "ice", Mode: Frozen, Rev: 5, Generation: 9},
		{Name: "soon", Mode: Pinned, Rev: 12, Generation: 4},
	}, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		group string
		want  Target
		held  bool
	}{
		{"blue", Target{3, 7, 10}, true},
		{"green", Target{2, 10, 10}, false},
		{"ice", Target{9, 5, 10}, true},
		{"soon", Target{4, 12, 10}, true},
		{"unheard of", Target{1, 10, 10}, false},
	} {
		if got := p.Target(c.group, "n"); got != c.want {
			t.Errorf("Target(%q) = %v, want %v", c.group, got, c.want)
		}
		if got := p.Held(c.group, "n"); got != c.held {
			t.Errorf("Held(%q) = %v, want %v", c.group, got, c.held)
		}
	}
	if got, want := p.Keep(), []uint64{5, 7, 12}; !slices.Equal(got, want) {
		t.Errorf("Keep() = %v, want %v", got, want)
	}
}

func TestGroupsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	for want, groups := range map[string][]Group{
		"no name":     {{Generation: 1}},
		"twice":       {{Name: "a", Generation: 1}, {Name: "a", Generation: 2}},
		"generation":  {{Name: "a"}},
		"no revision": {{Name: "a", Mode: Pinned, Generation: 1}},
		"no sense":    {{Name: "a", Mode: Follow, Generation: 1, Move: Move{"r", 3, 0.5}}},
		"mode 7":      {{Name: "a", Mode: 7, Generation: 1}},
	} {
		if _, err := New(groups, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New(%v) = %v, want an error with %q", groups, err, want)
		}
	}
}

func TestSharesOfAGroup(t *testing.T) {
	t.Parallel()
	const nodes = 10_000
	chosen := func(release string, share float64) (ids []string) {
		p, err := New([]Group{{Name: "g", Mode: Pinned, Rev: 4, Generation: 2, Move: Move{release, 9, share}}}, 20)
		if err != nil {
			t.Fatal(err)
		}
		for i := range nodes {
			id := fmt.Sprintf("node-%04d", i)
			switch got := p.Target("g", id); got {
			case Target{2, 9, 20}:
				ids = append(ids, id)
			case Target{2, 4, 20}:
			default:
				t.Fatalf("Target = %v", got)
			}
		}
		return ids
	}
	before := []string{}
	for _, share := range []float64{0, 0.01, 0.05, 0.25, 0.5, 1} {
		now := chosen("r1", share)
		if d := float64(len(now))/nodes - share; d < -0.02 || d > 0.02 {
			t.Errorf("a share of %v chose %d of %d nodes", share, len(now), nodes)
		}
		for _, id := range before {
			if !slices.Contains(now, id) {
				t.Fatalf("%s left when the share grew to %v", id, share)
			}
		}
		before = now
	}
	if slices.Equal(chosen("r1", 0.5), chosen("r2", 0.5)) {
		t.Error("two releases chose the same nodes")
	}
}
