package limits

import (
	"context"
	"fmt"

	"github.com/sekifuda/sekifuda/plugin"
)

// local is a rule counted in this process.
type local struct {
	limits *Limits
	table  *table
	rule   plugin.Rule
}

var _ plugin.Limiter = (*local)(nil)

// Take implements plugin.Limiter. It never waits.
func (l *local) Take(_ func() context.Context, identifier string, n int64, d *plugin.Decision) error {
	if n < 0 {
		return fmt.Errorf("take %d of rule %s: not a number of requests", n, l.rule.ID)
	}
	d.Now, d.Counted = l.limits.clock(), true
	if !l.table.take(l.rule.Windows, identifier, n, d) {
		// The table was let go while it was empty: its successor counts.
		for !l.limits.table(l.rule.ID).take(l.rule.Windows, identifier, n, d) {
		}
	}
	return nil
}
