package limits

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// defaultTimeout bounds a call when the rule says none: Kong's.
const defaultTimeout = 2 * time.Second

// remote is a rule counted in a store that gates share.
type remote struct {
	store   *store
	rule    plugin.Rule
	timeout time.Duration
}

var _ plugin.Limiter = (*remote)(nil)

func newRemote(s *store, r plugin.Rule) *remote {
	timeout := defaultTimeout
	if r.Redis.Timeout > 0 {
		timeout = r.Redis.Timeout
	}
	return &remote{store: s, rule: r, timeout: timeout}
}

// Take implements plugin.Limiter. A key that is known to have nothing left is refused
// without a call.
func (r *remote) Take(ctx func() context.Context, identifier string, n int64, d *plugin.Decision) error {
	if n < 0 {
		return fmt.Errorf("take %d of rule %s: not a number of requests", n, r.rule.ID)
	}
	c := charge{key: tagOf(r.rule.ID, identifier), n: n}
	d.Now, d.Counted = r.store.now(), true
	if r.store.spent.refuse(r.rule.Windows, c.key, n, d.Now, d) {
		return nil
	}
	err := r.ask(ctx, &c)
	if err != nil {
		if r.rule.FaultTolerant {
			*d = plugin.Decision{Allowed: true, Now: d.Now}
			return nil
		}
		return err
	}
	r.decide(&c, d)
	return nil
}

// ask charges. A store whose clock is in another window than ours is asked once more, by its
// own clock.
func (r *remote) ask(ctx func() context.Context, c *charge) error {
	bound, cancel := context.WithTimeout(ctx(), r.timeout)
	defer cancel()
	c.windows = r.spans(r.store.now())
	err := r.store.charge(bound, c)
	if errors.Is(err, errMoved) {
		c.windows = r.spans(c.now)
		err = r.store.charge(bound, c)
	}
	return err
}

func (r *remote) spans(now time.Time) []span {
	list := make([]span, len(r.rule.Windows))
	for i, w := range r.rule.Windows {
		start, end := bounds(w.Period, now)
		list[i] = span{name: names[w.Period], limit: w.Limit, start: start, end: end}
	}
	return list
}

// decide words the answer. Of several windows that refuse, the longest is told.
func (r *remote) decide(c *charge, d *plugin.Decision) {
	d.Allowed, d.Now = c.granted, c.now
	for i, w := range r.rule.Windows {
		left := w.Limit - c.used[i]
		if c.granted {
			left -= c.n
		} else if left < c.n {
			d.Stop = i
		}
		d.Remaining[i] = max(0, left)
	}
	if !c.granted {
		r.store.spent.note(r.rule.Windows, c, d.Stop)
	}
}
