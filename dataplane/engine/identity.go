package engine

import (
	"fmt"
	"strings"
)

// Identity is which of its marks the gate leaves on messages.
type Identity struct {
	Server            string // token in Server; "": no such line
	Via               string // name in Via; "": no such line
	Host              string // stands for a host where an HTTP/1.0 request has none
	ViaResponse       bool   // Via to clients too
	UpstreamLatency   bool   // X-Kong-Upstream-Latency
	ProxyLatency      bool   // X-Kong-Proxy-Latency
	ResponseLatency   bool   // X-Kong-Response-Latency
	UpstreamStatus    bool   // X-Kong-Upstream-Status
	AdminLatency      bool   // X-Kong-Admin-Latency, which is for the Admin API to show
	RequestID         bool   // X-Kong-Request-Id to clients
	RequestIDUpstream bool   // X-Kong-Request-Id to upstreams
}

// What Kong 3.9.1 shows by default, in its own words.
const (
	KongHeaders         = "server_tokens, latency_tokens, X-Kong-Request-Id"
	KongHeadersUpstream = "X-Kong-Request-Id"
)

const kongToken = "kong/3.9.1"

// KongIdentity is what clients of Kong 3.9.1 see by default.
func KongIdentity() *Identity {
	id, err := ParseIdentity(KongHeaders, KongHeadersUpstream)
	if err != nil {
		panic(err)
	}
	return id
}

// ParseIdentity reads Kong's settings headers and headers_upstream: lists of header names and
// of words for several, separated by commas. "off" alone is none.
func ParseIdentity(headers, upstream string) (*Identity, error) {
	id := &Identity{Via: kongToken, Host: "kong"}
	for word := range strings.SplitSeq(headers, ",") {
		if !id.show(strings.ToLower(strings.TrimSpace(word))) {
			return nil, fmt.Errorf("headers: invalid entry '%s'", strings.TrimSpace(word))
		}
	}
	for word := range strings.SplitSeq(upstream, ",") {
		switch strings.ToLower(strings.TrimSpace(word)) {
		case "x-kong-request-id":
			id.RequestIDUpstream = true
		case "", "off":
		default:
			return nil, fmt.Errorf("headers_upstream: invalid entry '%s'", strings.TrimSpace(word))
		}
	}
	return id, nil
}

// show turns on what one word stands for.
func (id *Identity) show(word string) bool {
	switch word {
	case "", "off":
	case "x-kong-admin-latency":
		id.AdminLatency = true
	case "server_tokens":
		id.Server, id.ViaResponse = kongToken, true
	case "server":
		id.Server = kongToken
	case "via":
		id.ViaResponse = true
	case "latency_tokens":
		id.UpstreamLatency, id.ProxyLatency, id.ResponseLatency, id.AdminLatency = true, true, true, true
	case "x-kong-upstream-latency":
		id.UpstreamLatency = true
	case "x-kong-proxy-latency":
		id.ProxyLatency = true
	case "x-kong-response-latency":
		id.ResponseLatency = true
	case "x-kong-upstream-status":
		id.UpstreamStatus = true
	case "x-kong-request-id":
		id.RequestID = true
	default:
		return false
	}
	return true
}
