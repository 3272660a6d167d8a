package limits

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/sekifuda/sekifuda/plugin"
)

// Use is what an identifier used of one window of a rule.
type Use struct {
	Rule, Identifier string
	Period           plugin.Period
	Limit, Used      int64
	Shared           bool // counted for all gates, not by this one alone
}

// SlotUse is how many slots of a rule an identifier has taken.
type SlotUse struct {
	Rule, Identifier string
	Limit, Used      int64
	Shared           bool
}

// SlotUsage tells how many slots an identifier has taken; without one, those that run something
// here, the most first, at most so many.
func (l *Limits) SlotUsage(ctx context.Context, r plugin.SlotRule, identifier string, most int) (all []SlotUse, err error) {
	p := l.placesOf(r.Redis)
	running := p.running(r.ID)
	if identifier != "" {
		identifier = shorten(identifier)
		running = map[string]int64{identifier: running[identifier]}
	}
	for id, used := range running {
		all = append(all, SlotUse{r.ID, id, r.Limit, used, p.store != nil})
	}
	slices.SortFunc(all, func(a, b SlotUse) int {
		return cmp.Or(cmp.Compare(b.Used, a.Used), cmp.Compare(a.Identifier, b.Identifier))
	})
	if identifier == "" {
		all = all[:min(most, len(all))]
	}
	for i := range all {
		if p.store == nil {
			continue
		}
		if all[i].Used, err = p.store.SlotsUsed(ctx, r.ID, all[i].Identifier); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// running is how many of each identifier of a rule run here.
func (p *places) running(rule string) map[string]int64 {
	all := map[string]int64{}
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.RLock()
		for k, one := range s.of {
			if k.rule == rule {
				all[k.identifier] = one.Running()
			}
		}
		s.mu.RUnlock()
	}
	return all
}

// Usage tells what an identifier used of a rule in the windows of now; without one, what those
// used that this gate knows, the most first, of at most so many identifiers.
func (l *Limits) Usage(ctx context.Context, r plugin.Rule, identifier string, most int) ([]Use, error) {
	if identifier != "" {
		return l.usageOf(ctx, r, shorten(identifier))
	}
	var all [][]Use
	for _, id := range l.identifiers(r, most) {
		uses, err := l.usageOf(ctx, r, id)
		if err != nil {
			return nil, err
		}
		all = append(all, uses)
	}
	slices.SortStableFunc(all, func(a, b []Use) int { return cmp.Compare(share(b), share(a)) })
	return slices.Concat(all[:min(most, len(all))]...), nil
}

// share is the largest part of a window that is used.
func share(uses []Use) (most float64) {
	for _, u := range uses {
		most = max(most, float64(u.Used)/float64(max(1, u.Limit)))
	}
	return most
}

func (l *Limits) usageOf(ctx context.Context, r plugin.Rule, identifier string) ([]Use, error) {
	s := l.storeOf(r.Redis)
	var used [periods]int64
	if s == nil {
		used = l.table.usage(key{r.ID, identifier}, l.clock())
	} else {
		var err error
		if used, err = s.Usage(ctx, r.ID, identifier); err != nil {
			return nil, err
		}
	}
	uses := make([]Use, len(r.Windows))
	for i, w := range r.Windows {
		uses[i] = Use{Rule: r.ID, Identifier: identifier, Period: w.Period, Limit: w.Limit, Used: used[w.Period], Shared: s != nil}
	}
	return uses, nil
}

// identifiers are those that this gate knows of a rule.
func (l *Limits) identifiers(r plugin.Rule, most int) []string {
	if s := l.storeOf(r.Redis); s != nil {
		return s.Identifiers(r.ID, most)
	}
	return l.table.identifiers(r.ID, most)
}

// Reset sets an identifier's windows of now back: nothing counts as used. What gates share is set
// back once for each order, however many gates are told.
func (l *Limits) Reset(ctx context.Context, r plugin.Rule, identifier, order string) error {
	identifier = shorten(identifier)
	s := l.storeOf(r.Redis)
	if s == nil {
		l.table.reset(key{r.ID, identifier})
		return nil
	}
	if _, err := s.Reset(ctx, r.ID, identifier, order); err != nil {
		return fmt.Errorf("reset: %w", err)
	}
	return nil
}
