package publish

import (
	"github.com/sekifuda/sekifuda/controlplane/fleet"
	"github.com/sekifuda/sekifuda/controlplane/xds"
)

// Observe returns the observer that tells a fleet what its nodes do.
func Observe(f *fleet.Fleet) xds.Observer { return observer{f} }

type observer struct{ *fleet.Fleet }

func (o observer) Connected(stream int64, n xds.Node) {
	o.Fleet.Connected(stream, fleet.Node{
		ID: n.ID, Group: n.Group, Hostname: n.Hostname, IP: n.IP, Version: n.Version, Labels: n.Labels,
	})
}
