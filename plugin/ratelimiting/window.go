package ratelimiting

import (
	"errors"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/counting"
)

// window is one configured limit with all of its texts made ready.
type window struct {
	counting.Window
	limitHeader    string
	remainHeader   string
	seconds        int64 // length as Kong counts it: a month has 30 days, a year 365
	reasonExceeded string
}

var lengths = [...]int64{
	plugin.Second: 1, plugin.Minute: 60, plugin.Hour: 3600,
	plugin.Day: 86400, plugin.Month: 2592000, plugin.Year: 31536000,
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
			Window: w, seconds: lengths[w.Period], reasonExceeded: "over-" + w.Name,
			limitHeader: "X-RateLimit-Limit-" + w.Title, remainHeader: "X-RateLimit-Remaining-" + w.Title,
		}
	}
	return all, nil
}

// reset is the time to the end of the window in whole seconds, at least one. Kong gives
// every month and year the same length, so it may end a little off the calendar.
func (w *window) reset(now time.Time) int64 {
	return max(1, w.seconds-elapsed(w.Period, now.UTC()))
}

func elapsed(p plugin.Period, now time.Time) int64 {
	day := int64(now.Hour())*3600 + int64(now.Minute())*60 + int64(now.Second())
	switch p {
	case plugin.Second:
		return 0
	case plugin.Minute:
		return int64(now.Second())
	case plugin.Hour:
		return day % 3600
	case plugin.Day:
		return day
	case plugin.Month:
		return int64(now.Day()-1)*86400 + day
	default:
		return int64(now.YearDay()-1)*86400 + day
	}
}
