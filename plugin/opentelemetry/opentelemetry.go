// Package opentelemetry joins exchanges to the traces of their callers, tells upstreams the
// trace, and posts spans to a collector.
//
// It knows the formats of trace headers and OTLP; it keeps no trace itself. Enter at
// Definition.
package opentelemetry

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/outbox"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// defaultRate is Kong's tracing_sampling_rate.
const defaultRate = 0.01

// New compiles the formats. Nothing is connected.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	if c.GetTracesEndpoint() == "" && c.GetLogsEndpoint() == "" {
		return nil, errors.New("config: at least one of these fields must be non-empty: 'traces_endpoint', 'logs_endpoint'")
	}
	p, err := compile(c)
	if err != nil {
		return nil, err
	}
	f := &filter{
		propagation: p, response: c.GetHttpResponseHeaderForTraceid(), rate: defaultRate,
		log: h.Logger().With("plugin", "opentelemetry"), logs: c.GetLogsEndpoint() != "",
	}
	if c.SamplingRate != nil {
		f.rate = c.GetSamplingRate()
	}
	if c.GetTracesEndpoint() == "" {
		return f, nil
	}
	if f.target, err = newTarget(c, h.NodeID()); err != nil {
		return nil, fmt.Errorf("config.traces_endpoint: %w", err)
	}
	s, err := settings(c)
	if err != nil {
		return nil, err
	}
	f.queue = outbox.New(s, f.log)
	return f, nil
}

type filter struct {
	propagation propagation
	response    string // header of the answer that tells the trace
	rate        float64
	log         *slog.Logger
	logs        bool
	target      *target
	queue       *outbox.Queue // nil: no spans are posted
}

var (
	_ plugin.RequestFilter  = (*filter)(nil)
	_ plugin.ResponseFilter = (*filter)(nil)
	_ plugin.LogFilter      = (*filter)(nil)
	_ plugin.Runner         = (*filter)(nil)
)

// visit is an exchange's place in its trace.
type visit struct {
	server span // of the exchange itself
	client span // of the request to the upstream
}

var visits = sync.Pool{New: func() any { return new(visit) }}

// OnRequest joins the trace of the caller, or begins one, and tells the upstream.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	v, found := f.join(x)
	f.propagation.write(x, &v.client, found)
	return plugin.Next
}

// join finds the exchange's place, once.
func (f *filter) join(x *plugin.Exchange) (*visit, *format) {
	if v, ok := x.Value(f).(*visit); ok {
		return v, nil
	}
	v := visits.Get().(*visit)
	s := &v.server
	found := f.propagation.read(x, s)
	s.parent, s.span = s.span, newSpanID()
	if !s.found() {
		s.trace, s.short, s.parent = newTraceID(), false, spanID{}
	}
	if !s.decided {
		s.sampled = f.sample(s.trace)
	}
	v.client = *s
	v.client.parent, v.client.span = s.span, newSpanID()
	x.Put(f, v)
	return v, found
}

// sample decides by the trace id, so that all gates of a trace decide alike.
func (f *filter) sample(t traceID) bool {
	if f.rate >= 1 {
		return true
	}
	return float64(binary.BigEndian.Uint64(t[8:])>>1) < f.rate*math.MaxInt64
}

// OnResponse tells the client the trace, if that is asked.
func (f *filter) OnResponse(x *plugin.Exchange) {
	if f.response == "" {
		return
	}
	v, _ := f.join(x)
	var room [32]byte
	x.Response.Header.Set(f.response, x.Text(hex.AppendEncode(room[:0], v.server.trace[:])))
}

// OnLog queues the spans of a sampled exchange, also of one that was answered before this
// filter's turn.
func (f *filter) OnLog(x *plugin.Exchange) {
	v, _ := f.join(x)
	x.Put(f, nil)
	if v.server.sampled && f.queue != nil {
		f.queue.Add(func(b []byte) []byte { return appendServerSpan(b, x, v) })
		if !x.Times.Proxied.IsZero() {
			f.queue.Add(func(b []byte) []byte { return appendClientSpan(b, x, v) })
		}
	}
	visits.Put(v)
}

// Run posts what is queued until ctx ends, and then what is left.
func (f *filter) Run(ctx context.Context) error {
	if f.logs {
		f.log.Warn("logs_endpoint has no effect: the log of this gate is not posted")
	}
	if f.queue == nil {
		<-ctx.Done()
		return nil
	}
	defer f.target.client.CloseIdleConnections()
	f.queue.Run(ctx, f.target.post)
	return nil
}
