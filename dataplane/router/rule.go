package router

import (
	"fmt"
	"strings"
)

// RouteError says why a route cannot be compiled.
type RouteError struct {
	ID    string // of the route
	Field string // "paths", "hosts", ...
	Value string // as the route has it
	Err   error
}

func (e *RouteError) Error() string {
	return fmt.Sprintf("compile route %s: %s %q: %v", e.ID, e.Field, e.Value, e.Err)
}

// Unwrap returns the reason.
func (e *RouteError) Unwrap() error { return e.Err }

// rule is a compiled sub-route: all that a request must match besides host and path.
type rule[T any] struct {
	rank    string
	tests   *tests
	value   T
	noPaths bool
}

// cand is a rule at one place of a path tree.
type cand[T any] struct {
	prio  uint64
	rule  *rule[T]
	regex *pathRegex // nil: the place in the tree is the whole condition
	port  uint16     // 0: any
	order uint16     // of a regex among those of its route
}

// before reports whether c is to be chosen when both match.
func (c *cand[T]) before(o *cand[T]) bool {
	if c.prio != o.prio {
		return c.prio > o.prio
	}
	if o.rule == nil || c.rule == nil {
		return o.rule == nil && c.rule != nil
	}
	if c.rule.rank != o.rule.rank {
		return c.rule.rank > o.rule.rank
	}
	return c.order < o.order
}

// compiled is one route with its places in the tables.
type compiled[T any] struct {
	route *Route
	hosts []hostKey
	parts []part[T]
}

type part[T any] struct {
	prio  uint64
	rule  *rule[T]
	paths []place
}

// place is where a path hangs in the tree.
type place struct {
	key   string
	regex *pathRegex
}

// maxRoutePaths keeps positions of paths within cand.order; it is far above what a body of
// the Admin API can hold in practice.
const maxRoutePaths = 1 << 16

func compile[T any](r *Route, value T) (*compiled[T], error) {
	c := &compiled[T]{route: r}
	if r.Expression != "" {
		return c, c.compileExpression(r, value)
	}
	if len(r.Paths) > maxRoutePaths {
		return nil, &RouteError{r.ID, "paths", "", fmt.Errorf("more than %d", maxRoutePaths)}
	}
	var err error
	if c.hosts, err = compileHosts(r); err != nil {
		return nil, err
	}
	t, err := compileTests(r)
	if err != nil {
		return nil, err
	}
	if t.stream {
		return c, c.compileStream(r, t, strings.ToLower(r.ID), value)
	}
	for _, sub := range split(r) {
		p := part[T]{
			prio:  priority(r, sub.paths),
			rule:  &rule[T]{rank: sub.rank, tests: t, value: value, noPaths: len(sub.paths) == 0},
			paths: []place{{}},
		}
		if len(sub.paths) > 0 {
			if p.paths, err = compilePaths(r, sub.paths); err != nil {
				return nil, err
			}
		}
		c.parts = append(c.parts, p)
	}
	return c, nil
}

// answersHTTP reports whether protocols, of which Kong mixes no two families, are HTTP's.
func answersHTTP(protocols []string) bool {
	if len(protocols) == 0 {
		return true
	}
	switch protocols[0] {
	case "tcp", "udp", "tls", "tls_passthrough":
		return false
	}
	return true
}

func compileHosts(r *Route) ([]hostKey, error) {
	if len(r.Hosts) == 0 {
		return []hostKey{{}}, nil
	}
	keys := make([]hostKey, 0, len(r.Hosts))
	seen := map[hostKey]bool{}
	for _, h := range r.Hosts {
		k, err := parseHost(h)
		if err != nil {
			return nil, &RouteError{r.ID, "hosts", h, err}
		}
		if !seen[k] {
			seen[k] = true
			keys = append(keys, k)
		}
	}
	return keys, nil
}

func compilePaths(r *Route, paths []string) ([]place, error) {
	places := make([]place, 0, len(paths))
	seen := map[string]bool{}
	for _, path := range paths {
		if seen[path] {
			continue
		}
		seen[path] = true
		if !isRegex(path) {
			places = append(places, place{key: path})
			continue
		}
		re, err := compilePathRegex(path[1:])
		if err != nil {
			return nil, &RouteError{r.ID, "paths", path, err}
		}
		places = append(places, place{key: re.literal, regex: re})
	}
	return places, nil
}

// with returns the same route with another value.
func (c *compiled[T]) with(value T) *compiled[T] {
	n := &compiled[T]{route: c.route, hosts: c.hosts, parts: make([]part[T], len(c.parts))}
	for i, p := range c.parts {
		r := *p.rule
		r.value = value
		p.rule = &r
		n.parts[i] = p
	}
	return n
}

// each calls f for every place of the route: the host's table, the key in its path tree, and
// what stands there.
func (c *compiled[T]) each(f func(hostKey, string, cand[T])) {
	for _, h := range c.hosts {
		for i := range c.parts {
			p := &c.parts[i]
			for j := range p.paths {
				f(h, p.paths[j].key, cand[T]{
					prio:  p.prio,
					rule:  p.rule,
					regex: p.paths[j].regex,
					port:  h.port,
					order: uint16(j),
				})
			}
		}
	}
}
