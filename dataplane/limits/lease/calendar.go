package lease

import (
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// Bounds returns the calendar window of UTC that now is in: from start up to, not including,
// end.
func Bounds(p plugin.Period, now time.Time) (start, end time.Time) {
	now = now.UTC()
	switch p {
	case plugin.Month:
		start = time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
		return start, start.AddDate(0, 1, 0)
	case plugin.Year:
		start = time.Date(now.Year(), 1, 1, 0, 0, 0, 0, time.UTC)
		return start, start.AddDate(1, 0, 0)
	}
	length := time.Duration(nominal(p))
	start = now.Truncate(length)
	return start, start.Add(length)
}

// span is Bounds in nanoseconds of Unix time.
func span(p plugin.Period, now int64) (start, end int64) {
	if p < plugin.Month {
		length := nominal(p)
		start = now - now%length
		return start, start + length
	}
	s, e := Bounds(p, time.Unix(0, now))
	return s.UnixNano(), e.UnixNano()
}

var lengths = [MaxWindows]time.Duration{
	time.Second, time.Minute, time.Hour, 24 * time.Hour, 30 * 24 * time.Hour, 365 * 24 * time.Hour,
}

const minute = plugin.Minute

// nominal is about how long a period is.
func nominal(p plugin.Period) int64 { return int64(lengths[p]) }
