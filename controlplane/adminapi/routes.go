package adminapi

import (
	"sort"
	"strings"

	"github.com/sekifuda/sekifuda/model/schema"
)

// node is one segment of the API's paths.
type node struct {
	static map[string]*node
	param  *node
	end    *endpoint
}

// endpoint is what one path answers, by method.
type endpoint struct {
	methods map[string]handler
}

// match finds the endpoint of a path; words win over parameters.
func (n *node) match(segs []string, wild *[]string) *endpoint {
	if len(segs) == 0 {
		return n.end
	}
	if next := n.static[segs[0]]; next != nil {
		mark := len(*wild)
		if ep := next.match(segs[1:], wild); ep != nil {
			return ep
		}
		*wild = (*wild)[:mark]
	}
	if n.param == nil {
		return nil
	}
	*wild = append(*wild, segs[0])
	if ep := n.param.match(segs[1:], wild); ep != nil {
		return ep
	}
	*wild = (*wild)[:len(*wild)-1]
	return nil
}

// allow is the sorted list of methods for the Allow header.
func (e *endpoint) allow() string {
	list := []string{"HEAD", "OPTIONS"}
	for m := range e.methods {
		list = append(list, m)
	}
	if e.methods["GET"] == nil {
		list = list[1:]
	}
	sort.Strings(list)
	return strings.Join(list, ", ")
}

// ownPaths begin with it. Kong has no such paths, so /endpoints does not list them.
const ownPaths = "/sekifuda/"

// handle registers a path; a segment in braces is a parameter.
func (a *API) handle(path string, methods map[string]handler) {
	n := a.root
	for _, s := range strings.Split(strings.Trim(path, "/"), "/") {
		if s == "" {
			break
		}
		if strings.HasPrefix(s, "{") {
			if n.param == nil {
				n.param = &node{}
			}
			n = n.param
			continue
		}
		if n.static == nil {
			n.static = map[string]*node{}
		}
		if n.static[s] == nil {
			n.static[s] = &node{}
		}
		n = n.static[s]
	}
	if n.end == nil {
		n.end = &endpoint{methods: map[string]handler{}}
		if !strings.HasPrefix(path, ownPaths) {
			a.paths = append(a.paths, path)
		}
	}
	for m, h := range methods {
		n.end.methods[m] = h
	}
}

// register makes every path: those of the process by hand, those of entities from the
// tables.
func (a *API) register() {
	a.registerNode()
	a.registerDeclarative()
	for _, t := range a.Config.Schema().Tables() {
		a.registerTable(t)
	}
	a.registerTargets()
	a.registerWindows()
	a.registerBlocks()
	a.registerProxyCache()
	sort.Strings(a.paths)
}

func (a *API) registerTable(t *schema.Table) {
	if t.Path == "" {
		return
	}
	one := "/" + t.Path + "/{" + t.Kind + "}"
	if t.NestedOnly {
		a.handle("/"+t.Path, only("GET", notFound))
		a.handle(one, only("GET", notFound))
	} else {
		all := place{table: t}
		a.handle("/"+t.Path, map[string]handler{"GET": a.list(t), "POST": all.create})
		a.handle(one, all.one())
	}
	for _, f := range t.Fields {
		if f.Type != schema.Foreign {
			continue
		}
		parent := a.Config.Schema().Table(f.Refers)
		if parent == nil {
			continue
		}
		a.registerChild(parent, t, f)
		if t.NestedOnly || t.Kind == "snis" {
			// Kong disables /snis/{}/certificate and all of /targets.
			a.handle(one+"/"+f.Name, only("GET", notFound))
			continue
		}
		a.handle(one+"/"+f.Name, map[string]handler{
			"GET": a.getParent(t, parent, f), "PATCH": a.patchParent(t, parent, f),
			"PUT": a.putParent(t, parent, f), "DELETE": a.deleteParent(t, parent, f),
		})
	}
}

// registerChild makes /parents/{p}/children and /parents/{p}/children/{c}.
func (a *API) registerChild(parent, child *schema.Table, f *schema.Field) {
	list := "/" + parent.Path + "/{" + parent.Kind + "}/" + child.NestedPath
	below := place{child, parent, f}
	a.handle(list, map[string]handler{"GET": a.listUnder(parent, child, f), "POST": below.create})
	a.handle(list+"/{"+child.Kind+"}", below.one())
}

// one is what may be done with one entity.
func (p place) one() map[string]handler {
	return map[string]handler{"GET": p.get, "PATCH": p.patch, "PUT": p.put, "DELETE": p.delete}
}

func only(method string, h handler) map[string]handler { return map[string]handler{method: h} }

func notFound(q *request) error {
	q.message(404, "Not found")
	return nil
}
