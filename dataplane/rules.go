package dataplane

import (
	"context"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sekifuda/sekifuda/dataplane/telemetry"
	"github.com/sekifuda/sekifuda/plugin"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// rules are the limits that filters asked for, by plugin entity, so that an operator can ask for
// their counts. A configuration that is compiled again names its rules anew.
type rules struct {
	mu sync.Mutex
	of map[string]map[string]rule // by plugin id and rule id
}

// rule is one of the two kinds of limits.
type rule struct {
	counted plugin.Rule
	slots   plugin.SlotRule // when it has an ID
}

// maxRules bounds the rules that are remembered of plugins that are long gone.
const maxRules = 10_000

func (r *rules) note(pluginID string, counted plugin.Rule) {
	r.keep(pluginID, counted.ID, rule{counted: counted})
}

func (r *rules) noteSlots(pluginID string, slots plugin.SlotRule) {
	r.keep(pluginID, slots.ID, rule{slots: slots})
}

func (r *rules) keep(pluginID, id string, one rule) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil || len(r.of) > maxRules {
		r.of = map[string]map[string]rule{}
	}
	if r.of[pluginID] == nil {
		r.of[pluginID] = map[string]rule{}
	}
	r.of[pluginID][id] = one
}

// each calls do for the rules of a plugin, or of all.
func (r *rules) each(pluginID string, do func(pluginID string, r rule)) {
	r.mu.Lock()
	type one struct {
		id   string
		rule rule
	}
	var all []one
	for id, rules := range r.of {
		if pluginID != "" && id != pluginID {
			continue
		}
		for _, rule := range rules {
			all = append(all, one{id, rule})
		}
	}
	r.mu.Unlock()
	for _, o := range all {
		do(o.id, o.rule)
	}
}

// limitUse answers an order about limits. What cannot be found out is said beside what can.
func (d *DataPlane) limitUse(ctx context.Context, o *feedv1.LimitOrder) *feedv1.Answer {
	a := &feedv1.Answer{Known: true}
	d.rules.each(o.GetPluginId(), func(id string, r rule) {
		if r.slots.ID != "" {
			d.slotUse(ctx, o, a, id, r.slots)
			return
		}
		rule := r.counted
		if o.GetReset_() && o.GetIdentifier() != "" {
			if err := d.limits.Reset(ctx, rule, o.GetIdentifier(), o.GetOrder()); err != nil {
				a.Error = err.Error()
			}
		}
		uses, err := d.limits.Usage(ctx, rule, o.GetIdentifier(), int(o.GetMost()))
		if err != nil {
			a.Error = err.Error()
		}
		for _, u := range uses {
			a.Limits = append(a.Limits, &feedv1.LimitUse{
				PluginId: id, Rule: u.Rule, Identifier: u.Identifier, Period: u.Period.String(), Limit: u.Limit, Used: u.Used, Shared: u.Shared,
			})
		}
	})
	return a
}

// running stands in the place of a period for what runs at once.
const running = "running"

// slotUse adds what a rule's slots are used for. They cannot be set back: what runs, runs.
func (d *DataPlane) slotUse(ctx context.Context, o *feedv1.LimitOrder, a *feedv1.Answer, pluginID string, r plugin.SlotRule) {
	uses, err := d.limits.SlotUsage(ctx, r, o.GetIdentifier(), int(o.GetMost()))
	if err != nil {
		a.Error = err.Error()
	}
	for _, u := range uses {
		a.Limits = append(a.Limits, &feedv1.LimitUse{
			PluginId: pluginID, Rule: u.Rule, Identifier: u.Identifier, Period: running, Limit: u.Limit, Used: u.Used, Shared: u.Shared,
		})
	}
}

// refused answers why requests were refused here.
func (d *DataPlane) refused(q *feedv1.RefusalQuery) *feedv1.Answer {
	var all []telemetry.Refusal
	if q.GetRequestId() == "" {
		all = d.refusals.Newest(int(q.GetNewest()))
	} else if r, ok := d.refusals.Find(q.GetRequestId()); ok {
		all = []telemetry.Refusal{r}
	}
	a := &feedv1.Answer{Known: len(all) > 0}
	for _, r := range all {
		a.Refusals = append(a.Refusals, &feedv1.RefusedRequest{
			RequestId: r.RequestID, At: timestamppb.New(r.At.Truncate(time.Microsecond)), Status: uint32(r.Status), Reason: r.Reason,
			Plugin: r.Plugin, PluginId: r.PluginID, Route: r.Route, Service: r.Service, Consumer: r.Consumer, Client: r.Client,
			Method: r.Method, Host: r.Host, Path: r.Path, Revision: r.Revision, Detail: r.Detail,
		})
	}
	return a
}
