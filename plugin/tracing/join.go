package tracing

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"sync"

	"github.com/sekifuda/sekifuda/plugin"
)

// Visit is an exchange's place in its trace.
type Visit struct {
	Server Span // of the exchange itself
	Client Span // of the request to the upstream
}

var visits = sync.Pool{New: func() any { return new(Visit) }}

// Joiner finds places. It is immutable, and the key of what it keeps in an exchange.
type Joiner struct {
	Propagation Propagation
	Rate        float64 // share of traces that are kept, when the caller does not say; see RateOfAll
	// RateOfAll has the rate count also for what the caller samples; what the caller leaves
	// out stays out.
	RateOfAll bool
	Short     bool // new traces have ids of 8 bytes
	// Shared has a caller's span go on here where its format allows that, as Zipkin's do.
	Shared bool
}

// Tell joins the trace of the caller, or begins one, and tells the upstream.
func (j *Joiner) Tell(x *plugin.Exchange) {
	v, found := j.join(x)
	j.Propagation.Write(x, &v.Client, found)
}

// Visit returns the exchange's place, also of one that was answered before Tell.
func (j *Joiner) Visit(x *plugin.Exchange) *Visit {
	v, _ := j.join(x)
	return v
}

// Leave gives a place back. The exchange has none any more.
func (j *Joiner) Leave(x *plugin.Exchange, v *Visit) {
	x.Put(j, nil)
	visits.Put(v)
}

// TellClient sets a header of the answer to the trace's id.
func (j *Joiner) TellClient(x *plugin.Exchange, header string) {
	v := j.Visit(x)
	var room [32]byte
	x.Response.Header.Set(header, x.Text(hex.AppendEncode(room[:0], v.Server.Trace[:])))
}

// join finds the exchange's place, once.
func (j *Joiner) join(x *plugin.Exchange) (*Visit, *Format) {
	if v, ok := x.Value(j).(*Visit); ok {
		return v, nil
	}
	v := visits.Get().(*Visit)
	s := &v.Server
	found := j.Propagation.Read(x, s)
	switch {
	case !s.found():
		s.Trace, s.Short, s.Parent, s.ID = NewTraceID(), j.Short, SpanID{}, NewSpanID()
		if j.Short {
			clear(s.Trace[:8])
		}
	case j.Shared && found.shared && s.ID != SpanID{}:
	default:
		s.Parent, s.ID = s.ID, NewSpanID()
	}
	if !s.Decided || j.RateOfAll && s.Sampled {
		s.Sampled = j.Sample(s.Trace)
	}
	v.Client = *s
	v.Client.Parent, v.Client.ID = s.ID, NewSpanID()
	x.Put(j, v)
	return v, found
}

// Sample decides by the trace id, so that all gates of a trace decide alike.
func (j *Joiner) Sample(t TraceID) bool {
	if j.Rate >= 1 {
		return true
	}
	return float64(binary.BigEndian.Uint64(t[8:])>>1) < j.Rate*math.MaxInt64
}
