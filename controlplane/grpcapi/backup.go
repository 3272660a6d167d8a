package grpcapi

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/sekifuda/sekifuda/controlplane/config"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// maxRestored bounds the entities of one restore, which are held in memory.
const maxRestored = 5_000_000

type backupServer struct {
	controlv1.UnimplementedBackupServiceServer
	Options
}

func (s *backupServer) Restore(stream grpc.ClientStreamingServer[controlv1.RestoreRequest, controlv1.RestoreResponse]) error {
	var entities []*config.Entity
	var how *controlv1.RestoreRequest
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if how == nil {
			how = req
		}
		for _, e := range req.GetEntities() {
			stored, err := s.stored(e)
			if err != nil {
				return err
			}
			entities = append(entities, stored)
		}
		if len(entities) > maxRestored {
			return grpcstatus.Errorf(codes.ResourceExhausted, "a restore has at most %d entities", maxRestored)
		}
	}
	if how == nil {
		return grpcstatus.Error(codes.InvalidArgument, "a restore without a request")
	}
	r, err := s.restore(stream.Context(), entities, how)
	if err != nil {
		return err
	}
	return stream.SendAndClose(&controlv1.RestoreResponse{
		Revision: revision(r.Revision), Written: uint64(r.Written), Deleted: uint64(r.Deleted), Same: uint64(r.Same),
	})
}

func (s *backupServer) restore(ctx context.Context, entities []*config.Entity, how *controlv1.RestoreRequest) (config.Restored, error) {
	by := config.Origin{Actor: actor(ctx), Client: said(ctx, "user-agent"), Message: how.GetMessage()}
	return s.Config.Restore(ctx, entities, how.GetDryRun(), by)
}

func (s *backupServer) stored(e *controlv1.Entity) (*config.Entity, error) {
	t := s.Config.Schema().Table(e.GetKind())
	if t == nil {
		return nil, grpcstatus.Errorf(codes.InvalidArgument, "this version has no kind named %q", e.GetKind())
	}
	m, err := e.GetSpec().UnmarshalNew()
	if err != nil {
		return nil, grpcstatus.Errorf(codes.InvalidArgument, "%s %s: %v", e.GetKind(), e.GetId(), err)
	}
	if s.Config.Schema().TableOf(m) != t || t.ID(m) != e.GetId() {
		return nil, grpcstatus.Errorf(codes.InvalidArgument, "%s %s holds something else", e.GetKind(), e.GetId())
	}
	return &config.Entity{Table: t, ID: e.GetId(), Message: m}, nil
}
