package limits

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// local is a rule counted in this process.
type local struct {
	table *table
	clock func() time.Time
	rule  plugin.Rule
}

var _ plugin.Limiter = (*local)(nil)

// Take implements plugin.Limiter. It never waits.
func (l *local) Take(_ func() context.Context, identifier string, n int64, d *plugin.Decision) error {
	if n < 0 {
		return fmt.Errorf("take %d of rule %s: not a number of requests", n, l.rule.ID)
	}
	d.Now, d.Counted, d.Mode = l.clock(), true, "local"
	l.table.take(l.rule.Windows, key{l.rule.ID, shorten(identifier)}, n, d)
	return nil
}

// Reserve implements plugin.Limiter.
func (l *local) Reserve(ctx func() context.Context, identifier string, n int64, d *plugin.Decision) (plugin.Reservation, error) {
	if n < 1 {
		return nil, fmt.Errorf("reserve %d of rule %s: not a use", n, l.rule.ID)
	}
	if err := l.Take(ctx, identifier, n, d); err != nil || !d.Allowed {
		return nil, err
	}
	k := key{l.rule.ID, strings.Clone(shorten(identifier))}
	return &reservation{table: l.table, windows: l.rule.Windows, key: k, n: n, at: d.Now}, nil
}

// reservation is what was taken for a use that is not known yet.
type reservation struct {
	table   *table
	windows []plugin.Window
	key     key
	n       int64
	at      time.Time
	settled atomic.Bool
}

// Settle implements plugin.Reservation.
func (r *reservation) Settle(used int64) {
	if !r.settled.Swap(true) {
		r.table.correct(r.windows, r.key, max(0, used)-r.n, r.at)
	}
}
