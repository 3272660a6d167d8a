// Package grpcapi is the operator's gRPC API, sekifuda.control.v1, over our use cases: what
// the seki command speaks.
//
// It knows gRPC; it does not know SQL or HTTP. Enter at Register.
package grpcapi

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	"github.com/sekifuda/sekifuda/controlplane/authority"
	"github.com/sekifuda/sekifuda/controlplane/block"
	"github.com/sekifuda/sekifuda/controlplane/config"
	"github.com/sekifuda/sekifuda/controlplane/fleet"
	"github.com/sekifuda/sekifuda/controlplane/keyring"
	"github.com/sekifuda/sekifuda/controlplane/release"
	"github.com/sekifuda/sekifuda/controlplane/store"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// Options are what the API is made of.
type Options struct {
	Config    *config.Config
	Fleet     *fleet.Fleet
	Authority *authority.Authority // nil: there is no AccessService
	Keys      *keyring.Keyring
	Audit     store.Audit
	Release   *release.Desk
	Blocks    *block.Desk
	Nodes     Nodes
	Version   string
	Database  func() string // "postgres" or "sqlite"
	// Move moves an embedded store to the PostgreSQL at a URL; nil: there is none to move.
	Move         func(ctx context.Context, url string) (*controlv1.MoveResponse, error)
	Started      time.Time
	Log          *slog.Logger
	RouterFlavor string // which language routes are written in
}

// Register adds the API's services to a server.
func Register(s *grpc.Server, o Options) {
	controlv1.RegisterConfigServiceServer(s, &configServer{Options: o})
	controlv1.RegisterFleetServiceServer(s, &fleetServer{Options: o})
	controlv1.RegisterRolloutServiceServer(s, &rolloutServer{Options: o})
	controlv1.RegisterBlockServiceServer(s, &blockServer{Options: o})
	controlv1.RegisterStoreServiceServer(s, &storeServer{Options: o})
	controlv1.RegisterBackupServiceServer(s, &backupServer{Options: o})
	if o.Authority != nil {
		controlv1.RegisterAccessServiceServer(s, &accessServer{Options: o})
	}
}

// Intercept turns faults of unary calls into statuses.
func Intercept(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		res, err := next(ctx, req)
		return res, status(log, info.FullMethod, err)
	}
}

// InterceptStream turns faults of streaming calls into statuses.
func InterceptStream(log *slog.Logger) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		return status(log, info.FullMethod, next(srv, ss))
	}
}
