package lease

// SlotAuthority is where slots are kept, as plain Go: what slots.lua does in Redis. The zero
// value is empty. It is not safe for concurrent use.
type SlotAuthority struct {
	keys map[string]map[string]slotHolder
}

type slotHolder struct{ have, seq, heard int64 }

// Serve answers q at time now, in microseconds. What runs counts in any case, as it cannot be
// stopped; what of it is above the limit is no slot in which something else may start.
func (a *SlotAuthority) Serve(now int64, q *SlotAsk) SlotAnswer {
	if a.keys == nil {
		a.keys = map[string]map[string]slotHolder{}
	}
	holders := a.keys[q.Key]
	if holders == nil {
		holders = map[string]slotHolder{}
		a.keys[q.Key] = holders
	}
	if h := holders[q.Holder]; h.seq > q.Seq {
		return SlotAnswer{Seq: q.Seq, Status: Stale, Now: now}
	}
	var others int64
	for name, h := range holders {
		switch {
		case name == q.Holder:
		case now-h.heard > SlotLife.Microseconds():
			delete(holders, name)
		default:
			others += h.have
		}
	}
	have := max(0, min(q.Want, q.Limit-others))
	taken := max(have, q.Running)
	holders[q.Holder] = slotHolder{taken, q.Seq, now}
	return SlotAnswer{Seq: q.Seq, Now: now, Have: have, Left: max(0, q.Limit-others-taken)}
}
