// Package router finds the route of a request by Kong 3.9.1's traditional_compatible rules,
// in the order in which Kong executes them.
//
// It knows hosts, paths, methods, headers, SNIs and priorities; it does not know plugins or
// upstreams: what it finds is the caller's own value. A router is immutable, and the next
// one shares with it what did not change. Enter at Router.Apply and Router.Match.
package router

import "github.com/sekifuda/sekifuda/plugin"

// Route is what a request must match. All attributes that are not empty must match; within
// one, any value may.
type Route struct {
	ID            string // UUID text; the larger one wins between equal priorities
	Protocols     []string
	Methods       []string
	Hosts         []string
	Paths         []string // "~" begins a regex
	Headers       map[string][]string
	SNIs          []string
	RegexPriority int64
	StripPath     bool
	CreatedAt     int64
}

// Request is what the router reads of an exchange.
type Request struct {
	Method string
	Host   string // without port, as sent
	Port   uint16 // of the Host header, else of the listener
	Path   string // normalised as Kong does
	SNI    string // "" on a plain connection
	TLS    bool
	Header *plugin.Header
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
}

// Router finds T by route.
type Router[T any] struct{}

// Change puts a route, or removes the one of ID when Route is nil.
type Change[T any] struct {
	ID    string
	Route *Route
	Value T
}

// Apply returns a router with the changes made; r stays as it is. The error names the route
// that cannot be compiled.
func (r *Router[T]) Apply(changes []Change[T]) (*Router[T], error) { panic("not yet") }

// Match finds the route of a request and fills m. It does not allocate, except for the
// captures of a regex.
func (r *Router[T]) Match(q *Request, m *Match[T]) bool { panic("not yet") }

// NormalizePath returns a request path as Kong compares it: percent-encoding undone except
// for reserved characters, dot segments removed, slashes merged. A path that is already
// normal is returned as it is, without allocation.
func NormalizePath(path string) string { panic("not yet") }
