package rollout

import (
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
		"mode 7":      {{Name: "a", Mode: 7, Generation: 1}},
	} {
		if _, err := New(groups, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New(%v) = %v, want an error with %q", groups, err, want)
		}
	}
}
