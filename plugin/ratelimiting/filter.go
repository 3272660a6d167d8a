package ratelimiting

import (
	"context"
	"log/slog"
	"net/http"
	"sync"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/counting"
)

type filter struct {
	limiter    plugin.Limiter
	windows    []window
	identifier counting.Identifier
	log        *slog.Logger
	silent     bool
	open       bool // to those who ask how limits are decided
	status     int
	message    string
}

var _ plugin.RequestFilter = (*filter)(nil)

// ask is what one call to a limiter needs. It is pooled because both parts would be moved to
// the heap by the call.
type ask struct {
	x        *plugin.Exchange
	context  func() context.Context
	decision plugin.Decision
}

var asks = sync.Pool{New: func() any {
	a := &ask{}
	a.context = func() context.Context { return a.x.Context() }
	return a
}}

// OnRequest takes one from every window, or from none when one of them is used up.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	a := asks.Get().(*ask)
	a.x, a.decision = x, plugin.Decision{}
	v := f.decide(x, a)
	a.x = nil
	asks.Put(a)
	return v
}

func (f *filter) decide(x *plugin.Exchange, a *ask) plugin.Verdict {
	d := &a.decision
	if err := f.limiter.Take(a.context, f.identifier(x), 1, d); err != nil {
		f.log.Error("count request", "plugin", "rate-limiting", "error", err)
		return plugin.Deny(http.StatusInternalServerError, "").Because("limits-unreachable")
	}
	if f.open && counting.AsksMode(x) {
		x.Early.Set("Sekifuda-Limit-Mode", d.Mode)
	}
	if !d.Counted {
		return plugin.Next
	}
	if !f.silent {
		f.tell(x, d)
	}
	if d.Allowed {
		return plugin.Next
	}
	return plugin.Deny(f.status, f.message).Because(f.windows[d.Stop].reasonExceeded)
}

// tell sets the headers: a pair for each window, and the RateLimit ones for the window with
// the least left, of equal ones the longest.
func (f *filter) tell(x *plugin.Exchange, d *plugin.Decision) {
	least, leastLeft := 0, 0.0
	for i := range f.windows {
		w := &f.windows[i]
		left := max(0, float64(d.Remaining[i])-w.Excess)
		if !d.Allowed && i == d.Stop {
			left = 0
		}
		if i == 0 || left <= leastLeft {
			least, leastLeft = i, left
		}
		x.Early.Set(w.limitHeader, w.Text)
		x.Early.Set(w.remainHeader, counting.Number(x, left))
	}
	w := &f.windows[least]
	reset := x.Decimal(w.Reset(d.Now))
	x.Early.Set("RateLimit-Limit", w.Text)
	x.Early.Set("RateLimit-Remaining", counting.Number(x, leastLeft))
	x.Early.Set("RateLimit-Reset", reset)
	if !d.Allowed {
		x.Early.Set("Retry-After", reset)
	}
}
