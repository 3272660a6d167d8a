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
	s := l.storeOf(r)
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
	if s := l.storeOf(r); s != nil {
		return s.Identifiers(r.ID, most)
	}
	return l.table.identifiers(r.ID, most)
}

// Reset sets an identifier's windows of now back: nothing counts as used.
func (l *Limits) Reset(ctx context.Context, r plugin.Rule, identifier string) error {
	identifier = shorten(identifier)
	s := l.storeOf(r)
	if s == nil {
		l.table.reset(key{r.ID, identifier})
		return nil
	}
	if _, err := s.Reset(ctx, r.ID, identifier); err != nil {
		return fmt.Errorf("reset: %w", err)
	}
	return nil
}
