package ratelimiting

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// window is one configured limit with all of its texts made ready.
type window struct {
	plugin.Window
	name           string
	text           string // the limit as headers show it
	excess         float64
	limitHeader    string
	remainHeader   string
	seconds        int64 // length as Kong counts it: a month has 30 days, a year 365
	reasonExceeded string
}

var periods = []struct {
	period  plugin.Period
	name    string
	title   string
	seconds int64
	limit   func(*Config) *float64
}{
	{plugin.Second, "second", "Second", 1, func(c *Config) *float64 { return c.Second }},
	{plugin.Minute, "minute", "Minute", 60, func(c *Config) *float64 { return c.Minute }},
	{plugin.Hour, "hour", "Hour", 3600, func(c *Config) *float64 { return c.Hour }},
	{plugin.Day, "day", "Day", 86400, func(c *Config) *float64 { return c.Day }},
	{plugin.Month, "month", "Month", 2592000, func(c *Config) *float64 { return c.Month }},
	{plugin.Year, "year", "Year", 31536000, func(c *Config) *float64 { return c.Year }},
}

// compile reads the limits, shortest window first. That a longer window allows no less than
// a shorter one is the schema's to check.
func compile(c *Config) ([]window, error) {
	var all []window
	for _, p := range periods {
		limit := p.limit(c)
		if limit == nil {
			continue
		}
		if !(*limit > 0) || *limit > 1<<53 {
			return nil, fmt.Errorf("config.%s: value must be greater than 0 and at most 2^53", p.name)
		}
		// A fractional limit lets through what the next integer does: the last request may
		// start while anything is left.
		whole := math.Ceil(*limit)
		all = append(all, window{
			Window:         plugin.Window{Period: p.period, Limit: int64(whole)},
			name:           p.name,
			text:           strconv.FormatFloat(*limit, 'f', -1, 64),
			excess:         whole - *limit,
			limitHeader:    "X-RateLimit-Limit-" + p.title,
			remainHeader:   "X-RateLimit-Remaining-" + p.title,
			seconds:        p.seconds,
			reasonExceeded: "over-" + p.name,
		})
	}
	if len(all) == 0 {
		return nil, errors.New("at least one of these fields must be non-empty: 'config.second', 'config.minute', " +
			"'config.hour', 'config.day', 'config.month', 'config.year'")
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
