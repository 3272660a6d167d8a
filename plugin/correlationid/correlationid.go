// Package correlationid gives each request an id that upstream, client and logs can share.
//
// It knows how ids are made and the header that carries them. Enter at Definition.
package correlationid

import (
	"fmt"
	"sync/atomic"

	"github.com/sekifuda/sekifuda/plugin"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

const defaultHeader = "Kong-Request-ID"

// New chooses the generator. Each compiled configuration counts for itself, under a uuid of
// its own, as each of Kong's workers does.
func New(c *Config, _ plugin.Host) (plugin.Filter, error) {
	f := &filter{header: c.GetHeaderName(), echo: c.GetEchoDownstream()}
	if c.HeaderName == nil {
		f.header = defaultHeader
	}
	switch c.GetGenerator() {
	case "", "uuid#counter":
		appendUUID(f.base[:0])
		f.generate = f.counted
	case "uuid":
		f.generate = random
	case "tracker":
		f.generate = f.tracker
	default:
		return nil, fmt.Errorf("config.generator: unknown generator %q", c.GetGenerator())
	}
	return f, nil
}

type filter struct {
	header   string
	echo     bool
	generate func(x *plugin.Exchange) string

	base    [uuidLen]byte
	counter atomic.Uint64
}

var (
	_ plugin.RequestFilter  = (*filter)(nil)
	_ plugin.ResponseFilter = (*filter)(nil)
)

// OnRequest keeps the id that the client sent, or makes one.
func (f *filter) OnRequest(x *plugin.Exchange) plugin.Verdict {
	x.Put(f, true)
	id := x.Request.Header.Get(f.header)
	if id == "" {
		id = f.generate(x)
		x.Request.Header.Set(f.header, id)
	}
	if f.echo {
		x.Early.Set(f.header, id)
	}
	x.AddLogText("correlation_id", id)
	return plugin.Next
}

// OnResponse serves answers to requests that no filter saw, such as those without a route.
func (f *filter) OnResponse(x *plugin.Exchange) {
	if !f.echo || x.Value(f) != nil {
		return
	}
	id := x.Request.Header.Get(f.header)
	if id == "" {
		id = f.generate(x)
	}
	x.Response.Header.Set(f.header, id)
}
