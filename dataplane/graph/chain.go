package graph

import (
	"cmp"
	"maps"
	"slices"
)

// Which configuration of a plugin applies to a request, by Kong 3.9.1's order: the most
// specific one, where a smaller number goes first.
const (
	forRouteServiceConsumer = 1 + iota
	forRouteConsumer
	forServiceConsumer
	forRouteService
	forConsumer
	forRoute
	forService
	forAll
)

func (n *pluginNode) specificity() int {
	route, service := n.scope.route != "", n.scope.service != ""
	switch {
	case n.consumer == "":
		switch {
		case route && service:
			return forRouteService
		case route:
			return forRoute
		case service:
			return forService
		}
		return forAll
	case route && service:
		return forRouteServiceConsumer
	case route:
		return forRouteConsumer
	case service:
		return forServiceConsumer
	}
	return forConsumer
}

// resolveScopes makes the global chain anew, if need be, and marks the routes whose chains
// are stale.
func (e *edit) resolveScopes() {
	if len(e.staleScopes) == 0 {
		return
	}
	if e.staleScopes[scope{}] {
		e.global = e.build(noSteps, web, scope{})
		services := e.services.Map()
		for id := range services.All() {
			e.staleChain(id)
		}
		routes := e.routes.Map()
		for id := range routes.All() {
			e.staleRoutes[id] = true
		}
		return
	}
	for s := range e.staleScopes {
		if s.route != "" {
			e.staleRoutes[s.route] = true
			continue
		}
		e.staleChain(s.service)
		for id := range e.linked(routesOfService, s.service) {
			e.staleRoutes[id] = true
		}
	}
}

func (e *edit) staleChain(service string) {
	if n, ok := e.services.Get(service); ok && n.chain != nil {
		next := *n
		next.chain = nil
		e.services.Set(service, &next)
	}
}

// chain returns the chain of a route. Routes without plugins of their own share that of
// their service, and services without any the global one.
func (e *edit) chain(route, service string, protocols Protocols) *Chain {
	if protocols&web == 0 {
		return e.streamChain(route, service)
	}
	if e.configured(scope{route: route}) || service != "" && e.configured(scope{route, service}) {
		scopes := []scope{{route: route}}
		if service != "" {
			scopes = append(scopes, scope{service: service}, scope{route, service})
		}
		return e.build(e.global, web, scopes...)
	}
	if service == "" {
		return e.global
	}
	n, _ := e.services.Get(service)
	if n.chain == nil {
		next := *n
		next.chain = e.global
		if e.configured(scope{service: service}) {
			next.chain = e.build(e.global, web, scope{service: service})
		}
		e.services.Set(service, &next)
		n = &next
	}
	return n.chain
}

// streamChain is the chain of a route for connections without HTTP: they are few, and share
// nothing.
func (e *edit) streamChain(route, service string) *Chain {
	scopes := []scope{{}, {route: route}}
	if service != "" {
		scopes = append(scopes, scope{service: service}, scope{route, service})
	}
	return e.build(noSteps, streams, scopes...)
}

func (e *edit) configured(s scope) bool {
	_, ok := e.scopes.Get(scopeKey(s))
	return ok
}

// draft is a step in the making: how specific is what is chosen so far.
type draft struct {
	Step
	rank  int
	any   int // specificity of Step.Any
	level map[string]int
}

// build makes a chain of the plugins of scopes that are for a family of protocols, over those
// of a less specific chain.
func (e *edit) build(base *Chain, family Protocols, scopes ...scope) *Chain {
	byRank := map[int]*draft{}
	for _, s := range scopes {
		list, _ := e.scopes.Get(scopeKey(s))
		for _, n := range list {
			if n.protocols&family == 0 {
				continue
			}
			d := byRank[n.rank]
			if d == nil {
				d = &draft{Step: Step{Plugin: n.instance.Plugin}, rank: n.rank}
				byRank[n.rank] = d
			}
			d.add(n)
		}
	}
	for i := range base.Steps {
		s := &base.Steps[i]
		rank := slices.Index(e.c.Plugins.All(), s.Plugin)
		if d := byRank[rank]; d != nil {
			d.over(s)
		} else {
			byRank[rank] = &draft{Step: *s, rank: rank}
		}
	}
	drafts := slices.SortedFunc(maps.Values(byRank), func(a, b *draft) int { return cmp.Compare(a.rank, b.rank) })
	c := &Chain{Steps: make([]Step, len(drafts))}
	for i, d := range drafts {
		c.Steps[i] = d.Step
	}
	return c
}

func (d *draft) add(n *pluginNode) {
	s := n.specificity()
	if n.consumer == "" {
		if d.Any == nil || s < d.any {
			d.Any, d.any = n.instance, s
		}
		return
	}
	if d.ByConsumer == nil {
		d.ByConsumer, d.level = map[string]*Instance{}, map[string]int{}
	}
	if was, ok := d.level[n.consumer]; !ok || s < was {
		d.ByConsumer[n.consumer], d.level[n.consumer] = n.instance, s
	}
}

// over puts the draft over the global step of the same plugin. What is configured for a
// consumer alone gives way to what is for this route and service.
func (d *draft) over(global *Step) {
	if d.Any == nil {
		d.Any = global.Any
	}
	if d.any == forRouteService || len(global.ByConsumer) == 0 {
		return
	}
	if d.ByConsumer == nil {
		d.ByConsumer = global.ByConsumer // shared: it may be large, and is not changed
		return
	}
	for id, in := range global.ByConsumer {
		if d.ByConsumer[id] == nil {
			d.ByConsumer[id] = in
		}
	}
}
