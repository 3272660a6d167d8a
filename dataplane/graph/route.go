package graph

import (
	"errors"
	"net/netip"

	"github.com/sekifuda/sekifuda/dataplane/router"
	"github.com/sekifuda/sekifuda/model"
	"github.com/sekifuda/sekifuda/plugin"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

// routeNode is a route entity with the endpoint made of it.
type routeNode struct {
	match    *router.Route
	service  string // id, "" for none
	base     Endpoint
	left     bool      // out: it has an expression, which this flavor does not read
	endpoint *Endpoint // nil while the route is left out, or its service is disabled
}

func takeRoute(e *edit, c *Change) {
	old, ok := e.routes.Get(c.ID)
	if !ok {
		return
	}
	if old.service != "" {
		e.unlink(routesOfService, old.service, c.ID)
	}
	e.routes.Delete(c.ID)
	e.staleRoutes[c.ID] = true
}

func putRoute(e *edit, c *Change) {
	m := &entityv1.Route{}
	if !e.decode(c, m) {
		return
	}
	n := &routeNode{
		service: m.GetService(),
		match:   e.matchOf(c, m),
		left:    m.Expression != nil && e.c.RouterFlavor != model.Expressions,
		base: Endpoint{
			Route:             &plugin.Route{ID: c.ID, Name: m.GetName(), JSON: routeJSON(m), Tags: m.Tags},
			Protocols:         protocolsOf(m.Protocols),
			RedirectStatus:    int(or(m.HttpsRedirectStatusCode, 426)),
			StripPath:         or(m.StripPath, true),
			PreserveHost:      m.GetPreserveHost(),
			RequestBuffering:  or(m.RequestBuffering, true),
			ResponseBuffering: or(m.ResponseBuffering, true),
		},
	}
	if n.match == nil {
		return
	}
	if err := router.Check(n.match); err != nil {
		e.refuseRoute(c, err)
		return
	}
	e.routes.Set(c.ID, n)
	e.staleRoutes[c.ID] = true
	if n.service != "" {
		e.link(routesOfService, n.service, c.ID)
	}
}

// matchOf says what a route matches; nil: the violation is noted.
func (e *edit) matchOf(c *Change, m *entityv1.Route) *router.Route {
	strict := e.c.RouterFlavor == model.Expressions
	r := &router.Route{
		ID:            c.ID,
		Protocols:     m.Protocols,
		Methods:       m.Methods,
		Hosts:         m.Hosts,
		Paths:         m.Paths,
		Headers:       stringsOf(m.Headers),
		SNIs:          m.Snis,
		RegexPriority: m.GetRegexPriority(),
		StripPath:     or(m.StripPath, true),
		CreatedAt:     m.GetCreatedAt(),
		Strict:        strict,
	}
	if strict {
		r.Expression, r.Priority = m.GetExpression(), uint64(m.GetPriority())
	}
	ok := true
	for _, s := range m.Sources {
		ok = e.netOf(c, "sources", s.GetIp(), s.Port, &r.Sources) && ok
	}
	for _, d := range m.Destinations {
		ok = e.netOf(c, "destinations", d.GetIp(), d.Port, &r.Destinations) && ok
	}
	if !ok {
		return nil
	}
	return r
}

// netOf reads one end of a connection.
func (e *edit) netOf(c *Change, field, ip string, port *int64, to *[]router.Net) bool {
	n := router.Net{Port: int(or(port, -1))}
	if ip != "" {
		r, err := netip.ParsePrefix(ip)
		if a, e := netip.ParseAddr(ip); e == nil {
			r, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			e.refuse(c.Kind, c.ID, field, "invalid ip or cidr range: '"+ip+"'")
			return false
		}
		n.Range = r.Masked()
	}
	*to = append(*to, n)
	return true
}

func (e *edit) refuseRoute(c *Change, err error) {
	var re *router.RouteError
	if errors.As(err, &re) {
		e.refuse(c.Kind, c.ID, re.Field, re.Value+": "+re.Err.Error())
		return
	}
	e.refuse(c.Kind, c.ID, "", err.Error())
}

func protocolsOf(list []string) Protocols {
	if len(list) == 0 {
		return HTTP | HTTPS
	}
	var p Protocols
	for _, name := range list {
		switch name {
		case "http":
			p |= HTTP
		case "https":
			p |= HTTPS
		case "grpc":
			p |= GRPC
		case "grpcs":
			p |= GRPCS
		case "tcp":
			p |= TCP
		case "tls":
			p |= TLS
		case "tls_passthrough":
			p |= Passthrough
		}
	}
	return p
}

// or returns what a field says, or Kong's default for one that says nothing.
func or[T any](field *T, byDefault T) T {
	if field == nil {
		return byDefault
	}
	return *field
}

// checkRoutes refuses routes to services that are not there.
func (e *edit) checkRoutes() {
	for id := range e.staleRoutes {
		n, ok := e.routes.Get(id)
		if !ok || n.service == "" {
			continue
		}
		if _, ok := e.services.Get(n.service); !ok {
			e.refuse("routes", id, "service", "services/"+n.service+" does not exist")
		}
	}
}

// resolveRoutes makes the endpoints of stale routes, and tells the router.
func (e *edit) resolveRoutes() {
	for _, id := range sorted(e.staleRoutes) {
		n, ok := e.routes.Get(id)
		if !ok {
			e.routing = append(e.routing, router.Change[*Endpoint]{ID: id})
			continue
		}
		ep := e.endpoint(n)
		if ep != nil && n.endpoint != nil && *ep == *n.endpoint {
			continue
		}
		next := *n
		next.endpoint = ep
		e.routes.Set(id, &next)
		change := router.Change[*Endpoint]{ID: id, Value: ep}
		if ep != nil {
			change.Route = n.match
		}
		e.routing = append(e.routing, change)
	}
}

// endpoint returns nil for a route that is not served.
func (e *edit) endpoint(n *routeNode) *Endpoint {
	if n.left || n.base.Protocols == 0 { // the latter: of udp alone
		return nil
	}
	ep := n.base
	if n.service != "" {
		s, _ := e.services.Get(n.service)
		if !s.enabled {
			return nil
		}
		ep.Service, ep.Upstream, ep.ServicePath = s.service, s.upstream, s.entity.GetPath()
	}
	ep.Chain = e.chain(n.base.Route.ID, n.service, n.base.Protocols)
	return &ep
}
