// Package graph compiles a snapshot into what the engine serves: routes with their filters
// in order, upstreams, certificates, who is known.
//
// It knows entities and what they mean together; it does not know where they come from, nor
// HTTP. Compiler.Apply is pure: no clock, no I/O, no lock. A graph is immutable; the next
// one shares with it all that did not change. Enter at Compiler.Apply, and at Check for a
// configuration that nobody is to serve.
package graph

import (
	"iter"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/router"
	"github.com/sekifuda/sekifuda/dataplane/router/hamt"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
	"github.com/sekifuda/sekifuda/plugin"
)

// Graph is one compiled revision. A nil Graph is empty. It is safe for concurrent use.
type Graph struct {
	Revision uint64

	now    func() time.Time
	router *router.Router[*Endpoint]
	global *Chain

	routes       hamt.Map[*routeNode]
	services     hamt.Map[*serviceNode]
	upstreams    hamt.Map[*balancerNode]
	targets      hamt.Map[*targetNode]
	certificates hamt.Map[*certificateNode]
	authorities  hamt.Map[*authorityNode]
	snis         hamt.Map[*sniNode]
	plugins      hamt.Map[*pluginNode]
	consumers    hamt.Map[*consumerNode]
	usernames    hamt.Map[string] // id by username
	acls         hamt.Map[*aclNode]
	credentials  map[string]*credentialTable // by kind; never changed in place
	tokens       hamt.Map[*plugin.Token]
	tokenIDs     hamt.Map[string] // by tokenKey of both tokens
	keyHash      *keyHash         // nil: API keys are held as they are

	scopes hamt.Map[[]*pluginNode]      // plugins by route and service (scopeKey)
	unique hamt.Map[string]             // id of who holds a unique value (uniqueKey)
	links  hamt.Map[hamt.Map[struct{}]] // ids of those that depend on something (linkKey)
}

// Endpoint is a route as the engine serves it.
type Endpoint struct {
	Route    *plugin.Route
	Service  *plugin.Service    // nil: the route has none
	Upstream *upstream.Upstream // nil with Service

	ServicePath       string // "" when the service has none
	Protocols         Protocols
	RedirectStatus    int // https_redirect_status_code
	StripPath         bool
	PreserveHost      bool
	RequestBuffering  bool
	ResponseBuffering bool

	Chain *Chain
}

// Protocols is a set of protocols a route answers.
type Protocols uint8

// The protocols of routes. Those of connections without HTTP are in routes of their own.
const (
	HTTP Protocols = 1 << iota
	HTTPS
	GRPC
	GRPCS
	TCP
	TLS
	Passthrough
)

// The families of protocols: a route is of one, a plugin's configuration may be of both.
const (
	web     = HTTP | HTTPS | GRPC | GRPCS
	streams = TCP | TLS | Passthrough
)

// Chain is the filters of an endpoint, in the order in which requests pass them. Endpoints
// with the same plugins share one.
type Chain struct {
	Steps []Step
}

// Step is one plugin in a chain. Which of its configurations applies may depend on the
// consumer that an earlier step found.
type Step struct {
	Plugin *plugin.Plugin
	// Any is the configuration for everybody; nil when there are only some for consumers.
	Any *Instance
	// ByConsumer are those for single consumers, by consumer id.
	ByConsumer map[string]*Instance
}

// For returns the configuration that applies to c (nil: nobody known), or nil.
func (s *Step) For(c *plugin.Consumer) *Instance {
	if c != nil && s.ByConsumer != nil {
		if in := s.ByConsumer[c.ID]; in != nil {
			return in
		}
	}
	return s.Any
}

// Instance is one compiled configuration of a plugin. It is kept from graph to graph while
// its entity does not change.
type Instance struct {
	ID       string // of the plugin entity
	Plugin   *plugin.Plugin
	Filter   plugin.Filter
	Request  plugin.RequestFilter // nil when the filter has no such phase
	Response plugin.ResponseFilter
	Log      plugin.LogFilter
	Run      plugin.Runner
}

// noSteps is the chain of a graph without plugins.
var noSteps = &Chain{}

// Match finds the endpoint of a request.
func (g *Graph) Match(q *router.Request, m *router.Match[*Endpoint]) bool {
	return g != nil && g.router.Match(q, m)
}

// Global is the chain of plugins without a route or service: what runs when no route
// matched. It is never nil.
func (g *Graph) Global() *Chain {
	if g == nil || g.global == nil {
		return noSteps
	}
	return g.global
}

// Instances returns every instance of the graph, by its ID, for starting and stopping their
// work. It walks all plugins; from graph to graph, Turnover tells what changed.
func (g *Graph) Instances() map[string]*Instance {
	all := map[string]*Instance{}
	if g == nil {
		return all
	}
	for id, p := range g.plugins.All() {
		if p.instance != nil {
			all[id] = p.instance
		}
	}
	return all
}

// Turnover returns the instances that g has and prev has not, and those that only prev has.
// It costs what changed between them.
func (g *Graph) Turnover(prev *Graph) (begin, end []*Instance) {
	var was, is hamt.Map[*pluginNode]
	if prev != nil {
		was = prev.plugins
	}
	if g != nil {
		is = g.plugins
	}
	hamt.Diff(was, is, func(_ string, old, new *pluginNode, gone, come bool) {
		var a, b *Instance
		if gone {
			a = old.instance
		}
		if come {
			b = new.instance
		}
		if a == b {
			return
		}
		if a != nil {
			end = append(end, a)
		}
		if b != nil {
			begin = append(begin, b)
		}
	})
	return begin, end
}

// Balancer returns the balancer of an upstream entity, or nil.
func (g *Graph) Balancer(id string) *upstream.Balancer {
	if g == nil {
		return nil
	}
	n, ok := g.upstreams.Get(id)
	if !ok {
		return nil
	}
	return n.balancer
}

// Balancers yields the balancers of all upstream entities.
func (g *Graph) Balancers() iter.Seq[*upstream.Balancer] {
	return func(yield func(*upstream.Balancer) bool) {
		if g == nil {
			return
		}
		for _, n := range g.upstreams.All() {
			if !yield(n.balancer) {
				return
			}
		}
	}
}

// BalancerTurnover returns the balancers that g has and prev has not, and those that only prev
// has, for starting and stopping their probes. It costs what changed between them.
func (g *Graph) BalancerTurnover(prev *Graph) (begin, end []*upstream.Balancer) {
	var was, is hamt.Map[*balancerNode]
	if prev != nil {
		was = prev.upstreams
	}
	if g != nil {
		is = g.upstreams
	}
	hamt.Diff(was, is, func(_ string, old, new *balancerNode, gone, come bool) {
		if gone && come && old.balancer == new.balancer {
			return
		}
		if gone {
			end = append(end, old.balancer)
		}
		if come {
			begin = append(begin, new.balancer)
		}
	})
	return begin, end
}
