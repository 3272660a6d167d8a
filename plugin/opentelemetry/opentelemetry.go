// Package opentelemetry joins exchanges to the traces of their callers, tells upstreams the
// trace, and posts spans to a collector.
//
// It knows OTLP and its collector; headers are package tracing's. Enter at
// Definition.
package opentelemetry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/outbox"
	"github.com/sekifuda/sekifuda/plugin/tracing"
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
	p, err := tracing.Compile(tracing.Settings{
		Extract: c.GetPropagation().GetExtract(), Inject: c.GetPropagation().GetInject(), Clear: c.GetPropagation().GetClear(),
		Default: cmp.Or(c.GetPropagation().GetDefaultFormat(), "w3c"), HeaderType: c.GetHeaderType(),
	})
	if err != nil {
		return nil, err
	}
	f := &filter{
		joiner: tracing.Joiner{Propagation: p, Rate: defaultRate, RateOfAll: true}, response: c.GetHttpResponseHeaderForTraceid(),
		log: h.Logger().With("plugin", "opentelemetry"), logs: c.GetLogsEndpoint() != "",
	}
	if c.SamplingRate != nil {
		f.joiner.Rate = c.GetSamplingRate()
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
	joiner   tracing.Joiner
	response string // header of the answer that tells the trace
	log      *slog.Logger
	logs     bool
	target   *target
	queue    *outbox.Queue // nil: no spans are posted
}

var (
	_ plugin.RequestFilter  = (*filter)(nil)
	_ plugin.ResponseFilter = (*filter)(nil)
	_ plugin.LogFilter      = (*filter)(nil)
	_ plugin.Runner         = (*filter)(nil)
)

// OnRequest joins the trace of the caller, or begins one, and tells the upstream.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	f.joiner.Tell(x)
	return plugin.Next
}

// OnResponse tells the client the trace, if that is asked.
func (f *filter) OnResponse(x *plugin.Exchange) {
	if f.response != "" {
		f.joiner.TellClient(x, f.response)
	}
}

// OnLog queues the spans of a sampled exchange, also of one that was answered before this
// filter's turn.
func (f *filter) OnLog(x *plugin.Exchange) {
	v := f.joiner.Visit(x)
	if v.Server.Sampled && f.queue != nil {
		f.queue.Add(func(b []byte) []byte { return appendServerSpan(b, x, v) })
		if !x.Times.Proxied.IsZero() {
			f.queue.Add(func(b []byte) []byte { return appendClientSpan(b, x, v) })
		}
	}
	f.joiner.Leave(x, v)
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
