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
	if msg := checkPeriods(b, "The limit"); msg != "" {
		return msg
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

// checkPeriods refuses a longer period that allows less than a shorter one.
func checkPeriods(b Body, subject string) string {
	for i, shorter := range periods {
		low, ok := b[shorter].(float64)
		if !ok {
			continue
		}
		for _, longer := range periods[i+1:] {
			if high, ok := b[longer].(float64); ok && high < low {
				return fmt.Sprintf("%s for %s(%.1f) cannot be lower than the limit for %s(%.1f)",
					subject, longer, high, shorter, low)
			}
		}
	}
	return ""
}

// checkResponseLimits holds the periods of one limit of response-ratelimiting against each
// other, in the words of that plugin.
func checkResponseLimits(b Body) string { return checkPeriods(b, "the limit") }

// checkTermination refuses a request-termination config that says two bodies, or none.
func checkTermination(b Body) string {
	message, contentType, body := b["message"] != nil, b["content_type"] != nil, b["body"] != nil
	switch {
	case message && (contentType || body):
		return "message cannot be used with content_type or body"
	case contentType && !body:
		return "content_type requires a body"
	case b["echo"] == true && (contentType || body):
		return "echo cannot be used with content_type and body"
	}
	return ""
}

// checkModelStatistics refuses statistics that a model's answers do not bring.
func checkModelStatistics(b Body) string {
	asked, _ := b["logging"].(Body)
	m, _ := b["model"].(Body)
	if asked["log_statistics"] == true && m["provider"] == "anthropic" && b["route_type"] == "llm/v1/completions" {
		return "anthropic does not support statistics when route_type is llm/v1/completions"
	}
	return ""
}

// to makes a shorthand that overrules the field that it stands for. A null says nothing.
func to(field string) Expansion {
	return func(v any, _ Body) Body {
		if v == nil {
			return nil
		}
		return Body{field: v}
	}
}

// idleTime reads the older idle time of a session, of which none meant that it is not bounded.
func idleTime(v any, _ Body) Body {
	if v == nil {
		v = 0.0
	}
	return Body{"idling_timeout": v}
}

// sameSite reads the older word for a session's cookie that other sites may send.
func sameSite(v any, _ Body) Body {
	if v == "off" {
		v = "Lax"
	}
	return to("cookie_same_site")(v, nil)
}

// checkFlows refuses an oauth2 config by which nobody gets a token.
func checkFlows(b Body) string {
	flows := []string{"enable_authorization_code", "enable_implicit_grant", "enable_client_credentials", "enable_password_grant"}
	for _, flow := range flows {
		if b[flow] == true {
			return ""
		}
	}
	return "at least one of these fields must be true: " + strings.Join(flows, ", ")
}

// checkLambdaProxy refuses a forward proxy that is itself spoken to by TLS.
func checkLambdaProxy(b Body) string {
	config, _ := b["config"].(Body)
	address, _ := config["proxy_url"].(string)
	if scheme, _, ok := strings.Cut(address, "://"); ok && scheme != "http" && scheme != "" && !strings.Contains(scheme, ":") {
		return "proxy_url scheme must be http"
	}
	return ""
}
