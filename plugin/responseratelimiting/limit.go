package responseratelimiting

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"

	"github.com/sekifuda/sekifuda/plugin"
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
	plugin.Window
	name                      string
	text                      string // the limit as headers show it
	excess                    float64
	limitHeader, remainHeader string
	limiter                   plugin.Limiter
	index                     int // among all windows of the filter
}

var periods = []struct {
	period plugin.Period
	name   string
	limit  func(*Config_Limit) *float64
}{
	{plugin.Second, "second", func(l *Config_Limit) *float64 { return l.Second }},
	{plugin.Minute, "minute", func(l *Config_Limit) *float64 { return l.Minute }},
	{plugin.Hour, "hour", func(l *Config_Limit) *float64 { return l.Hour }},
	{plugin.Day, "day", func(l *Config_Limit) *float64 { return l.Day }},
	{plugin.Month, "month", func(l *Config_Limit) *float64 { return l.Month }},
	{plugin.Year, "year", func(l *Config_Limit) *float64 { return l.Year }},
}

// compile reads the limits, by name. That a longer period allows no less than a shorter one
// is the schema's to check.
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
		for _, p := range periods {
			n := p.limit(c.GetLimits()[name])
			if n == nil {
				continue
			}
			if !(*n > 0) || *n > 1<<53 {
				return nil, fmt.Errorf("config.limits.%s.%s: value must be greater than 0 and at most 2^53", name, p.name)
			}
			// A fractional limit lets through what the next integer does: the last request may
			// start while anything is left.
			whole := math.Ceil(*n)
			l.windows = append(l.windows, window{
				Window: plugin.Window{Period: p.period, Limit: int64(whole)}, name: p.name,
				text: strconv.FormatFloat(*n, 'f', -1, 64), excess: whole - *n,
				limitHeader: "X-RateLimit-Limit-" + name + "-" + p.name, remainHeader: "X-RateLimit-Remaining-" + name + "-" + p.name,
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
