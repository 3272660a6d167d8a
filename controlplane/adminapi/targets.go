package adminapi

import (
	"net/http"

	"github.com/sekifuda/sekifuda/controlplane/config"
	"github.com/sekifuda/sekifuda/model/fault"
	"github.com/sekifuda/sekifuda/model/schema"
)

// registerTargets makes the paths of targets that differ from the generic ones.
func (a *API) registerTargets() {
	s := a.Config.Schema()
	upstreams, targets := s.Table("upstreams"), s.Table("targets")
	if upstreams == nil || targets == nil {
		return
	}
	f := targets.Field("upstream")
	a.handle("/upstreams/{upstreams}/targets/all", only("GET", a.listUnder(upstreams, targets, f)))
	// A target's PUT changes what exists: Kong answers 404 for an unknown one.
	a.handle("/upstreams/{upstreams}/targets/{targets}", only("PUT", a.putTarget(upstreams, targets, f)))
}

func (a *API) putTarget(parent, t *schema.Table, f *schema.Field) handler {
	return func(q *request) error {
		under, err := q.owner(parent, f)
		if err != nil {
			return err
		}
		if _, err := q.Config.Get(q.r.Context(), t, q.wild[1], under); err != nil {
			return bareNotFound(err)
		}
		return q.putOrPatchTarget(t, under)
	}
}

func (q *request) putOrPatchTarget(t *schema.Table, under *config.Under) error {
	body, err := q.body(t, "")
	if err != nil {
		return err
	}
	res, err := q.Config.Patch(q.r.Context(), t, q.wild[1], body, under, q.origin())
	if fault.Is(err, fault.NotFound) {
		return bareNotFound(err)
	}
	if err != nil {
		return err
	}
	return q.written(http.StatusOK, res)
}
