package plugin

import "time"

// Latencies says where the time of a finished exchange went, in Kong's terms.
type Latencies struct {
	Gate    time.Duration // inside the gate, before the request was sent on
	Proxy   time.Duration // waiting for the head of the upstream's answer; -1: not proxied
	Receive time.Duration // receiving and passing on the upstream's answer
	Request time.Duration // from the first byte in to the last byte out
}

// Latencies splits the exchange's time. It is for the log phase, when Times is complete.
func (x *Exchange) Latencies() Latencies {
	t := &x.Times
	l := Latencies{Proxy: -1, Request: span(t.Start, t.End)}
	if t.Proxied.IsZero() {
		l.Gate = l.Request
		return l
	}
	l.Gate = span(t.Start, t.Proxied)
	if t.FirstByte.IsZero() {
		l.Proxy = span(t.Proxied, t.End)
		return l
	}
	l.Proxy = span(t.Proxied, t.FirstByte)
	l.Receive = span(t.FirstByte, t.End)
	return l
}

func span(from, to time.Time) time.Duration {
	if from.IsZero() || to.Before(from) {
		return 0
	}
	return to.Sub(from)
}
