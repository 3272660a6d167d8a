// Package graph compiles a snapshot into what the engine serves: routes with their filters
// in order, upstreams, certificates, who is known.
//
// Apply is pure: no clock, no I/O, no lock. A graph is immutable; the next one shares with
// it all that did not change. Enter at Apply.
package graph

import (
	"crypto/tls"

	"github.com/sekifuda/sekifuda/dataplane/router"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
	"github.com/sekifuda/sekifuda/plugin"
)

// Graph is one compiled revision.
type Graph struct {
	Revision uint64
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

// The protocols of HTTP routes.
const (
	HTTP Protocols = 1 << iota
	HTTPS
	GRPC
	GRPCS
)

// Chain is the filters of an endpoint, in the order in which requests pass them.
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

// Match finds the endpoint of a request.
func (g *Graph) Match(q *router.Request, m *router.Match[*Endpoint]) bool { panic("not yet") }

// Global is the chain of plugins without a scope: what runs when no route matched.
func (g *Graph) Global() *Chain { panic("not yet") }

// Directory returns who is known at this revision.
func (g *Graph) Directory() plugin.Directory { panic("not yet") }

// Certificate returns the certificate for a server name, or nil for the default one.
func (g *Graph) Certificate(serverName string) *tls.Certificate { panic("not yet") }

// Instances yields every instance of the graph, for starting and stopping their work.
func (g *Graph) Instances() map[string]*Instance { panic("not yet") }
