package limits

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

const (
	// defaultTimeout is Kong's.
	defaultTimeout = 2 * time.Second
	// moves is how often the store's clock may be found in another window: once when a
	// window ends on the way, once more for a clock that was never asked.
	moves = 3
)

// remote is a rule counted in a store that gates share.
type remote struct {
	store   *store
	rule    plugin.Rule
	timeout time.Duration
}

var _ plugin.Limiter = (*remote)(nil)

func newRemote(s *store, r plugin.Rule) *remote {
	timeout := r.Redis.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	return &remote{store: s, rule: r, timeout: timeout}
}

// Take implements plugin.Limiter: one call to the store, or none for who is known to have
// nothing left.
func (r *remote) Take(ctx func() context.Context, identifier string, n int64, d *plugin.Decision) error {
	if n < 0 {
		return fmt.Errorf("take %d of rule %s: not a number of requests", n, r.rule.ID)
	}
	d.Counted = true
	// Rules of one ID share the key, so a refusal holds for all of them.
	var buf [256]byte
	key := appendTag(buf[:0], r.rule.ID, identifier)
	if r.store.spent.refuse(r.rule.Windows, key, n, r.store.now(), d) {
		return nil
	}
	c := charge{key: string(key), n: n}
	if err := r.ask(ctx(), &c); err != nil {
		return r.away(err, d)
	}
	r.decide(&c, d)
	return nil
}

func (r *remote) ask(ctx context.Context, c *charge) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	var err error
	for range moves {
		c.windows = r.spans(c.windows[:0], r.store.now())
		if err = r.store.charge(ctx, c); !errors.Is(err, errMoved) {
			return err
		}
	}
	return err
}

func (r *remote) spans(all []span, now time.Time) []span {
	for _, w := range r.rule.Windows {
		start, end := bounds(w.Period, now)
		all = append(all, span{names[w.Period], w.Limit, start, end})
	}
	return all
}

func (r *remote) decide(c *charge, d *plugin.Decision) {
	d.Allowed, d.Now = c.granted, c.now
	for i, w := range r.rule.Windows {
		left := w.Limit - c.used[i]
		d.Remaining[i] = max(0, left)
		if c.granted {
			d.Remaining[i] -= c.n
		} else if left < c.n {
			d.Stop = i
		}
	}
	if !c.granted {
		r.store.spent.note(r.rule.Windows, c, d.Stop)
	}
}

// away is the answer when the store could not be asked.
func (r *remote) away(err error, d *plugin.Decision) error {
	d.Counted, d.Now = false, r.store.clock()
	if r.rule.FaultTolerant {
		d.Allowed = true
		return nil
	}
	d.Allowed = false
	return fmt.Errorf("count rule %s: %w", r.rule.ID, err)
}
