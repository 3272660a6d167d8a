package engine

import (
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/sekifuda/sekifuda/plugin"
)

// maxServed is how many revisions are told of: exchanges on older ones are few, and end.
const maxServed = 16

// served counts what exchanges of one revision came to. It does not hold the graph.
type served struct {
	revision uint64

	requests, gateErrors, upstreamErrors atomic.Uint64
}

// Served is what one revision served. Counts are since it was swapped in first.
type Served struct {
	Revision uint64
	Requests uint64
	// GateErrors are answers 5xx that the gate made, and 404 where no route matched: what a
	// wrong configuration does.
	GateErrors uint64
	// UpstreamErrors are answers 5xx of upstreams.
	UpstreamErrors uint64
}

// note counts an exchange that is over.
func (s *served) note(r *plugin.Response, routed bool) {
	s.requests.Add(1)
	switch {
	case r.Source == plugin.FromUpstream && r.Status >= http.StatusInternalServerError:
		s.upstreamErrors.Add(1)
	case r.Source != plugin.FromUpstream && (r.Status >= http.StatusInternalServerError || !routed && r.Status == http.StatusNotFound):
		s.gateErrors.Add(1)
	}
}

// Served tells what the revisions that were swapped in last served, oldest first.
func (e *Engine) Served() []Served {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make([]Served, 0, len(e.served))
	for _, s := range e.served {
		all = append(all, Served{
			Revision: s.revision, Requests: s.requests.Load(),
			GateErrors: s.gateErrors.Load(), UpstreamErrors: s.upstreamErrors.Load(),
		})
	}
	return all
}

// counted returns the counters of a revision that is swapped in; graphs of one revision share
// them.
func (e *Engine) counted(revision uint64) *served {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := &served{revision: revision}
	if i := slices.IndexFunc(e.served, func(s *served) bool { return s.revision == revision }); i >= 0 {
		s = e.served[i]
		e.served = slices.Delete(e.served, i, i+1)
	}
	e.served = append(e.served, s)
	if n := len(e.served) - maxServed; n > 0 {
		e.served = slices.Delete(e.served, 0, n)
	}
	return s
}
