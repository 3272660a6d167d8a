package limits

import (
	"context"
	"fmt"
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
