// Package router finds the route of a request, or of a connection that carries no HTTP, by
// the rules of Kong 3.9.1's flavors traditional_compatible and expressions, in the order in
// which Kong executes them.
//
// It knows hosts, paths, methods, headers, SNIs, addresses and priorities; it does not know plugins or
// upstreams: what it finds is the caller's own value. A router is immutable, and the next
// one shares with it what did not change. Enter at Router.Apply and Router.Match.
package router

import (
	"net/netip"

	"github.com/sekifuda/sekifuda/dataplane/router/hamt"
	"github.com/sekifuda/sekifuda/plugin"
)

// Route is what a request must match. All attributes that are not empty must match; within
// one, any value may. Who gave a Route to Apply does not change it afterwards.
type Route struct {
	ID            string // UUID text; the larger one wins between equal priorities
	Protocols     []string
	Methods       []string
	Hosts         []string
	Paths         []string // "~" begins a regex
	Headers       map[string][]string
	SNIs          []string
	Sources       []Net
	Destinations  []Net
	RegexPriority int64
	StripPath     bool
	CreatedAt     int64

	// Expression is the whole condition, in place of the others; Priority is among routes
	// that have one.
	Expression string
	Priority   uint64
	// Strict has "http" alone not answer HTTPS, as in the flavor expressions. A route with an
	// expression always has it so.
	Strict bool
}

// Request is what the router reads of an exchange.
type Request struct {
	Method string
	Host   string // without port, as sent
	Port   uint16 // of the Host header, else of the listener
	Path   string // normalised as Kong does
	Query  string // as sent
	SNI    string // "" on a plain connection
	TLS    bool   // of a stream: it begins with a handshake, with a name or without
	Stream bool   // see AsStream
	Header *plugin.Header

	Source      netip.AddrPort
	Destination netip.Addr

	// Scratch is memory for values that are not compared as they were sent.
	Scratch []byte
}

// Match is what was found.
type Match[T any] struct {
	Value T
	// Prefix is the part of the path that matched; "" when the route has no paths.
	Prefix string
	// CaptureNames and CaptureValues are the groups of a regex path. Values is appended to
	// what the caller lends.
	CaptureNames  []string
	CaptureValues []string
	// CaptureMissing has bit n for a group that took no part in the match.
	CaptureMissing uint64
}

// Router finds T by route. A nil or zero Router is empty. It is safe for concurrent use.
type Router[T any] struct {
	exact  hamt.Map[*node[T]] // by host name, lower case
	suffix hamt.Map[*node[T]] // "*.x" as ".x"
	prefix hamt.Map[*node[T]] // "x.*" as "x."
	any    *node[T]           // routes without hosts
	routes hamt.Map[*compiled[T]]

	// longest is the length of the longest name in suffix and prefix: what is longer in a
	// request's host need not be looked up. It is not lowered when names go.
	longest int
}

// Change puts a route, or removes the one of ID when Route is nil. A route that is put again
// with the same *Route costs no compilation: only its Value changes.
type Change[T any] struct {
	ID    string
	Route *Route
	Value T
}

// Apply returns a router with the changes made; r stays as it is. The error is a *RouteError
// that names the first route that cannot be compiled. Removing what is not there does
// nothing.
func (r *Router[T]) Apply(changes []Change[T]) (*Router[T], error) {
	e := edit(r)
	for i := range changes {
		if err := e.apply(&changes[i]); err != nil {
			return nil, err
		}
	}
	return e.router(), nil
}

func (e *editor[T]) apply(c *Change[T]) error {
	old, _ := e.routes.Get(c.ID)
	if old != nil && c.Route == old.route {
		e.swap(c.ID, old, c.Value)
		return nil
	}
	var next *compiled[T]
	if c.Route != nil {
		var err error
		if next, err = compile(c.Route, c.Value); err != nil {
			return err
		}
	}
	if old != nil {
		e.remove(old)
		e.routes.Delete(c.ID)
	}
	if next != nil {
		e.insert(next)
		e.routes.Set(c.ID, next)
	}
	return nil
}

// Len returns the number of routes.
func (r *Router[T]) Len() int {
	if r == nil {
		return 0
	}
	return r.routes.Len()
}

// Check reports whether a route can be compiled: nil, or a *RouteError.
func Check(r *Route) error {
	_, err := compile(r, struct{}{})
	return err
}

// editor holds a router's tables while changes are made to them.
type editor[T any] struct {
	exact  *hamt.Editor[*node[T]]
	suffix *hamt.Editor[*node[T]]
	prefix *hamt.Editor[*node[T]]
	any    *node[T]
	routes *hamt.Editor[*compiled[T]]
	owner  *token

	longest int
}

func edit[T any](r *Router[T]) *editor[T] {
	if r == nil || r.exact.Len()+r.suffix.Len()+r.prefix.Len()+r.routes.Len() == 0 {
		r = &Router[T]{
			exact:  hamt.New[*node[T]](hashForward),
			suffix: hamt.New[*node[T]](hashBackward),
			prefix: hamt.New[*node[T]](hashForward),
		}
	}
	return &editor[T]{
		exact:  r.exact.Edit(),
		suffix: r.suffix.Edit(),
		prefix: r.prefix.Edit(),
		any:    r.any,
		routes: r.routes.Edit(),
		owner:  new(token),

		longest: r.longest,
	}
}

func (e *editor[T]) router() *Router[T] {
	return &Router[T]{
		exact:  e.exact.Map(),
		suffix: e.suffix.Map(),
		prefix: e.prefix.Map(),
		any:    e.any,
		routes: e.routes.Map(),

		longest: e.longest,
	}
}

func (e *editor[T]) insert(c *compiled[T]) {
	c.each(func(h hostKey, key string, x cand[T]) {
		if h.kind == suffixHost || h.kind == prefixHost {
			e.longest = max(e.longest, len(h.name))
		}
		e.update(h, func(n *node[T]) *node[T] { return n.insert(e.owner, key, x) })
	})
}

func (e *editor[T]) remove(c *compiled[T]) {
	c.each(func(h hostKey, key string, x cand[T]) {
		e.update(h, func(n *node[T]) *node[T] { return n.remove(e.owner, key, x) })
	})
}

// swap gives a route another value.
func (e *editor[T]) swap(id string, old *compiled[T], value T) {
	next := old.with(value)
	e.routes.Set(id, next)
	at := 0
	var was []*rule[T]
	old.each(func(_ hostKey, _ string, x cand[T]) { was = append(was, x.rule) })
	next.each(func(h hostKey, key string, x cand[T]) {
		e.update(h, func(n *node[T]) *node[T] { return n.swap(e.owner, key, was[at], x) })
		at++
	})
}

// update changes the path tree of one host.
func (e *editor[T]) update(h hostKey, change func(*node[T]) *node[T]) {
	var table *hamt.Editor[*node[T]]
	switch h.kind {
	case anyHost:
		e.any = change(e.any)
		return
	case exactHost:
		table = e.exact
	case suffixHost:
		table = e.suffix
	case prefixHost:
		table = e.prefix
	}
	was, _ := table.Get(h.name)
	switch is := change(was); is {
	case was:
	case nil:
		table.Delete(h.name)
	default:
		table.Set(h.name, is)
	}
}
