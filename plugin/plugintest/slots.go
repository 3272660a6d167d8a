package plugintest

import (
	"context"

	"github.com/sekifuda/sekifuda/plugin"
)

// Slots returns the slots of a rule, which nobody waits for.
func (c *Counters) Slots(r plugin.SlotRule) plugin.Slots {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slotRules = append(c.slotRules, r)
	return &slots{c, r}
}

// SlotRules returns the rules of slots that were asked for, in order.
func (c *Counters) SlotRules() []plugin.SlotRule {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]plugin.SlotRule(nil), c.slotRules...)
}

// Running returns how many slots of an identifier are taken.
func (c *Counters) Running(rule, identifier string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running[taken{rule, identifier}]
}

type taken struct{ rule, identifier string }

type slots struct {
	c    *Counters
	rule plugin.SlotRule
}

// Acquire implements plugin.Slots.
func (s *slots) Acquire(_ func() context.Context, identifier string, d *plugin.SlotDecision) (plugin.Slot, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	*d = plugin.SlotDecision{Allowed: true, Counted: true, Mode: "local"}
	if s.c.fail != nil {
		d.Counted, d.Allowed = false, s.rule.Outage != plugin.Closed
		if !d.Allowed {
			return nil, s.c.fail
		}
	}
	k := taken{s.rule.ID, identifier}
	if d.Counted && s.c.running[k] >= s.rule.Limit {
		d.Allowed = false
		return nil, nil
	}
	s.c.running[k]++
	d.Left = max(0, s.rule.Limit-s.c.running[k])
	return &aSlot{s.c, k}, nil
}

type aSlot struct {
	c *Counters
	k taken
}

// Release implements plugin.Slot.
func (s *aSlot) Release() {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.c.running[s.k]--
}
