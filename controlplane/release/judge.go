package release

import (
	"fmt"
	"math"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

const (
	defaultTolerance = 1.2
	defaultAlpha     = 0.01
)

// alternatives are how much worse than tolerated the new revision may be. What is judged is the
// mean of the likelihood ratios of all: it grows about as fast as that of the right one.
var alternatives = [...]float64{1.5, 2, 3, 5, 10, 30}

func checkGate(g *controlv1.Gate) error {
	if g == nil {
		return nil
	}
	if t := g.GetTolerance(); t != 0 && !(t >= 1 && t <= 100) {
		return refuse("gate: a tolerance of %v must be from 1 to 100", t)
	}
	if a := g.GetAlpha(); a != 0 && !(a > 0 && a < 1) {
		return refuse("gate: an alpha of %v must be between 0 and 1", a)
	}
	return nil
}

// counted is what nodes served under both revisions since they were last asked.
type counted struct{ fresh, base Counts }

// Of a release that this replica has not counted yet it is what was served before: that tells
// nothing of it, and is dropped.
func (d *Desk) count(r *controlv1.Release) *counted {
	now := d.Now()
	last, known := d.weighed[r.GetId()]
	if r.GetGate() == nil || d.Counts == nil || known && now.Sub(last) < d.Window {
		return &counted{}
	}
	d.weighed[r.GetId()] = now
	c := d.served(r)
	if !known {
		return &counted{}
	}
	return c
}

func (d *Desk) served(r *controlv1.Release) *counted {
	return &counted{fresh: d.Counts(r.GetGroup(), r.GetRev()), base: d.Counts(r.GetGroup(), r.GetBase())}
}

// judge weighs what was counted and says why the release must go back, if it must.
//
// Of m errors on both sides together, the number on the new one is binomial; when it is at
// most tolerated times as error-prone its share is at most p0. The product of likelihood
// ratios against p0 is a nonnegative supermartingale then, so that it ever reaches 1/alpha has a
// probability of at most alpha (Ville's inequality) however often one looks. A drift of the
// rate that both sides share cancels.
func (s *state) judge(r *controlv1.Release, c *counted) (why string) {
	g := r.GetGate()
	if g == nil || *c == (counted{}) {
		return ""
	}
	j := r.GetJudgement()
	if j == nil {
		j = &controlv1.Judgement{}
		r.Judgement = j
	}
	j.NewRequests += c.fresh.Requests
	j.NewErrors += c.fresh.Errors
	j.BaseRequests += c.base.Requests
	j.BaseErrors += c.base.Errors
	j.At = stamp(s.now)
	tolerance, alpha := orDefault(g.GetTolerance(), defaultTolerance), orDefault(g.GetAlpha(), defaultAlpha)
	j.Terms, j.Evidence = weigh(j.GetTerms(), c, tolerance)
	s.releases[r.GetId()].dirty = true
	if j.GetEvidence() < 1/alpha {
		return ""
	}
	return fmt.Sprintf("its nodes answered %d of %d requests with errors, the others %d of %d",
		j.GetNewErrors(), j.GetNewRequests(), j.GetBaseErrors(), j.GetBaseRequests())
}

func orDefault(v, d float64) float64 {
	if v == 0 {
		return d
	}
	return v
}

// weigh adds a window to the log-likelihood ratios and returns the mean of the ratios.
func weigh(terms []float64, c *counted, tolerance float64) ([]float64, float64) {
	sums := make([]float64, len(alternatives))
	copy(sums, terms)
	share := func(ratio float64) float64 { // of all errors, on the new side
		fresh := float64(c.fresh.Requests) * ratio
		return fresh / (fresh + float64(c.base.Requests))
	}
	// Without requests on both sides errors tell nothing of a ratio.
	comparable := c.fresh.Requests > 0 && c.base.Requests > 0
	p0 := share(tolerance)
	mean := 0.0
	for i, a := range alternatives {
		if comparable {
			p1 := share(tolerance * a)
			sums[i] += float64(c.fresh.Errors)*math.Log(p1/p0) + float64(c.base.Errors)*math.Log((1-p1)/(1-p0))
		}
		mean += math.Exp(sums[i])
	}
	return sums, mean / float64(len(alternatives))
}
