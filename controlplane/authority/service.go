package authority

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sekifuda/sekifuda/controlplane/store"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// Service returns feedv1.BootstrapService, for a server with Credentials and Intercept.
func (a *Authority) Service() feedv1.BootstrapServiceServer { return &service{authority: a} }

type service struct {
	feedv1.UnimplementedBootstrapServiceServer
	authority *Authority
}

func (s *service) Enroll(ctx context.Context, q *feedv1.EnrollRequest) (*feedv1.EnrollResponse, error) {
	if t := q.GetNodeTime(); t.IsValid() {
		if skew := t.AsTime().Sub(s.authority.Now()); skew.Abs() > early {
			return nil, status.Errorf(codes.FailedPrecondition, "node %s: its clock is %s from the control plane's (%s), more than %s; set it first",
				q.GetNodeId(), skew.Round(time.Second), s.authority.Now().UTC().Format(time.RFC3339), early)
		}
	}
	issued, err := s.authority.Enroll(ctx, q.GetToken(), q.GetNodeId(), q.GetCsr())
	if err != nil {
		return nil, s.answer(ctx, "enrol", q.GetNodeId(), err)
	}
	return &feedv1.EnrollResponse{Identity: s.identity(issued)}, nil
}

func (s *service) Renew(ctx context.Context, q *feedv1.RenewRequest) (*feedv1.RenewResponse, error) {
	info := infoOf(ctx)
	if info == nil || info.trusted {
		return nil, errNoCertificate
	}
	p, err := s.authority.proven(info)
	if err != nil {
		return nil, err
	}
	issued, err := s.authority.Renew(ctx, p, q.GetCsr())
	if err != nil {
		return nil, s.answer(ctx, "renew", p.Node, err)
	}
	return &feedv1.RenewResponse{Identity: s.identity(issued)}, nil
}

func (s *service) identity(i Issued) *feedv1.Identity {
	return &feedv1.Identity{Certificate: i.Certificate, Authorities: i.Authorities, Now: timestamppb.New(s.authority.Now())}
}

// answer says a refusal to both sides; what broke goes to the log alone.
func (s *service) answer(ctx context.Context, act, node string, err error) error {
	if _, ok := status.FromError(err); ok {
		s.authority.Log.WarnContext(ctx, "node refused", "act", act, "node", node, "reason", status.Convert(err).Message())
		return err
	}
	s.authority.Log.ErrorContext(ctx, "node not served", "act", act, "node", node, "error", err)
	if errors.Is(err, store.ErrUnavailable) {
		return status.Error(codes.Unavailable, "the control plane's database does not answer; try again")
	}
	return status.Error(codes.Internal, "the control plane could not do it; its log says why")
}
