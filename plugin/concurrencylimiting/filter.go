package concurrencylimiting

import (
	"context"
	"net/http"
	"sync"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/counting"
)

// statusGone is nginx's for a client that went away before it was answered.
const statusGone = 499

// ask is what one call for a slot needs. It is pooled because its parts would be moved to the
// heap by the call.
type ask struct {
	x        *plugin.Exchange
	context  func() context.Context
	decision plugin.SlotDecision
}

var asks = sync.Pool{New: func() any {
	a := &ask{}
	a.context = func() context.Context { return a.x.Context() }
	return a
}}

// OnRequest takes a slot, which the request keeps to the end of its answer.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	a := asks.Get().(*ask)
	a.x = x
	v := f.decide(x, a)
	a.x = nil
	asks.Put(a)
	return v
}

func (f *filter) decide(x *plugin.Exchange, a *ask) plugin.Verdict {
	d := &a.decision
	slot, err := f.slots.Acquire(a.context, f.identifier(x), d)
	switch {
	case err == nil:
	case x.Context().Err() != nil:
		return plugin.Deny(statusGone, "").Because("client-gone")
	default:
		f.log.Error("take slot", "plugin", "concurrency-limiting", "error", err)
		return plugin.Deny(http.StatusInternalServerError, "").Because("limits-unreachable")
	}
	if f.open && counting.AsksMode(x) {
		x.Early.Set("Sekifuda-Limit-Mode", d.Mode)
	}
	if d.Counted && !f.silent {
		x.Early.Set("X-ConcurrencyLimit-Limit", x.Decimal(f.limit))
		x.Early.Set("X-ConcurrencyLimit-Remaining", x.Decimal(d.Left))
	}
	if slot != nil {
		x.Put(f, slot)
		return plugin.Next
	}
	if !f.silent {
		x.Early.Set("Retry-After", "1")
	}
	if d.Waited {
		return plugin.Deny(f.status, f.message).Because("waited-too-long")
	}
	return plugin.Deny(f.status, f.message).Because("too-many-at-once")
}

// OnLog gives the slot back, once the last byte of the answer was sent or the client went away.
func (f *filter) OnLog(x *plugin.Exchange) {
	if slot, ok := x.Value(f).(plugin.Slot); ok {
		x.Put(f, nil)
		slot.Release()
	}
}
