package graph

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sekifuda/sekifuda/model/schema"
	"github.com/sekifuda/sekifuda/plugin"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

// scope is what a plugin is configured for, besides a consumer.
type scope struct{ route, service string }

func scopeKey(s scope) string { return s.route + "\x00" + s.service }

// pluginNode is a plugin entity with its compiled configuration.
type pluginNode struct {
	id        string
	body      []byte
	name      string
	scope     scope
	consumer  string
	rank      int // place of the plugin in the order in which filters run
	protocols Protocols
	instance  *Instance // nil: disabled, or for UDP only
}

func takePlugin(e *edit, c *Change) {
	old, ok := e.plugins.Get(c.ID)
	if !ok || old.sameAs(c) {
		return
	}
	e.plugins.Delete(c.ID)
	e.release("plugins", pluginUnique, old.uniqueValue())
	if old.instance == nil {
		return
	}
	e.staleScopes[old.scope] = true
	key := scopeKey(old.scope)
	list, _ := e.scopes.Get(key)
	list = slices.DeleteFunc(slices.Clone(list), func(n *pluginNode) bool { return n.id == c.ID })
	if len(list) == 0 {
		e.scopes.Delete(key)
	} else {
		e.scopes.Set(key, list)
	}
}

// sameAs reports whether an entity comes again as it is: its instance is then kept.
func (n *pluginNode) sameAs(c *Change) bool { return c.Body != nil && bytes.Equal(n.body, c.Body) }

// pluginUnique names the combination that Kong keeps unique.
const pluginUnique = "name,route,service,consumer"

func (n *pluginNode) uniqueValue() string {
	return n.name + "\x1f" + n.scope.route + "\x1f" + n.scope.service + "\x1f" + n.consumer
}

func putPlugin(e *edit, c *Change) {
	if _, ok := e.plugins.Get(c.ID); ok {
		return // it came again as it is, and was not taken
	}
	m := &entityv1.Plugin{}
	if !e.decode(c, m) {
		return
	}
	n := &pluginNode{
		id:       c.ID,
		body:     c.Body,
		name:     m.GetName(),
		scope:    scope{route: m.GetRoute(), service: m.GetService()},
		consumer: m.GetConsumer(),
	}
	if or(m.Enabled, true) {
		if !e.compile(n, m) {
			return
		}
	}
	if !e.claim("plugins", c.ID, pluginUnique, n.uniqueValue()) {
		return
	}
	e.plugins.Set(c.ID, n)
	if n.instance == nil {
		return
	}
	e.staleScopes[n.scope] = true
	list, _ := e.scopes.Get(scopeKey(n.scope))
	i, _ := slices.BinarySearchFunc(list, n, func(a, b *pluginNode) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.id, b.id))
	})
	e.scopes.Set(scopeKey(n.scope), slices.Insert(slices.Clone(list), i, n))
}

// compile makes the instance of an enabled plugin. It reports whether that was possible.
func (e *edit) compile(n *pluginNode, m *entityv1.Plugin) bool {
	p, rank := e.lookup(n.name)
	if p == nil {
		e.refuse("plugins", n.id, "name", "plugin '"+n.name+"' not enabled; add it to the 'plugins' configuration property")
		return false
	}
	if m.Config == nil {
		e.refuse("plugins", n.id, "config", "required field missing")
		return false
	}
	n.protocols = protocolsOf(m.Protocols)
	if n.protocols == 0 {
		return true // for udp alone
	}
	config, err := anypb.UnmarshalNew(m.Config, proto.UnmarshalOptions{})
	if err != nil {
		e.refuse("plugins", n.id, "config", "cannot be decoded: "+err.Error())
		return false
	}
	e.dereference(config)
	filter, err := p.New(config, e.host(plugin.Scope{
		PluginID:   n.id,
		InstanceID: n.id,
		RouteID:    n.scope.route,
		ServiceID:  n.scope.service,
		ConsumerID: n.consumer,
	}))
	if err != nil {
		for field, reason := range plugin.Faults(err) {
			e.refuse("plugins", n.id, field, reason)
		}
		return false
	}
	n.rank = rank
	n.instance = newInstance(n.id, p, filter)
	return true
}

// dereference puts the environment's texts in the place of references to them. As in Kong, what is
// not there is empty.
func (e *edit) dereference(config proto.Message) {
	if e.c.Getenv == nil {
		return
	}
	schema.Resolve(config, func(r schema.Reference) (string, bool) {
		if r.Vault != "env" {
			return "", false
		}
		kept, _ := e.c.Getenv(strings.ToUpper(strings.ReplaceAll(r.Name, "-", "_")))
		return r.Of(kept), true
	})
}

func (e *edit) lookup(name string) (*plugin.Plugin, int) {
	if e.c.Plugins == nil {
		return nil, 0
	}
	p := e.c.Plugins.Lookup(name)
	return p, slices.Index(e.c.Plugins.All(), p)
}

func (e *edit) host(s plugin.Scope) plugin.Host {
	if e.c.Host == nil {
		return Inert(s)
	}
	return e.c.Host(s)
}

func newInstance(id string, p *plugin.Plugin, filter plugin.Filter) *Instance {
	in := &Instance{ID: id, Plugin: p, Filter: filter}
	in.Request, _ = filter.(plugin.RequestFilter)
	in.Response, _ = filter.(plugin.ResponseFilter)
	in.Log, _ = filter.(plugin.LogFilter)
	in.Run, _ = filter.(plugin.Runner)
	return in
}
