package proxycache

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// directives are what Cache-Control says. A time that is not said is negative.
type directives struct {
	noStore, noCache, private, onlyIfCached  bool
	said                                     bool
	maxAge, sharedMaxAge, maxStale, minFresh time.Duration
}

func parseDirectives(h *plugin.Header) directives {
	d := directives{maxAge: -1, sharedMaxAge: -1, maxStale: -1, minFresh: -1, said: true}
	for line := range h.Values("Cache-Control") {
		for one := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(one), "=")
			d.set(strings.ToLower(strings.TrimSpace(name)), strings.Trim(strings.TrimSpace(value), `"`))
		}
	}
	return d
}

func (d *directives) set(name, value string) {
	switch name {
	case "no-store":
		d.noStore = true
	case "no-cache":
		d.noCache = true
	case "private":
		d.private = true
	case "only-if-cached":
		d.onlyIfCached = true
	case "max-age":
		d.maxAge = span(value, -1)
	case "s-maxage":
		d.sharedMaxAge = span(value, -1)
	case "max-stale":
		d.maxStale = span(value, math.MaxInt64) // without a value any age will do
	case "min-fresh":
		d.minFresh = span(value, -1)
	}
}

// span reads seconds; other is for what is no number.
func span(value string, other time.Duration) time.Duration {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 {
		return other
	}
	return seconds(n)
}

// accepts tells whether the client takes what is kept. Stale answers are given only to those
// who say that they take them (Kong 3.9.1 gives them to all while it obeys Cache-Control).
func (d *directives) accepts(e *Entry, now time.Time) bool {
	age := now.Sub(e.Stored)
	switch {
	case !d.said:
		return age <= e.TTL
	case d.maxAge >= 0 && age > d.maxAge:
		return false
	case d.minFresh >= 0 && e.TTL-age < d.minFresh:
		return false
	case d.maxStale >= 0:
		return age-e.TTL <= d.maxStale
	}
	return age <= e.TTL
}

// lifetime is how long an answer says that it is fresh.
func (d *directives) lifetime(h *plugin.Header, now time.Time) time.Duration {
	switch {
	case d.sharedMaxAge >= 0:
		return d.sharedMaxAge
	case d.maxAge >= 0:
		return d.maxAge
	}
	last := ""
	for v := range h.Values("Expires") {
		last = v
	}
	at, err := http.ParseTime(last)
	if err != nil {
		return 0
	}
	return max(0, at.Sub(now))
}
