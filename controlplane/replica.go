package controlplane

import (
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/sekifuda/sekifuda/controlplane/fleet"
	"github.com/sekifuda/sekifuda/controlplane/replicas"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// newReplicas makes the others known to a fleet.
func newReplicas(o *Options, f *fleet.Fleet) *replicas.Replicas {
	var creds credentials.TransportCredentials
	if o.Authority != nil {
		creds = o.Authority.ReplicaCredentials()
	}
	level := func(string, time.Duration) error { return nil } // without a node there is nothing to change
	if o.Node != nil {
		level = o.Node.SetLogLevel
	}
	return replicas.New(replicas.Options{
		Store: o.Store, Fleet: f, Address: o.ReplicaAddress, Plain: len(o.Feeds) == 0, Credentials: creds, Secret: o.ReplicaSecret,
		SetLogLevel: level, Version: o.Version, Log: o.Log,
	})
}

// refusedObject names what a node refused, "" when it refuses nothing.
func refusedObject(n *controlv1.Node) string {
	for _, v := range n.GetRefusal().GetViolations() {
		return v.GetObject() + ": " + v.GetReason()
	}
	return ""
}
