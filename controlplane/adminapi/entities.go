package adminapi

import (
	"errors"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/sekifuda/sekifuda/controlplane/config"
	"github.com/sekifuda/sekifuda/model/fault"
	"github.com/sekifuda/sekifuda/model/schema"
)

func (a *API) get(t *schema.Table) handler {
	return func(q *request) error {
		e, err := q.Config.Get(q.r.Context(), t, q.wild[0], nil)
		if err != nil {
			return q.plainNotFound(t, err)
		}
		return q.entity(http.StatusOK, e)
	}
}

func (a *API) create(t *schema.Table) handler {
	return func(q *request) error {
		body, err := q.body(t, "")
		if err != nil {
			return err
		}
		res, err := q.Config.Create(q.r.Context(), t, body, nil, q.origin())
		if err != nil {
			return err
		}
		return q.written(http.StatusCreated, res)
	}
}

func (a *API) put(t *schema.Table) handler {
	return func(q *request) error {
		body, err := q.body(t, "")
		if err != nil {
			return err
		}
		res, err := q.Config.Put(q.r.Context(), t, q.wild[0], body, nil, q.origin())
		if err != nil {
			return err
		}
		return q.written(http.StatusOK, res)
	}
}

func (a *API) patch(t *schema.Table) handler {
	return func(q *request) error { return q.patchOne(t, q.wild[0], nil) }
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

func (a *API) delete(t *schema.Table) handler {
	return func(q *request) error {
		rev, err := q.Config.Delete(q.r.Context(), t, q.wild[0], nil, q.origin())
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		return q.deleted(rev.Rev)
	}
}

// owner reads the parent of a nested path.
func (q *request) owner(parent *schema.Table, f *schema.Field) (*config.Under, error) {
	p, err := q.Config.Get(q.r.Context(), parent, q.wild[0], nil)
	if err != nil {
		return nil, bareNotFound(err)
	}
	return &config.Under{Field: f.Name, ID: p.ID}, nil
}

func (a *API) createUnder(parent, child *schema.Table, f *schema.Field) handler {
	return func(q *request) error {
		under, err := q.owner(parent, f)
		if err != nil {
			return err
		}
		body, err := q.body(child, "")
		if err != nil {
			return err
		}
		res, err := q.Config.Create(q.r.Context(), child, body, under, q.origin())
		if err != nil {
			return err
		}
		return q.written(http.StatusCreated, res)
	}
}

func (a *API) getUnder(parent, child *schema.Table, f *schema.Field) handler {
	return func(q *request) error {
		under, err := q.owner(parent, f)
		if err != nil {
			return err
		}
		e, err := q.Config.Get(q.r.Context(), child, q.wild[1], under)
		if err != nil {
			return q.nestedNotFound(child, err)
		}
		return q.entity(http.StatusOK, e)
	}
}

func (a *API) putUnder(parent, child *schema.Table, f *schema.Field) handler {
	return func(q *request) error {
		under, err := q.owner(parent, f)
		if err != nil {
			return err
		}
		body, err := q.body(child, "")
		if err != nil {
			return err
		}
		res, err := q.Config.Put(q.r.Context(), child, q.wild[1], body, under, q.origin())
		if err != nil {
			return err
		}
		return q.written(http.StatusOK, res)
	}
}

func (a *API) patchUnder(parent, child *schema.Table, f *schema.Field) handler {
	return func(q *request) error {
		under, err := q.owner(parent, f)
		if err != nil {
			return err
		}
		return q.patchOne(child, q.wild[1], under)
	}
}

func (a *API) deleteUnder(parent, child *schema.Table, f *schema.Field) handler {
	return func(q *request) error {
		under, err := q.owner(parent, f)
		if err != nil {
			return err
		}
		rev, err := q.Config.Delete(q.r.Context(), child, q.wild[1], under, q.origin())
		if err != nil {
			return q.nestedNotFound(child, err)
		}
		return q.deleted(rev.Rev)
	}
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
		res, err := q.Config.Create(q.r.Context(), parent, body, nil, q.origin())
		if err != nil {
			return err
		}
		link := schema.Body{f.Name: schema.Body{"id": res.ID}}
		linked, err := q.Config.Patch(q.r.Context(), t, child.ID, link, nil, q.origin())
		if err != nil {
			return err
		}
		res.Revision = linked.Revision
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

// plainNotFound turns a missing entity into Kong's short 404, which reads answer with. A
// certificate is told at length, or by its server name.
func (q *request) plainNotFound(t *schema.Table, err error) error {
	if !fault.Is(err, fault.NotFound) || t.Kind != "certificates" {
		return bareNotFound(err)
	}
	if !schema.IsID(q.wild[0]) {
		return &answered{http.StatusNotFound, "SNI not found"}
	}
	return err
}

// nestedNotFound is bareNotFound, except for ACLs by group: Kong 3.9.1 answers those in the
// proxy's style, with a request id.
func (q *request) nestedNotFound(child *schema.Table, err error) error {
	if child.Kind != "acls" || schema.IsID(q.wild[1]) || !fault.Is(err, fault.NotFound) {
		return bareNotFound(err)
	}
	q.json(http.StatusNotFound, map[string]string{
		"message": "Not found", "request_id": strings.ReplaceAll(uuid.NewString(), "-", ""),
	})
	return nil
}

func bareNotFound(err error) error {
	var f *fault.Error
	if errors.As(err, &f) && f.Kind == fault.NotFound {
		return &answered{http.StatusNotFound, "Not found"}
	}
	return err
}
