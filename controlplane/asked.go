package controlplane

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/replicas"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// askAtMost bounds how long the desk waits for nodes to answer: one that hangs must not hold
// up who asks how the others see it.
const askAtMost = time.Second

// asked asks nodes for what only they know: how targets are, what answers are kept. Nodes judge
// targets for themselves and may differ: what one of them reaches is taken to work.
type asked struct{ replicas *replicas.Replicas }

func (h asked) ask(ctx context.Context, q *feedv1.Question) []*feedv1.Answer {
	ctx, cancel := context.WithTimeout(ctx, askAtMost)
	defer cancel()
	answers := h.replicas.Ask(ctx, q)
	var known []*feedv1.Answer
	for _, node := range slices.Sorted(maps.Keys(answers)) {
		if a := answers[node]; a.GetKnown() {
			known = append(known, a)
		}
	}
	return known
}

// Upstream implements adminapi.Health.
func (h asked) Upstream(ctx context.Context, id string) *feedv1.UpstreamHealth {
	return joined(h.ask(ctx, &feedv1.Question{Ask: &feedv1.Question_TargetsOf{TargetsOf: id}}))
}

// Set implements adminapi.Health.
func (h asked) Set(ctx context.Context, o *feedv1.HealthOrder) *feedv1.UpstreamHealth {
	return joined(h.ask(ctx, &feedv1.Question{Ask: &feedv1.Question_SetHealth{SetHealth: o}}))
}

// Cached implements adminapi.Cache.
func (h asked) Cached(ctx context.Context, key string) []byte {
	for _, a := range h.ask(ctx, cacheOrder(feedv1.CacheOrder_WHAT_LOOK, key)) {
		return a.GetCached()
	}
	return nil
}

// Purge implements adminapi.Cache.
func (h asked) Purge(ctx context.Context, key string) bool {
	return len(h.ask(ctx, cacheOrder(feedv1.CacheOrder_WHAT_PURGE, key))) > 0
}

// Flush implements adminapi.Cache.
func (h asked) Flush(ctx context.Context) { h.ask(ctx, cacheOrder(feedv1.CacheOrder_WHAT_FLUSH, "")) }

func (h asked) logLevel(ctx context.Context, level string, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, askAtMost)
	defer cancel()
	return h.replicas.LogLevel(ctx, level, d)
}

func cacheOrder(what feedv1.CacheOrder_What, key string) *feedv1.Question {
	return &feedv1.Question{Ask: &feedv1.Question_Cache{Cache: &feedv1.CacheOrder{What: what, Key: key}}}
}

// joined is what nodes see together; nil when none knows.
func joined(answers []*feedv1.Answer) *feedv1.UpstreamHealth {
	if len(answers) == 0 {
		return nil
	}
	all := &feedv1.UpstreamHealth{}
	targets := map[string]*feedv1.TargetHealth{}
	for _, a := range answers {
		all.Checked = all.Checked || a.GetHealth().GetChecked()
		all.Healthy = all.Healthy || a.GetHealth().GetHealthy()
		for _, t := range a.GetHealth().GetTargets() {
			if have := targets[t.GetId()]; have != nil {
				joinTarget(have, t)
				continue
			}
			targets[t.GetId()] = t
			all.Targets = append(all.Targets, t)
		}
	}
	return all
}

// joinTarget adds what another node sees of a target. Names may lead each node elsewhere.
func joinTarget(have, more *feedv1.TargetHealth) {
	if len(have.GetAddresses()) == 0 {
		have.Record = more.GetRecord()
	}
	for _, a := range more.GetAddresses() {
		i := slices.IndexFunc(have.Addresses, func(b *feedv1.AddressHealth) bool {
			return a.GetIp() == b.GetIp() && a.GetPort() == b.GetPort()
		})
		if i < 0 {
			have.Addresses = append(have.Addresses, a)
		} else {
			have.Addresses[i].Up = have.Addresses[i].Up || a.GetUp()
		}
	}
}
