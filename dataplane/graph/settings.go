package graph

import (
	"cmp"
	"fmt"

	"github.com/sekifuda/sekifuda/model"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// putSettings refuses what means something else to this node than to the control plane.
func putSettings(e *edit, c *Change) {
	m := &feedv1.Settings{}
	if !e.decode(c, m) {
		return
	}
	want, have := cmp.Or(m.GetRouterFlavor(), model.TraditionalCompatible), cmp.Or(e.c.RouterFlavor, model.TraditionalCompatible)
	if want != have {
		e.refuse(c.Kind, c.ID, "router_flavor", fmt.Sprintf("the control plane's routes are %s, this node was started for %s: give both the same --router-flavor", want, have))
	}
}
