package graph

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/dataplane/router"
	"github.com/sekifuda/sekifuda/dataplane/router/hamt"
	"github.com/sekifuda/sekifuda/plugin"
)

// edit is a graph in the making: first the entities are put into its tables, and what
// depends on them is marked; then resolve makes anew what is marked.
type edit struct {
	c    *Compiler
	prev *Graph

	routes       *hamt.Editor[*routeNode]
	services     *hamt.Editor[*serviceNode]
	upstreams    *hamt.Editor[*balancerNode]
	targets      *hamt.Editor[*targetNode]
	certificates *hamt.Editor[*certificateNode]
	authorities  *hamt.Editor[*authorityNode]
	snis         *hamt.Editor[*sniNode]
	plugins      *hamt.Editor[*pluginNode]
	consumers    *hamt.Editor[*consumerNode]
	usernames    *hamt.Editor[string]
	acls         *hamt.Editor[*aclNode]
	credentials  map[string]*credentialEditor
	tokens       *hamt.Editor[*plugin.Token]
	tokenIDs     *hamt.Editor[string]
	keyHash      *keyHash

	scopes *hamt.Editor[[]*pluginNode]
	unique *hamt.Editor[string]
	links  *hamt.Editor[hamt.Map[struct{}]]
	open   map[string]*hamt.Editor[struct{}] // links that this edit changes
	global *Chain

	staleRoutes    map[string]bool
	staleServices  map[string]bool
	staleBalancers map[string]bool
	staleConsumers map[string]*consumerDraft
	staleScopes    map[scope]bool

	routing    []router.Change[*Endpoint]
	violations []Violation
}

func begin(c *Compiler, prev *Graph) *edit {
	return &edit{
		c:            c,
		prev:         prev,
		routes:       prev.routes.Edit(),
		services:     prev.services.Edit(),
		upstreams:    prev.upstreams.Edit(),
		targets:      prev.targets.Edit(),
		certificates: prev.certificates.Edit(),
		authorities:  prev.authorities.Edit(),
		snis:         prev.snis.Edit(),
		plugins:      prev.plugins.Edit(),
		consumers:    prev.consumers.Edit(),
		usernames:    prev.usernames.Edit(),
		acls:         prev.acls.Edit(),
		credentials:  map[string]*credentialEditor{},
		tokens:       prev.tokens.Edit(),
		tokenIDs:     prev.tokenIDs.Edit(),
		keyHash:      prev.keyHash,
		scopes:       prev.scopes.Edit(),
		unique:       prev.unique.Edit(),
		links:        prev.links.Edit(),
		open:         map[string]*hamt.Editor[struct{}]{},
		global:       prev.Global(),

		staleRoutes:    map[string]bool{},
		staleServices:  map[string]bool{},
		staleBalancers: map[string]bool{},
		staleConsumers: map[string]*consumerDraft{},
		staleScopes:    map[scope]bool{},
	}
}

// resolve makes anew, in the order of their dependence, all that the changes made stale.
// Upstreams come last, and only when nothing is refused: they carry what was learnt at run
// time, which must not be touched for a graph that nobody will serve.
func (e *edit) resolve() {
	e.resolveConsumers()
	e.resolveScopes()
	e.checkServices()
	e.checkRoutes()
	if len(e.violations) > 0 {
		slices.SortStableFunc(e.violations, func(a, b Violation) int {
			return cmp.Or(cmp.Compare(a.Object, b.Object), cmp.Compare(a.Field, b.Field))
		})
		return
	}
	e.resolveBalancers()
	e.resolveServices()
	e.resolveRoutes()
}

// graph closes the edit.
func (e *edit) graph(rev uint64) (*Graph, error) {
	r, err := e.prev.router.Apply(e.routing)
	if err != nil {
		return nil, fmt.Errorf("apply routes: %w", err) // not reached: each was checked
	}
	for key, set := range e.open {
		if set.Len() == 0 {
			e.links.Delete(key)
		} else {
			e.links.Set(key, set.Map())
		}
	}
	now := e.c.Now
	if now == nil {
		now = time.Now
	}
	return &Graph{
		Revision:     rev,
		now:          now,
		router:       r,
		global:       e.global,
		routes:       e.routes.Map(),
		services:     e.services.Map(),
		upstreams:    e.upstreams.Map(),
		targets:      e.targets.Map(),
		certificates: e.certificates.Map(),
		authorities:  e.authorities.Map(),
		snis:         e.snis.Map(),
		plugins:      e.plugins.Map(),
		consumers:    e.consumers.Map(),
		usernames:    e.usernames.Map(),
		acls:         e.acls.Map(),
		tokens:       e.tokens.Map(),
		tokenIDs:     e.tokenIDs.Map(),
		credentials:  e.closeCredentials(),
		keyHash:      e.keyHash,
		scopes:       e.scopes.Map(),
		unique:       e.unique.Map(),
		links:        e.links.Map(),
	}, nil
}

func (e *edit) refuse(kind, id, field, reason string) {
	e.violations = append(e.violations, Violation{Object: kind + "/" + id, Field: field, Reason: reason})
}

// decode reads an entity; ok is false, and the violation noted, when it cannot be read.
func (e *edit) decode(c *Change, m proto.Message) (ok bool) {
	if err := proto.Unmarshal(c.Body, m); err != nil {
		e.refuse(c.Kind, c.ID, "", "cannot be decoded: "+err.Error())
		return false
	}
	return true
}

func uniqueKey(kind, field, value string) string { return kind + "\x00" + field + "\x00" + value }

// claim notes that id holds a unique value. It reports whether it does: another one's value
// is a violation.
func (e *edit) claim(kind, id, field, value string) bool {
	key := uniqueKey(kind, field, value)
	if holder, taken := e.unique.Get(key); taken && holder != id {
		e.refuse(kind, id, field, "is already taken by "+kind+"/"+holder)
		return false
	}
	e.unique.Set(key, id)
	return true
}

func (e *edit) release(kind, field, value string) { e.unique.Delete(uniqueKey(kind, field, value)) }

// The relations of which links are kept: from what is depended on to who depends.
const (
	routesOfService     = "routes of service"
	servicesOfHost      = "services of host"
	servicesOfCert      = "services of certificate"
	servicesOfAuthority = "services of ca_certificate"
	upstreamsOfCert     = "upstreams of certificate"
	targetsOfUpstream   = "targets of upstream"
	aclsOfConsumer      = "acls of consumer"
)

func linkKey(relation, to string) string { return relation + "\x00" + to }

func (e *edit) linkSet(relation, to string) *hamt.Editor[struct{}] {
	key := linkKey(relation, to)
	set := e.open[key]
	if set == nil {
		was, _ := e.links.Get(key)
		set = was.Edit()
		e.open[key] = set
	}
	return set
}

func (e *edit) link(relation, to, from string)   { e.linkSet(relation, to).Set(from, struct{}{}) }
func (e *edit) unlink(relation, to, from string) { e.linkSet(relation, to).Delete(from) }

// linked yields who depends on something.
func (e *edit) linked(relation, to string) iter.Seq[string] {
	set, _ := e.links.Get(linkKey(relation, to))
	if open := e.open[linkKey(relation, to)]; open != nil {
		set = open.Map()
	}
	return func(yield func(string) bool) {
		for id := range set.All() {
			if !yield(id) {
				return
			}
		}
	}
}

// sorted yields the keys of a set of marks in order, so that what is made of them does not
// depend on chance.
func sorted[V any](marks map[string]V) []string { return slices.Sorted(maps.Keys(marks)) }
