// Package zipkin joins exchanges to the traces of their callers, tells upstreams the trace, and
// posts spans to a Zipkin collector.
//
// It knows Zipkin's spans; trace headers are package tracing's. Enter at Definition.
package zipkin

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/outbox"
	"github.com/sekifuda/sekifuda/plugin/tracing"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

// defaultRatio is Kong's sample_ratio.
const defaultRatio = 0.001

// New compiles the formats. Nothing is connected.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	p, err := tracing.Compile(tracing.Settings{
		Extract: c.GetPropagation().GetExtract(), Inject: c.GetPropagation().GetInject(), Clear: c.GetPropagation().GetClear(),
		Default:    cmp.Or(defaultFormat(c), "b3"),
		HeaderType: c.GetHeaderType(),
	})
	if err != nil {
		return nil, err
	}
	f := &filter{
		joiner: tracing.Joiner{Propagation: p, Rate: defaultRatio, Short: c.GetTraceidByteCount() == 8, Shared: true},
		teller: newTeller(c, h.NodeID()), response: c.GetHttpResponseHeaderForTraceid(), url: c.GetHttpEndpoint(),
		timeout: milliseconds(c.ConnectTimeout, 2000) + milliseconds(c.SendTimeout, 5000) + milliseconds(c.ReadTimeout, 5000),
	}
	if c.SampleRatio != nil {
		f.joiner.Rate = c.GetSampleRatio()
	}
	if f.url == "" {
		return f, nil
	}
	s, err := outbox.Read(c.GetQueue(), 1)
	if err != nil {
		return nil, err
	}
	f.queue = outbox.New(s, h.Logger().With("plugin", "zipkin"))
	return f, nil
}

// defaultFormat is that of propagation, or the deprecated one where it says another than both
// defaults.
func defaultFormat(c *Config) string {
	if f := c.GetPropagation().GetDefaultFormat(); f != "" && f != "b3" {
		return f
	}
	return c.GetDefaultHeaderType()
}

func milliseconds(n *int64, other int64) time.Duration {
	if n != nil {
		other = *n
	}
	return time.Duration(other) * time.Millisecond
}

type filter struct {
	joiner   tracing.Joiner
	teller   *teller
	response string // header of the answer that tells the trace
	url      string
	timeout  time.Duration
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
	if f.queue != nil {
		f.teller.note(x)
	}
	f.joiner.Tell(x)
	return plugin.Next
}

// OnResponse tells the client the trace, if that is asked.
func (f *filter) OnResponse(x *plugin.Exchange) {
	if f.response != "" {
		f.joiner.TellClient(x, f.response)
	}
}

// OnLog queues the spans of a sampled exchange: one for each try, one for all of them, one for
// the exchange.
func (f *filter) OnLog(x *plugin.Exchange) {
	v := f.joiner.Visit(x)
	if v.Server.Sampled && f.queue != nil {
		for _, span := range f.teller.spans(x, v) {
			f.queue.Add(func(b []byte) []byte { return append(b, span...) })
		}
	}
	f.joiner.Leave(x, v)
}

// Run posts what is queued until ctx ends, and then what is left.
func (f *filter) Run(ctx context.Context) error {
	if f.queue == nil {
		<-ctx.Done()
		return nil
	}
	client := &http.Client{Timeout: f.timeout}
	defer client.CloseIdleConnections()
	f.queue.Run(ctx, func(ctx context.Context, batch [][]byte) error { return f.post(ctx, client, batch) })
	return nil
}

// post sends spans as one list.
func (f *filter) post(ctx context.Context, client *http.Client, batch [][]byte) error {
	body := append(append([]byte{'['}, bytes.Join(batch, []byte{','})...), ']')
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make span request: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("zipkin request failed: %w", err)
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<16)) // so that the connection is kept
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return errors.New("zipkin server responded unexpectedly: " + answer.Status)
	}
	return nil
}
