package engine

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/graph"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
)

// redirect turns the exchange to the server that a filter named instead of the service's. What
// the service says of timeouts and certificates still holds.
func (e *exchange) redirect() error {
	u := &e.x.Upstream
	if u.Authority == "" {
		return nil
	}
	end, err := e.eng.ways.to(e.endpoint, u.Scheme, u.Authority)
	if err != nil {
		return err
	}
	e.endpoint = end
	return nil
}

// maxWays bounds the ways that are remembered: a name may come from a request.
const maxWays = 1024

// ways remembers endpoints that were redirected. It is safe for concurrent use.
type ways struct {
	mu    sync.Mutex
	known map[way]*graph.Endpoint
}

type way struct {
	from              *graph.Endpoint
	scheme, authority string
}

func (w *ways) to(from *graph.Endpoint, scheme, authority string) (*graph.Endpoint, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if end := w.known[way{from, scheme, authority}]; end != nil {
		return end, nil
	}
	host, text, err := net.SplitHostPort(authority)
	if err != nil {
		return nil, fmt.Errorf("redirect to %q: %w", authority, err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("redirect to %q: %w", authority, err)
	}
	end := *from
	end.Upstream = upstream.New(specOf(from, strings.Clone(scheme), strings.Clone(host), int(port)), nil)
	if w.known == nil || len(w.known) >= maxWays {
		w.known = map[way]*graph.Endpoint{}
	}
	w.known[way{from, strings.Clone(scheme), strings.Clone(authority)}] = &end
	return &end, nil
}

// specOf is the service's way but for where it leads; a route without a service has Kong's
// defaults of one.
func specOf(from *graph.Endpoint, scheme, host string, port int) *upstream.Spec {
	s := upstream.Spec{
		Retries: 5, ConnectTimeout: time.Minute, WriteTimeout: time.Minute, ReadTimeout: time.Minute, TLSVerifyDepth: 1,
	}
	if from.Upstream != nil {
		s = *from.Upstream.Spec
	}
	s.Protocol, s.Host, s.Port, s.Balancer = scheme, host, port, nil
	return &s
}
