package controlplane

import (
	"cmp"
	"context"
	"slices"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// List implements grpcapi.Nodes.
func (h asked) List(ctx context.Context) []*controlv1.Node {
	ctx, cancel := context.WithTimeout(ctx, askAtMost)
	defer cancel()
	return h.replicas.Nodes(ctx)
}

// Limits implements grpcapi.Nodes: what is counted, joined over the nodes. Counts that each node
// keeps for itself add up; shared ones are the same everywhere.
func (h asked) Limits(ctx context.Context, o *feedv1.LimitOrder) (uses []*feedv1.LimitUse, errors []string) {
	type slot struct{ plugin, rule, identifier, period string }
	joined := map[slot]*feedv1.LimitUse{}
	for _, a := range h.ask(ctx, &feedv1.Question{Ask: &feedv1.Question_Limits{Limits: o}}) {
		if a.GetError() != "" && !slices.Contains(errors, a.GetError()) {
			errors = append(errors, a.GetError())
		}
		for _, u := range a.GetLimits() {
			at := slot{u.GetPluginId(), u.GetRule(), u.GetIdentifier(), u.GetPeriod()}
			switch have := joined[at]; {
			case have == nil:
				joined[at] = u
				uses = append(uses, u)
			case u.GetShared():
				have.Used = max(have.GetUsed(), u.GetUsed())
			default:
				have.Used += u.GetUsed()
			}
		}
	}
	return uses, errors
}

// Refusals implements grpcapi.Nodes: the newest first.
func (h asked) Refusals(ctx context.Context, q *feedv1.RefusalQuery) (all []*controlv1.Refused) {
	ctx, cancel := context.WithTimeout(ctx, askAtMost)
	defer cancel()
	for node, a := range h.replicas.Ask(ctx, &feedv1.Question{Ask: &feedv1.Question_Refusals{Refusals: q}}) {
		for _, r := range a.GetRefusals() {
			all = append(all, &controlv1.Refused{Node: node, Request: r})
		}
	}
	slices.SortFunc(all, func(a, b *controlv1.Refused) int {
		return cmp.Or(b.GetRequest().GetAt().AsTime().Compare(a.GetRequest().GetAt().AsTime()), cmp.Compare(a.GetNode(), b.GetNode()))
	})
	if n := int(q.GetNewest()); q.GetRequestId() == "" && len(all) > n {
		all = all[:n]
	}
	return all
}
