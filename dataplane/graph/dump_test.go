package graph

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
)

// dump says all that a graph serves, line by line, whatever way it came about.
func (g *Graph) dump() string {
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for id, n := range g.routes.All() {
		if n.endpoint == nil {
			say("route %s left out", id)
			continue
		}
		ep := *n.endpoint
		say("route %s %s service=%s chain=%s %+v", id, ep.Route.JSON, dumpService(ep.Service), ep.Chain.dump(),
			[]any{ep.ServicePath, ep.Protocols, ep.RedirectStatus, ep.StripPath, ep.PreserveHost, ep.RequestBuffering})
		if ep.Upstream != nil {
			spec := *ep.Upstream.Spec
			balancer := spec.Balancer
			certs := fmt.Sprint(spec.ClientCert != nil, spec.RootCAs != nil)
			spec.Balancer, spec.ClientCert, spec.RootCAs = nil, nil, nil
			say("upstream of %s %+v %s", id, spec, certs)
			if balancer != nil {
				say("balancer of %s %+v", id, *balancer)
			}
		}
	}
	say("global chain=%s", g.Global().dump())
	for id, in := range g.Instances() {
		say("instance %s %s %s", id, in.Plugin.Name, in.Filter.(*filter).text)
	}
	for id, n := range g.consumers.All() {
		if n.consumer != nil {
			say("consumer %s %+v by name %v", id, *n.consumer, g.Directory().Consumer(n.consumer.Username) == n.consumer)
		}
		var names []string
		n.credentials.each(func(kind, id string) { names = append(names, kind+"/"+id) })
		slices.Sort(names)
		say("credentials of %s: %v", id, names)
	}
	for kind, t := range g.credentials {
		for c := range t.byID.All() {
			say("credential %s/%s %s of %s found %v", kind, c.ID, c.Key, c.consumer, dumpConsumer(g.Directory().Credential(kind, c.Key)))
		}
	}
	for id, n := range g.snis.All() {
		say("sni %s %s %v", id, n.name, g.Certificate(n.name) != nil)
	}
	for _, table := range []struct {
		name string
		len  int
	}{
		{"routes", g.routes.Len()}, {"services", g.services.Len()}, {"upstreams", g.upstreams.Len()},
		{"targets", g.targets.Len()}, {"certificates", g.certificates.Len()}, {"authorities", g.authorities.Len()},
		{"plugins", g.plugins.Len()}, {"consumers", g.consumers.Len()}, {"usernames", g.usernames.Len()},
		{"acls", g.acls.Len()}, {"scopes", g.scopes.Len()}, {"unique", g.unique.Len()}, {"links", g.links.Len()},
		{"routed", g.router.Len()},
	} {
		say("%d %s", table.len, table.name)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func dumpService(s *plugin.Service) string {
	if s == nil {
		return "none"
	}
	return string(s.JSON)
}

func dumpConsumer(c *plugin.Credential) string {
	if c == nil {
		return "nothing"
	}
	return fmt.Sprintf("%s %v", c.Consumer.JSON, c.Consumer.Groups)
}

func (c *Chain) dump() string {
	var b strings.Builder
	for _, s := range c.Steps {
		fmt.Fprintf(&b, "[%s", s.Plugin.Name)
		if s.Any != nil {
			fmt.Fprintf(&b, " any=%s", s.Any.ID)
		}
		for _, id := range sorted(s.ByConsumer) {
			fmt.Fprintf(&b, " %s=%s", id, s.ByConsumer[id].ID)
		}
		b.WriteString("]")
	}
	return b.String()
}
