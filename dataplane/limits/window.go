package limits

import (
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

const periods = int(plugin.Year) + 1

// index numbers the calendar windows of a period in UTC: two times are in one window when
// their indexes are equal. It fits 32 bits until 2106.
func index(p plugin.Period, now time.Time) uint32 {
	s := now.Unix()
	switch p {
	case plugin.Second:
		return uint32(s)
	case plugin.Minute:
		return uint32(s / 60)
	case plugin.Hour:
		return uint32(s / 3600)
	case plugin.Day:
		return uint32(s / 86400)
	}
	year, month, _ := now.UTC().Date()
	if p == plugin.Month {
		return uint32(year*12 + int(month) - 1)
	}
	return uint32(year)
}
