package schema

import (
	"fmt"
	"net/url"
	"strings"
)

// periods of the rate-limiting plugins, shortest first.
var periods = []string{"second", "minute", "hour", "day", "month", "year"}

// minSyncRate is the shortest interval, in seconds, that Kong 3.9.1 takes.
const minSyncRate = 0.02

// checkRateLimits holds the limits of a rate-limiting config against each other.
func checkRateLimits(b Body) string {
	for i, shorter := range periods {
		low, ok := b[shorter].(float64)
		if !ok {
			continue
		}
		for _, longer := range periods[i+1:] {
			if high, ok := b[longer].(float64); ok && high < low {
				return fmt.Sprintf("The limit for %s(%.1f) cannot be lower than the limit for %s(%.1f)",
					longer, high, shorter, low)
			}
		}
	}
	rate, ok := b["sync_rate"].(float64)
	switch {
	case !ok || rate == -1:
		return ""
	case b["policy"] != "redis":
		return "sync_rate can only be used with the redis policy"
	case rate < minSyncRate:
		return "sync_rate must be greater than 0.02, or -1 to disable"
	}
	return ""
}

// checkHTTPLog refuses two authorizations for one endpoint.
func checkHTTPLog(b Body) string {
	headers, _ := b["headers"].(Body)
	endpoint, _ := b["http_endpoint"].(string)
	for name := range headers {
		if !strings.EqualFold(name, "authorization") {
			continue
		}
		if u, err := url.Parse(endpoint); err == nil && u.User != nil {
			return "specifying both an 'Authorization' header and user info in 'http_endpoint' is not allowed"
		}
	}
	return ""
}
