package ratelimiting

import (
	"errors"

	"github.com/sekifuda/sekifuda/plugin/counting"
)

// window is one configured limit with all of its texts made ready.
type window struct {
	counting.Window
	limitHeader    string
	remainHeader   string
	reasonExceeded string
}

// compile reads the limits, shortest window first.
func compile(c *Config) ([]window, error) {
	configured, err := counting.Windows(counting.Limits{c.Second, c.Minute, c.Hour, c.Day, c.Month, c.Year}, "config.")
	if err != nil {
		return nil, err
	}
	if len(configured) == 0 {
		return nil, errors.New("at least one of these fields must be non-empty: 'config.second', 'config.minute', " +
			"'config.hour', 'config.day', 'config.month', 'config.year'")
	}
	all := make([]window, len(configured))
	for i, w := range configured {
		all[i] = window{
			Window: w, reasonExceeded: "over-" + w.Name,
			limitHeader: "X-RateLimit-Limit-" + w.Title, remainHeader: "X-RateLimit-Remaining-" + w.Title,
		}
	}
	return all, nil
}
