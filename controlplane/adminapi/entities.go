package adminapi

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/sekifuda/sekifuda/controlplane/config"
	"github.com/sekifuda/sekifuda/model/fault"
	"github.com/sekifuda/sekifuda/model/schema"
)

// place is where entities are addressed: those of a kind at large, or those below an owner,
// which is named before them in the path.
type place struct {
	table  *schema.Table
	parent *schema.Table // nil: at large
	field  *schema.Field // of the entity, that refers to its owner
}

// under reads the owner; nil at large.
func (p place) under(q *request) (*config.Under, error) {
	if p.parent == nil {
		return nil, nil
	}
	return q.owner(p.parent, p.field)
}

// owner reads the parent of a nested path.
func (q *request) owner(parent *schema.Table, f *schema.Field) (*config.Under, error) {
	p, err := q.Config.Get(q.r.Context(), parent, q.wild[0], nil)
	if err != nil {
		return nil, bareNotFound(err)
	}
	return &config.Under{Field: f.Name, ID: p.ID}, nil
}

// name is the entity's own id or key in the path.
func (p place) name(q *request) string {
	if p.parent == nil {
		return q.wild[0]
	}
	return q.wild[1]
}

func (p place) get(q *request) error {
	under, err := p.under(q)
	if err != nil {
		return err
	}
	e, err := q.Config.Get(q.r.Context(), p.table, p.name(q), under)
	if err != nil {
		return p.notFound(q, err)
	}
	return q.entity(http.StatusOK, e)
}

func (p place) create(q *request) error {
	return p.write(q, http.StatusCreated, func(body schema.Body, under *config.Under) (*config.Result, error) {
		return q.Config.Create(q.r.Context(), p.table, body, under, q.origin())
	})
}

func (p place) put(q *request) error {
	return p.write(q, http.StatusOK, func(body schema.Body, under *config.Under) (*config.Result, error) {
		if p.table.Kind == "certificates" {
			listSNIs(body, p.name(q))
		}
		return q.Config.Put(q.r.Context(), p.table, p.name(q), body, under, q.origin())
	})
}

// listSNIs makes a PUT say all server names that the certificate will have: those of the body
// and the one by which it is addressed; none when the body names none, as in Kong 3.9.1.
func listSNIs(body schema.Body, address string) {
	var list []any
	switch said := body["snis"].(type) {
	case []any:
		list = said
	case string:
		list = []any{said}
	default:
		body["snis"] = []any{}
		return
	}
	if !schema.IsID(address) && !slices.Contains(list, any(address)) {
		list = append(list, address)
	}
	body["snis"] = list
}

// write reads the body, has it written and answers with the entity.
func (p place) write(q *request, status int, do func(schema.Body, *config.Under) (*config.Result, error)) error {
	under, err := p.under(q)
	if err != nil {
		return err
	}
	body, err := q.body(p.table, "")
	if err != nil {
		return err
	}
	res, err := do(body, under)
	if err != nil {
		return err
	}
	return q.written(status, res)
}

func (p place) patch(q *request) error {
	under, err := p.under(q)
	if err != nil {
		return err
	}
	err = q.patchOne(p.table, p.name(q), under)
	if p.bySNI(q) {
		return p.notFound(q, err)
	}
	return err
}

func (q *request) patchOne(t *schema.Table, idOrKey string, under *config.Under) error {
	pluginName := ""
	if t.Kind == "plugins" || under != nil {
		old, err := q.Config.Get(q.r.Context(), t, idOrKey, under)
		if err != nil {
			return bareNotFound(err)
		}
		pluginName = t.NameOf(old.Message)
	}
	body, err := q.body(t, pluginName)
	if err != nil {
		return err
	}
	res, err := q.Config.Patch(q.r.Context(), t, idOrKey, body, under, q.origin())
	if err != nil {
		return err
	}
	return q.written(http.StatusOK, res)
}

// delete succeeds for what does not exist, except below an owner.
func (p place) delete(q *request) error {
	under, err := p.under(q)
	if err != nil {
		return err
	}
	rev, err := q.Config.Delete(q.r.Context(), p.table, p.name(q), under, q.origin())
	if err != nil && (under != nil || p.bySNI(q) || !fault.Is(err, fault.NotFound)) {
		return p.notFound(q, err)
	}
	return q.deleted(rev.Rev)
}

// linked returns the child of /children/{c}/parent and the id it refers to, "" if none.
func (q *request) linked(t *schema.Table, f *schema.Field) (*config.Entity, string, error) {
	e, err := q.Config.Get(q.r.Context(), t, q.wild[0], nil)
	if err != nil {
		return nil, "", bareNotFound(err)
	}
	return e, t.Ref(e.Message, f.Name), nil
}

func (a *API) getParent(t, parent *schema.Table, f *schema.Field) handler {
	return func(q *request) error {
		_, id, err := q.linked(t, f)
		if err != nil {
			return err
		}
		if id == "" {
			return notFound(q)
		}
		e, err := q.Config.Get(q.r.Context(), parent, id, nil)
		if err != nil {
			return bareNotFound(err)
		}
		return q.entity(http.StatusOK, e)
	}
}

func (a *API) patchParent(t, parent *schema.Table, f *schema.Field) handler {
	return func(q *request) error {
		_, id, err := q.linked(t, f)
		if err != nil {
			return err
		}
		if id == "" {
			return notFound(q)
		}
		return q.patchOne(parent, id, nil)
	}
}

func (a *API) putParent(t, parent *schema.Table, f *schema.Field) handler {
	return func(q *request) error {
		child, id, err := q.linked(t, f)
		if err != nil {
			return err
		}
		body, err := q.body(parent, "")
		if err != nil {
			return err
		}
		if id != "" {
			res, err := q.Config.Put(q.r.Context(), parent, id, body, nil, q.origin())
			if err != nil {
				return err
			}
			return q.written(http.StatusOK, res)
		}
		res, err := q.Config.CreateOwner(q.r.Context(), parent, body, t, child.ID, f.Name, q.origin())
		if err != nil {
			return err
		}
		return q.written(http.StatusOK, res)
	}
}

func (a *API) deleteParent(t, _ *schema.Table, f *schema.Field) handler {
	return func(q *request) error {
		_, id, err := q.linked(t, f)
		if err != nil {
			return err
		}
		if id == "" {
			return notFound(q)
		}
		q.message(http.StatusMethodNotAllowed, "Method not allowed")
		return nil
	}
}

// notFound turns a missing entity into Kong's short 404. A certificate is told at length, or
// by its server name; and Kong 3.9.1 answers for ACLs by group in the proxy's style, with a
// request id.
func (p place) notFound(q *request, err error) error {
	switch {
	case !fault.Is(err, fault.NotFound):
		return err
	case p.bySNI(q):
		return &answered{http.StatusNotFound, "SNI not found"}
	case p.parent == nil && p.table.Kind == "certificates":
		return err
	case p.parent != nil && p.table.Kind == "acls" && !schema.IsID(p.name(q)):
		q.json(http.StatusNotFound, map[string]string{
			"message": "Not found", "request_id": strings.ReplaceAll(uuid.NewString(), "-", ""),
		})
		return nil
	}
	return bareNotFound(err)
}

// bySNI reports whether a certificate is addressed by a server name.
func (p place) bySNI(q *request) bool {
	return p.parent == nil && p.table.Kind == "certificates" && !schema.IsID(p.name(q))
}

func bareNotFound(err error) error {
	var f *fault.Error
	if errors.As(err, &f) && f.Kind == fault.NotFound {
		return &answered{http.StatusNotFound, "Not found"}
	}
	return err
}
