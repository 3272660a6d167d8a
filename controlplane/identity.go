package controlplane

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sekifuda/sekifuda/controlplane/authority"
	"github.com/sekifuda/sekifuda/controlplane/xds"
)

// identify lets the certificate decide who a node is. A node that says otherwise has a wrong
// setting or lies; either way it is not served under two names. Its group is the
// certificate's, whatever it says.
func identify(ctx context.Context, claimed xds.Node) (xds.Node, error) {
	node, group, ok := authority.From(ctx)
	switch {
	case !ok && claimed.Group == "":
		claimed.Group = xds.DefaultGroup
	case ok && claimed.ID != node:
		return claimed, status.Errorf(codes.PermissionDenied, "node %s: says that it is %s; its certificate decides", node, claimed.ID)
	case ok:
		claimed.Group = group
	}
	return claimed, nil
}

// reporter is the node whose reports a connection may send.
func reporter(ctx context.Context) (string, bool) {
	node, _, ok := authority.From(ctx)
	return node, ok
}
