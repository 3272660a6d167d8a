package counting

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// Window is a limit in a period as it was configured.
type Window struct {
	plugin.Window
	Name  string // of the period: "minute"
	Title string // "Minute"
	Text  string // the limit as headers show it
	// Excess is by how much the counted limit is above a configured fraction.
	Excess float64
}

var titles = [...]string{"Second", "Minute", "Hour", "Day", "Month", "Year"}

var names = [...]string{"second", "minute", "hour", "day", "month", "year"}

// Limits are the configured limits of the periods from the second to the year; nil: none.
type Limits [len(names)]*float64

// Windows reads limits, shortest window first; where is what their fields stand in
// ("config."). That a longer window allows no less than a shorter one is the schema's to check.
func Windows(limits Limits, where string) ([]Window, error) {
	var all []Window
	for i, limit := range limits {
		if limit == nil {
			continue
		}
		if !(*limit > 0) || *limit > 1<<53 {
			return nil, fmt.Errorf("%s%s: value must be greater than 0 and at most 2^53", where, names[i])
		}
		// A fractional limit lets through what the next integer does: the last request may
		// start while anything is left.
		whole := math.Ceil(*limit)
		all = append(all, Window{
			Window: plugin.Window{Period: plugin.Period(i), Limit: int64(whole)},
			Name:   names[i], Title: titles[i],
			Text: strconv.FormatFloat(*limit, 'f', -1, 64), Excess: whole - *limit,
		})
	}
	return all, nil
}

// lengths are those of the periods in seconds, as Kong counts them: a month has 30 days, a year 365.
var lengths = [len(names)]int64{1, 60, 3600, 86400, 2592000, 31536000}

// Reset is the time to the end of the window in whole seconds, at least one. Kong gives every
// month and year the same length, so it may end a little off the calendar.
func (w *Window) Reset(now time.Time) int64 {
	return max(1, lengths[w.Period]-elapsed(w.Period, now.UTC()))
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
