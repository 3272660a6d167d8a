package engine

import "sync/atomic"

// phase is what a connection is doing, for counters and the watch.
type phase int32

const (
	waiting phase = iota // for a request
	reading              // a request head
	working              // filters, upstream, answer
	resting              // waiting, without memory
)

// counters hold what connections that are gone have left behind; those that are there keep
// their own, so that a request touches no shared memory.
type counters struct {
	accepted atomic.Uint64
	refused  atomic.Uint64 // closed at once: the gate is shutting down
	requests atomic.Uint64 // of connections that ended

	malformedProxy atomic.Uint64 // closed: no PROXY header, where one must be
	untrustedProxy atomic.Uint64 // PROXY headers of peers that are not believed
}

// Counts are a moment's view of connections and requests, in the words of nginx.
type Counts struct {
	Accepted uint64
	Handled  uint64
	Requests uint64
	Active   int
	Reading  int
	Writing  int
	Waiting  int

	MalformedProxy uint64 // connections closed for want of a PROXY header
	UntrustedProxy uint64 // PROXY headers that were not believed
}

// Counts adds up.
func (e *Engine) Counts() Counts {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := Counts{
		Accepted: e.counts.accepted.Load(),
		Requests: e.counts.requests.Load(),
		Active:   len(e.conns),

		MalformedProxy: e.counts.malformedProxy.Load(),
		UntrustedProxy: e.counts.untrustedProxy.Load(),
	}
	c.Handled = c.Accepted - e.counts.refused.Load()
	for t := range e.conns {
		p, n := t.state()
		c.Requests += n
		switch p {
		case waiting, resting:
			c.Waiting++
		case reading:
			c.Reading++
		case working:
			c.Writing++
		}
	}
	return c
}
