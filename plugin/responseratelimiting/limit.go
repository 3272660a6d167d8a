package responseratelimiting

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/counting"
)

// limit is one named limit with all of its texts made ready.
type limit struct {
	name    string
	header  string // tells the upstream what is left
	blocked plugin.Verdict
	windows []window
}

// window is a limit in one period.
type window struct {
	counting.Window
	limitHeader, remainHeader string
	limiter                   plugin.Limiter
	index                     int // among all windows of the filter
}

// compile reads the limits, by name.
func compile(c *Config) ([]limit, error) {
	if len(c.GetLimits()) == 0 {
		return nil, errors.New("config.limits: required field missing")
	}
	var all []limit
	for _, name := range slices.Sorted(maps.Keys(c.GetLimits())) {
		l := limit{
			name: name, header: "X-RateLimit-Remaining-" + name,
			blocked: plugin.Deny(http.StatusTooManyRequests, "API rate limit exceeded for '"+name+"'").Because("limit-spent"),
		}
		n := c.GetLimits()[name]
		configured, err := counting.Windows(counting.Limits{n.Second, n.Minute, n.Hour, n.Day, n.Month, n.Year}, "config.limits."+name+".")
		if err != nil {
			return nil, err
		}
		for _, w := range configured {
			l.windows = append(l.windows, window{
				Window: w, limitHeader: "X-RateLimit-Limit-" + name + "-" + w.Name, remainHeader: "X-RateLimit-Remaining-" + name + "-" + w.Name,
			})
		}
		if len(l.windows) == 0 {
			return nil, fmt.Errorf("config.limits.%s: at least one of these fields must be non-empty: "+
				"'second', 'minute', 'hour', 'day', 'month', 'year'", name)
		}
		all = append(all, l)
	}
	return all, nil
}
