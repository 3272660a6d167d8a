package grpcapi

import (
	"context"
	"crypto/rand"
	"strings"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/sekifuda/sekifuda/model/fault"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// Nodes answers for what only nodes know, those of all replicas. What is missing of replicas that
// did not answer, the fleet names.
type Nodes interface {
	// List lists the nodes, ascending by id.
	List(ctx context.Context) []*controlv1.Node
	// Limits tells what is counted, and what could not be found out.
	Limits(ctx context.Context, o *feedv1.LimitOrder) (uses []*feedv1.LimitUse, errors []string)
	// Refusals tells why requests were refused.
	Refusals(ctx context.Context, q *feedv1.RefusalQuery) []*controlv1.Refused
}

const (
	defaultMost = 10
	maxMost     = 1000
)

// most is how many are asked for.
func most(n uint32) uint32 {
	if n == 0 {
		return defaultMost
	}
	return min(n, maxMost)
}

func (s *fleetServer) ListLimits(ctx context.Context, req *controlv1.ListLimitsRequest) (*controlv1.ListLimitsResponse, error) {
	who, err := s.counted(ctx, req.GetOf())
	if err != nil {
		return nil, err
	}
	uses, errors := s.Nodes.Limits(ctx, &feedv1.LimitOrder{PluginId: req.GetPluginId(), Identifier: who, Most: most(req.GetMost())})
	return &controlv1.ListLimitsResponse{Uses: uses, Errors: errors, Unheard: s.Fleet.Unheard()}, nil
}

func (s *fleetServer) ResetLimits(ctx context.Context, req *controlv1.ResetLimitsRequest) (*controlv1.ResetLimitsResponse, error) {
	if req.GetOf() == "" {
		return nil, grpcstatus.Error(codes.InvalidArgument, "of: say whose counts to set back")
	}
	who, err := s.counted(ctx, req.GetOf())
	if err != nil {
		return nil, err
	}
	uses, errors := s.Nodes.Limits(ctx, &feedv1.LimitOrder{PluginId: req.GetPluginId(), Identifier: who, Reset_: true, Order: rand.Text()})
	if len(errors) > 0 {
		return nil, grpcstatus.Error(codes.Unavailable, strings.Join(errors, "; "))
	}
	s.Log.InfoContext(ctx, "counts are set back", "plugin_id", req.GetPluginId(), "of", req.GetOf(), "by", actor(ctx), "reason", req.GetReason())
	return &controlv1.ResetLimitsResponse{Uses: uses, Unheard: s.Fleet.Unheard()}, nil
}

// counted is the identifier under which somebody is counted: a consumer's id when it is the name
// of one, else what was said.
func (s *fleetServer) counted(ctx context.Context, of string) (string, error) {
	if of == "" {
		return "", nil
	}
	e, err := s.Config.Get(ctx, s.Config.Schema().Table("consumers"), of, nil)
	if fault.Is(err, fault.NotFound) {
		return of, nil
	}
	if err != nil {
		return "", err
	}
	return e.ID, nil
}

func (s *fleetServer) ListRefusals(ctx context.Context, req *controlv1.ListRefusalsRequest) (*controlv1.ListRefusalsResponse, error) {
	all := s.Nodes.Refusals(ctx, &feedv1.RefusalQuery{RequestId: req.GetRequestId(), Newest: most(req.GetNewest())})
	return &controlv1.ListRefusalsResponse{Refusals: all, Unheard: s.Fleet.Unheard()}, nil
}
