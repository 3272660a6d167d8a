package responseratelimiting

import (
	"context"
	"log/slog"
	"net/http"
	"sync"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/counting"
)

type filter struct {
	limits     []limit
	windows    int // of all limits
	identifier counting.Identifier
	header     string
	silent     bool
	block      bool
	log        *slog.Logger
	visits     sync.Pool
}

var (
	_ plugin.RequestFilter  = (*filter)(nil)
	_ plugin.ResponseFilter = (*filter)(nil)
)

// visit is what one exchange is worth to the filter. It is pooled: calls to limiters would
// move its parts to the heap.
type visit struct {
	x        *plugin.Exchange
	context  func() context.Context
	decision plugin.Decision
	who      string
	left     []left  // of each window
	spent    []int64 // of each limit
}

// left is how much of a window there is; it is not known when its counter is away.
type left struct {
	n     float64
	known bool
}

func newVisit(windows, limits int) *visit {
	v := &visit{left: make([]left, windows), spent: make([]int64, limits)}
	v.context = func() context.Context { return v.x.Context() }
	return v
}

// OnRequest reads what is left and tells the upstream.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	v := f.visits.Get().(*visit)
	v.x, v.who = x, f.identifier(x)
	clear(v.left)
	clear(v.spent)
	x.Put(f, v)
	for i := range f.limits {
		l := &f.limits[i]
		least, known := 0.0, false
		for k := range l.windows {
			w := &l.windows[k]
			if err := f.take(v, w, 0); err != nil {
				f.log.Error("read limit", "plugin", "response-ratelimiting", "limit", l.name, "error", err)
				return plugin.Deny(http.StatusInternalServerError, "").Because("limits-unreachable")
			}
			n := v.left[w.index]
			if !n.known {
				continue
			}
			if f.block && n.n == 0 {
				return l.blocked
			}
			if !known || n.n < least {
				least, known = n.n, true
			}
		}
		if known {
			x.Request.Header.Set(l.header, counting.Number(x, least))
		} else {
			x.Request.Header.Del(l.header) // what the client says of it is not so
		}
	}
	return plugin.Next
}

// take asks for n of a window and notes what is left of it.
func (f *filter) take(v *visit, w *window, n int64) error {
	v.decision = plugin.Decision{}
	err := w.limiter.Take(v.context, v.who, n, &v.decision)
	v.left[w.index] = left{max(0, float64(v.decision.Remaining[0])-w.Excess), err == nil && v.decision.Counted}
	return err
}

// OnResponse counts what the upstream says was spent. When there was nothing left of it, the
// client gets 429 in place of the answer.
func (f *filter) OnResponse(x *plugin.Exchange) {
	v, _ := x.Value(f).(*visit)
	if v == nil {
		return
	}
	x.Put(f, nil)
	stop := false
	if x.Response.Source == plugin.FromUpstream {
		f.read(x.Response.Header.Get(f.header), v.spent)
		stop = f.exhausted(v) || !f.charge(v)
	}
	if !f.silent {
		f.tell(x, v)
	}
	x.Response.Header.Del(f.header)
	if stop {
		refuse(x)
	}
	v.x, v.who = nil, ""
	f.visits.Put(v)
}

// exhausted tells whether a limit is spent of which nothing was left before.
func (f *filter) exhausted(v *visit) bool {
	for i := range f.limits {
		if v.spent[i] <= 0 {
			continue
		}
		for _, w := range f.limits[i].windows {
			if n := v.left[w.index]; n.known && n.n <= 0 {
				return true
			}
		}
	}
	return false
}

// charge counts, and tells whether there was something left of every window: another
// exchange may have taken the last since. What is above the rest takes the rest: a request
// that has begun may spend more than there is, as in Kong.
func (f *filter) charge(v *visit) (some bool) {
	some = true
	for i := range f.limits {
		if v.spent[i] <= 0 {
			continue
		}
		l := &f.limits[i]
		for k := range l.windows {
			w := &l.windows[k]
			err := f.take(v, w, v.spent[i])
			if rest := v.decision.Remaining[0]; err == nil && v.decision.Counted && !v.decision.Allowed {
				if some = some && rest > 0; rest > 0 {
					err = f.take(v, w, rest)
				}
			}
			if err != nil {
				f.log.Error("count limit", "plugin", "response-ratelimiting", "limit", l.name, "error", err)
			}
		}
	}
	return some
}

func (f *filter) tell(x *plugin.Exchange, v *visit) {
	for i := range f.limits {
		l := &f.limits[i]
		for k := range l.windows {
			w := &l.windows[k]
			if n := v.left[w.index]; n.known {
				x.Response.Header.Set(w.limitHeader, w.Text)
				x.Response.Header.Set(w.remainHeader, counting.Number(x, n.n))
			}
		}
	}
}

// refuse makes the answer 429 without a body.
func refuse(x *plugin.Exchange) {
	x.Response.Status = http.StatusTooManyRequests
	x.Response.Header.Set("Content-Length", "0")
	x.Response.Rewrite(func([]byte) []byte { return nil })
	x.Reason = "limit-spent"
}
