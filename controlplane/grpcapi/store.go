package grpcapi

import (
	"context"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

type storeServer struct {
	controlv1.UnimplementedStoreServiceServer
	Options
}

func (s *storeServer) Move(ctx context.Context, q *controlv1.MoveRequest) (*controlv1.MoveResponse, error) {
	if s.Options.Move == nil {
		return nil, grpcstatus.Errorf(codes.FailedPrecondition, "the store is in %s already; an embedded one can move", s.Database())
	}
	if q.GetDatabaseUrl() == "" {
		return nil, grpcstatus.Error(codes.InvalidArgument, "database_url: say where to")
	}
	return s.Options.Move(ctx, q.GetDatabaseUrl())
}
