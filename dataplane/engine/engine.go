package engine

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/block"
	"github.com/sekifuda/sekifuda/dataplane/engine/h1"
	"github.com/sekifuda/sekifuda/dataplane/graph"
	"github.com/sekifuda/sekifuda/dataplane/router"
	"github.com/sekifuda/sekifuda/plugin"
)

// Graph is what the engine asks of a compiled revision. *graph.Graph is one.
type Graph interface {
	Match(q *router.Request, m *router.Match[*graph.Endpoint]) bool
	Global() *graph.Chain
	Directory() plugin.Directory
	Certificate(serverName string) *tls.Certificate
}

var _ Graph = (*graph.Graph)(nil)

// Engine serves exchanges by the graph that was swapped in last. It is safe for concurrent
// use.
type Engine struct {
	opt       Options
	limits    h1.Limits
	current   atomic.Pointer[view]
	blocks    atomic.Pointer[block.Set] // nil: nothing is blocked
	normalize func(string) string
	fallback  *tls.Certificate // for names that no certificate is for
	pages     [forms]Page      // the user's; nil: Kong's
	h2        *h2server
	counts    counters
	dated     atomic.Pointer[dated]
	ways      ways

	spare sync.Pool // exchanges that no connection has

	leaving atomic.Bool // another process accepts: answers end their connections

	mu        sync.Mutex // guards what follows
	listeners map[*listening]struct{}
	conns     map[tracked]struct{}
	exchanges map[*exchange]struct{}
	served    []*served // newest last
	closing   bool
	empty     chan struct{} // closed when closing and the last connection is gone
}

// view is a graph as exchanges use it.
type view struct {
	Graph
	revision uint64
	served   *served
}

// New makes an engine that knows no route yet. It starts nothing.
func New(o Options) (*Engine, error) {
	o = o.withDefaults()
	cert := o.Certificate
	if cert == nil {
		var err error
		if cert, err = selfSigned(o.Now()); err != nil {
			return nil, fmt.Errorf("make default certificate: %w", err)
		}
	}
	e := &Engine{
		opt:       o,
		limits:    h1.RequestLimits,
		normalize: router.NormalizePath,
		fallback:  cert,
		listeners: map[*listening]struct{}{},
		conns:     map[tracked]struct{}{},
		exchanges: map[*exchange]struct{}{},
		empty:     make(chan struct{}),
	}
	for kind, p := range o.Pages {
		e.pages[negotiate(kind)] = p
	}
	e.spare.New = func() any { return new(exchange) }
	e.limits.Head = o.MaxHeaderBytes
	e.h2 = newH2Server(e)
	e.current.Store(&view{Graph: nothing{}, served: &served{}})
	return e, nil
}

// Swap makes exchanges that begin from now on use g. Those under way keep the graph with which
// they began; Retired tells when the last of them is over.
func (e *Engine) Swap(g Graph, revision uint64) *Retired {
	return &Retired{engine: e, old: e.current.Swap(&view{g, revision, e.counted(revision)})}
}

// Retired is a graph that was swapped out.
type Retired struct {
	engine *Engine
	old    *view
}

// Quiesced reports whether no exchange uses the graph any more.
func (r *Retired) Quiesced() bool {
	r.engine.mu.Lock()
	defer r.engine.mu.Unlock()
	for x := range r.engine.exchanges {
		if x.using.Load() == r.old {
			return false
		}
	}
	return true
}

// quiesceEvery is how often Wait looks: what waits for it is in no hurry.
const quiesceEvery = 50 * time.Millisecond

// Wait returns when the graph is quiesced, or with ctx's error.
func (r *Retired) Wait(ctx context.Context) error {
	t := time.NewTicker(quiesceEvery)
	defer t.Stop()
	for !r.Quiesced() {
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// use marks the current graph as used by x. The second look makes sure that a graph is not
// found quiesced between the load and the mark.
func (e *Engine) use(x *exchange) *view {
	for {
		v := e.current.Load()
		x.using.Store(v)
		if e.current.Load() == v {
			return v
		}
	}
}

// nothing is the graph before the first one.
type nothing struct{}

func (nothing) Match(*router.Request, *router.Match[*graph.Endpoint]) bool { return false }
func (nothing) Global() *graph.Chain                                       { return nil }
func (nothing) Directory() plugin.Directory                                { return nobody{} }
func (nothing) Certificate(string) *tls.Certificate                        { return nil }

type nobody struct{}

func (nobody) CredentialByID(string, string) *plugin.Credential { return nil }

func (nobody) Token(string) *plugin.Token { return nil }

func (nobody) Credential(string, string) *plugin.Credential { return nil }
func (nobody) Consumer(string) *plugin.Consumer             { return nil }
