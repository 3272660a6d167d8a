package controlplane

import (
	"context"
	"net/http"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/sekifuda/sekifuda/controlplane/adminapi"
	"github.com/sekifuda/sekifuda/controlplane/fleet"
	"github.com/sekifuda/sekifuda/controlplane/guard"
	"github.com/sekifuda/sekifuda/controlplane/replicas"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// newReplicas makes the others known to a fleet.
func newReplicas(o *Options, f *fleet.Fleet, carrier replicas.Carrier) *replicas.Replicas {
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
		SetLogLevel: level, Carrier: carrier, Version: o.Version, Log: o.Log,
	})
}

// refusedObject names what a node refused, "" when it refuses nothing.
func refusedObject(n *controlv1.Node) string {
	for _, v := range n.GetRefusal().GetViolations() {
		return v.GetObject() + ": " + v.GetReason()
	}
	return ""
}

// carrier has calls of the Admin API answered at the replica that can. Guards stood before them
// where they came in.
type carrier struct{ api http.Handler }

// Pack implements replicas.Carrier.
func (*carrier) Pack(ctx context.Context) []byte { return guard.Pack(ctx) }

// Serve implements replicas.Carrier.
func (c *carrier) Serve(w http.ResponseWriter, r *http.Request, packed []byte) bool {
	ctx, noted, err := guard.Unpack(r.Context(), packed)
	if err != nil {
		http.Error(w, "the call does not say who asks", http.StatusBadRequest)
		return false
	}
	r.Header.Set(adminapi.Forwarded, "1")
	c.api.ServeHTTP(w, r.WithContext(ctx))
	return noted()
}

// Noted implements replicas.Carrier.
func (*carrier) Noted(ctx context.Context) { guard.InLog(ctx) }
