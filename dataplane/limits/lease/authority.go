package lease

import (
	"math"

	"github.com/sekifuda/sekifuda/plugin"
)

// What acquire.lua has as well; times in microseconds.
const (
	// Slack is how far outside of a window the authority's clock may be for the window still
	// to be charged: for what is leased ahead, and for what comes late.
	Slack = int64(2e6)
	// census is how often holders are looked through for those that went silent.
	census = int64(10e6)
	// forgetDemand is after what silence a holder's demand is no longer in the way of others.
	forgetDemand = int64(10e6)
	// forgetHolder is after what silence a holder is forgotten. What is charged for it stays.
	forgetHolder = int64(3600e6)
)

// Authority is where counts are kept, as plain Go: what acquire.lua does in Redis, for the
// simulator and for the test that holds the two equal. The zero value is empty. It is not
// safe for concurrent use.
type Authority struct {
	counters map[Slot]*counter
	// Recalls are the slots of which holders shall give back what they hold. The caller
	// takes them.
	Recalls []Slot

	mutant mutant // of tests
}

// Slot names one window of one key.
type Slot struct {
	Key    string
	Period plugin.Period
	Start  int64 // microseconds
}

type counter struct {
	charged int64
	recall  int64 // when holders were called to give back; 0: not yet
	out     int64 // held by all
	fresh   int64 // of that, by those who were heard of since the recall
	demand  int64
	holders int64
	census  int64
	back    bool // an operator set it back
	of      map[string]*holder
}

type holder struct {
	out, demand, heard, seq, grant, own int64
}

// Serve answers q at time now, in microseconds.
func (a *Authority) Serve(now int64, q *Ask) Answer {
	ans := Answer{Seq: q.Seq, Now: now}
	for i := range q.Claims {
		if c := &q.Claims[i]; now < c.Start-Slack || now >= c.End+Slack {
			ans.Status = Moved
			return ans
		}
	}
	all, own := make([]*counter, len(q.Claims)), make([]*holder, len(q.Claims))
	var repeated *holder
	for i := range q.Claims {
		all[i], own[i] = a.find(now, q, i)
		if h := own[i]; h.seq > q.Seq && a.mutant != deltaClaims {
			ans.Status = Stale
			return ans
		} else if h.seq == q.Seq {
			repeated = h
		}
	}
	grant := int64(math.MaxInt64)
	for i := range q.Claims {
		a.claim(now, q, &q.Claims[i], all[i], own[i])
		grant = min(grant, all[i].grant(q, &q.Claims[i]))
	}
	if repeated != nil && a.mutant != deltaClaims {
		grant = repeated.grant
	}
	ans.Grant = grant
	for i := range q.Claims {
		ans.Views = append(ans.Views, a.charge(now, q, &q.Claims[i], all[i], own[i], grant))
	}
	return ans
}

// Charged is what is charged of a slot.
func (a *Authority) Charged(s Slot) int64 {
	if c := a.counters[s]; c != nil {
		return c.charged
	}
	return 0
}

// Lose forgets everything, as a FLUSHALL does.
func (a *Authority) Lose() { a.counters = nil }

// Reset sets a slot back: nothing counts as used. Holders that come with their claims are
// charged only for what they hold.
func (a *Authority) Reset(s Slot, now int64) {
	if a.counters[s] != nil {
		a.counters[s] = &counter{census: now, back: true, of: map[string]*holder{}}
	}
}

func slot(q *Ask, m *Claim) Slot { return Slot{q.Key, m.Period, m.Start} }

func (a *Authority) find(now int64, q *Ask, i int) (*counter, *holder) {
	c := a.counters[slot(q, &q.Claims[i])]
	if c == nil { // it is not among the counters before charge
		c = &counter{census: now, of: map[string]*holder{}}
	}
	h := c.of[q.Holder]
	if h == nil {
		h = &holder{} // it is not among the holders before charge
	}
	return c, h
}

// claim takes what the holder says of itself: the newest claim is what is charged for it.
func (a *Authority) claim(now int64, q *Ask, m *Claim, c *counter, h *holder) {
	// What a holder used before the count was set back is forgiven, what it holds is not.
	if c.back && h.seq == 0 {
		h.own = max(0, m.Own-m.Held)
	}
	if a.mutant == deltaClaims {
		c.charged += m.Own
		h.own += m.Own
	} else {
		c.charged += m.Own - h.own
		h.own = m.Own
	}
	every := census
	if m.Reclaim > 0 {
		every = m.Reclaim / 2
	}
	if now-c.census >= every {
		c.lookThrough(now, m.Reclaim, q.Holder)
	}
	c.charged = max(0, c.charged) // refunds of what was forgiven give nothing
	c.demand += q.Demand - h.demand
	h.demand = q.Demand
	if h.seq == 0 {
		c.holders++
	}
}

// lookThrough counts anew without those that went silent.
func (c *counter) lookThrough(now, reclaim int64, except string) {
	c.census = now
	c.out, c.fresh, c.demand, c.holders = 0, 0, 0, 0
	for name, h := range c.of {
		silent := now - h.heard
		if name != except {
			if reclaim > 0 && silent > reclaim {
				c.charged -= h.out
				h.own -= h.out
				h.out = 0
			}
			if silent > forgetDemand {
				h.demand = 0
			}
			if silent > forgetHolder {
				delete(c.of, name)
				continue
			}
		}
		c.out += h.out
		c.demand += h.demand
		c.holders++
		if c.recall > 0 && h.heard > c.recall {
			c.fresh += h.out
		}
	}
}

// grant is what this window allows: what is waited for, and ahead the half of a share by
// demand, never more than would be useful.
func (c *counter) grant(q *Ask, m *Claim) int64 {
	left := max(0, m.Limit-c.charged)
	switch {
	case q.Report:
		return 0
	case m.Exact || c.recall > 0:
		return min(left, q.Wanted)
	case q.Target < 1 && q.Wanted < 1:
		return 0
	}
	fair := int64(math.Floor(float64(float64(left)*float64(q.Demand)) / float64(2*c.demand)))
	free := int64(0)
	if q.Free {
		free = int64(math.Floor(float64(left) / float64(32*c.holders)))
	}
	return min(left, max(q.Wanted, min(q.Target, fair), free))
}

func (a *Authority) charge(now int64, q *Ask, m *Claim, c *counter, h *holder, grant int64) View {
	left := max(0, m.Limit-c.charged)
	others := c.out - h.out
	if !q.Report && q.Wanted > left && c.recall == 0 {
		c.recall, c.fresh = now, 0
		if others > 0 {
			a.Recalls = append(a.Recalls, slot(q, m))
		}
	}
	out := m.Held + grant - min(grant, q.Wanted)
	c.charged += grant
	h.own += grant
	c.out += out - h.out
	if c.recall > 0 {
		if h.heard > c.recall {
			c.fresh -= h.out
		}
		if now > c.recall {
			c.fresh += out
		}
	}
	h.out, h.heard, h.grant = out, now, grant
	h.seq = q.Seq
	c.of[q.Holder] = h
	if a.counters == nil {
		a.counters = map[Slot]*counter{}
	}
	a.counters[slot(q, m)] = c
	v := View{
		Left: max(0, m.Limit-c.charged), Others: c.out - h.out,
		Near: c.recall > 0, Holders: c.holders, Demand: c.demand,
	}
	if c.recall > 0 {
		v.Retry = max(0, c.recall+q.Grace-now)
		if v.Retry == 0 {
			v.Others = c.fresh - out // who is still silent does not answer any more
		}
	}
	return v
}
