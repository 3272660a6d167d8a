package engine

import (
	"strings"

	"github.com/sekifuda/sekifuda/dataplane/graph"
	"github.com/sekifuda/sekifuda/plugin"
)

// isGRPC reports whether the request says that it is gRPC.
func isGRPC(r *plugin.Request) bool {
	return strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc")
}

// checkProtocol answers a request that came by another protocol than its route serves, and
// reports whether it did. As in Kong 3.9.1 only global filters see such an answer.
func (e *exchange) checkProtocol() bool {
	r, p := &e.x.Request, e.endpoint.Protocols
	switch {
	case p&graph.HTTPS != 0 && p&graph.HTTP == 0 && r.ForwardedProto != "https":
		e.collect(e.view.Global())
		e.wantHTTPS()
	case p&(graph.GRPC|graph.GRPCS) == 0:
		return false
	case !isGRPC(r):
		e.collect(e.view.Global())
		e.deny(415, "Non-gRPC request matched gRPC route")
	case r.Major < 2:
		e.collect(e.view.Global())
		e.x.Response.Header.Append("Upgrade", "HTTP/2")
		e.connection = "Upgrade"
		e.deny(426, "Please use HTTP2 protocol")
	case p&graph.GRPC == 0 && r.ForwardedProto != "https":
		e.collect(e.view.Global())
		h := &e.x.Response.Header
		h.Append("Grpc-Status", "1")
		h.Append("Grpc-Message", "gRPC request matched gRPCs route")
		e.raw(200, "application/grpc", "")
	default:
		return false
	}
	return true
}

func (e *exchange) wantHTTPS() {
	h := &e.x.Response.Header
	status := e.endpoint.RedirectStatus
	switch status {
	case 301, 302, 307, 308:
		h.Append("Location", e.text(func(b []byte) []byte {
			b = append(append(b, "https://"...), e.x.Request.ForwardedHost...)
			b = append(b, e.x.Request.Path...)
			if q := e.x.Request.Query; q != "" {
				b = append(append(b, '?'), q...)
			}
			return b
		}))
		e.nginxPage(status)
	default:
		h.Append("Upgrade", "TLS/1.2, HTTP/1.1")
		e.connection = "Upgrade"
		e.deny(426, "Please use HTTPS protocol")
	}
}
