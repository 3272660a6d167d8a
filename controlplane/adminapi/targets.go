package adminapi

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"

	"github.com/sekifuda/sekifuda/controlplane/config"
	"github.com/sekifuda/sekifuda/model/fault"
	"github.com/sekifuda/sekifuda/model/schema"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

// targetPaths are the paths of targets that differ from the generic ones.
type targetPaths struct {
	upstreams, targets *schema.Table
	field              *schema.Field // of a target, that refers to its upstream
}

func (a *API) registerTargets() {
	s := a.Config.Schema()
	t := &targetPaths{upstreams: s.Table("upstreams"), targets: s.Table("targets")}
	if t.upstreams == nil || t.targets == nil {
		return
	}
	t.field = t.targets.Field("upstream")
	list := "/upstreams/{upstreams}/targets"
	one := list + "/{targets}"
	a.handle(list, map[string]handler{"GET": t.list, "POST": t.create})
	a.handle(list+"/all", only("GET", a.listUnder(t.upstreams, t.targets, t.field)))
	// A target's PUT changes what exists: Kong answers 404 for an unknown one.
	a.handle(one, only("PUT", place{t.targets, t.upstreams, t.field}.patch))
	if a.Health == nil {
		return
	}
	a.handle("/upstreams/{upstreams}/health", only("GET", t.health))
	for _, path := range []string{one, one + "/{address}"} {
		a.handle(path+"/healthy", only("PUT", t.set(true)))
		a.handle(path+"/unhealthy", only("PUT", t.set(false)))
	}
}

// create refuses what cannot be a target before anything else is looked at, in other words
// than the schema has: so does Kong 3.9.1.
func (t *targetPaths) create(q *request) error {
	p := place{t.targets, t.upstreams, t.field}
	return p.write(q, http.StatusCreated, func(body schema.Body, under *config.Under) (*config.Result, error) {
		if s, ok := body["target"].(string); ok {
			if _, ok, _ := schema.ParseAddress(s); !ok {
				return nil, schema.Violation(fault.Tree{"target": "Invalid target; not a valid hostname or ip address"})
			}
		}
		return q.Config.Create(q.r.Context(), p.table, body, under, q.origin())
	})
}

// list answers GET /upstreams/{}/targets: unlike other lists, the newest come first, and an
// offset is how many were seen.
func (t *targetPaths) list(q *request) error {
	under, err := q.owner(t.upstreams, t.field)
	if err != nil {
		return err
	}
	page, err := t.page(q, under)
	if err != nil {
		return err
	}
	q.json(http.StatusOK, page.body(q.path()))
	return nil
}

// targetPage is one page of an upstream's targets.
type targetPage struct {
	rows []schema.Body
	next int // offset of the next page; 0: there is none
}

func (p *targetPage) body(path string) map[string]any {
	body := map[string]any{"data": p.rows, "next": nil}
	if p.next > 0 {
		offset := strconv.Itoa(p.next)
		body["offset"], body["next"] = offset, nextURL(path, offset, nil)
	}
	return body
}

func (t *targetPaths) page(q *request, under *config.Under) (*targetPage, error) {
	args := q.r.URL.Query()
	size, from := defaultSize, 0
	var err error
	if args.Has("size") {
		if size, err = parseSize(args.Get("size")); err != nil {
			return nil, err
		}
	}
	if args.Has("offset") {
		if from, err = strconv.Atoi(args.Get("offset")); err != nil || from < 0 {
			return nil, &fault.Error{Kind: fault.InvalidOffset, Message: "'" + args.Get("offset") + "' is not a valid offset"}
		}
	}
	all, err := q.Config.All(q.r.Context(), t.targets, under)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b *config.Entity) int {
		older, newer := a.Message.(*entityv1.Target), b.Message.(*entityv1.Target)
		return cmp.Or(cmp.Compare(newer.GetCreatedAt(), older.GetCreatedAt()), cmp.Compare(b.ID, a.ID))
	})
	p := &targetPage{rows: []schema.Body{}}
	all = all[min(from, len(all)):]
	if len(all) > size {
		all, p.next = all[:size], from+size
	}
	for _, e := range all {
		row, err := q.render(e)
		if err != nil {
			return nil, err
		}
		p.rows = append(p.rows, row)
	}
	return p, nil
}
