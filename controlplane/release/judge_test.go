package release

import (
	"math/rand/v2"
	"testing"
)

// run lets a canary of share w judge itself in windows until it goes back or the time is over.
func run(r *rand.Rand, requests int, w, base, ratio float64, windows int) (window int, back bool) {
	var terms []float64
	for i := range windows {
		drift := 1 + 0.5*r.Float64() // both sides share it
		c := &counted{
			fresh: served(r, int(float64(requests)*w), base*ratio*drift),
			base:  served(r, int(float64(requests)*(1-w)), base*drift),
		}
		var evidence float64
		if terms, evidence = weigh(terms, c, defaultTolerance); evidence >= 1/defaultAlpha {
			return i + 1, true
		}
	}
	return windows, false
}

func served(r *rand.Rand, n int, p float64) (c Counts) {
	c.Requests = uint64(n)
	for range n {
		if r.Float64() < p {
			c.Errors++
		}
	}
	return c
}

// TestJudgement holds the gate to what makes it usable: looked at in every window, it hardly
// ever takes back what is no worse, and soon what is.
func TestJudgement(t *testing.T) {
	t.Parallel()
	const runs, windows = 200, 60
	for _, c := range []struct {
		name        string
		ratio       float64
		least, most int // of runs, taken back
		soon        int // windows, for the median; 0: does not matter
	}{
		{"no worse", 1, 0, 4, 0},
		{"as tolerated", 1.2, 0, 6, 0},
		{"twice", 2, 190, runs, 30},
		{"ten times", 10, runs, runs, 3},
	} {
		r := rand.New(rand.NewPCG(1, 2))
		back, when := 0, 0
		for range runs {
			at, is := run(r, 4000, 0.25, 0.01, c.ratio, windows)
			if is {
				back++
			}
			if at <= c.soon {
				when++
			}
		}
		if back < c.least || back > c.most {
			t.Errorf("%s: taken back in %d of %d runs, want %d to %d", c.name, back, runs, c.least, c.most)
		}
		if c.soon > 0 && when < runs/2 {
			t.Errorf("%s: taken back within %d windows in %d of %d runs, want half", c.name, c.soon, when, runs)
		}
	}
}

func TestNothingToCompare(t *testing.T) {
	t.Parallel()
	for _, c := range []counted{{fresh: Counts{100, 90}}, {base: Counts{100, 90}}} {
		if _, e := weigh(nil, &c, defaultTolerance); e != 1 {
			t.Errorf("evidence of %+v is %v, want 1", c, e)
		}
	}
}
