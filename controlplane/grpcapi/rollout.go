package grpcapi

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/controlplane/release"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// waitWhole is how long a move of a group is waited for when the client does not say.
const waitWhole = 10 * time.Second

type rolloutServer struct {
	controlv1.UnimplementedRolloutServiceServer
	Options
}

func (s *rolloutServer) ListGroups(ctx context.Context, _ *controlv1.ListGroupsRequest) (*controlv1.ListGroupsResponse, error) {
	groups, err := s.Release.List(ctx)
	if err != nil {
		return nil, err
	}
	return &controlv1.ListGroupsResponse{Groups: s.withNodes(groups)}, nil
}

// withNodes adds how many nodes each group has, and the groups that nodes are in but nobody
// ever assigned.
func (s *rolloutServer) withNodes(groups []*controlv1.Group) []*controlv1.Group {
	byName := make(map[string]*controlv1.Group, len(groups))
	for i, g := range groups {
		groups[i] = proto.CloneOf(g)
		byName[g.GetName()] = groups[i]
	}
	for is, n := range s.Fleet.Standings() {
		g := byName[is.Group]
		if g == nil {
			g = &controlv1.Group{Name: is.Group, Generation: 1, Assignment: &controlv1.Assignment{Mode: controlv1.Mode_MODE_FOLLOW}}
			byName[is.Group] = g
			groups = append(groups, g)
		}
		g.NodesConnected += uint32(n)
		if is.Current && is.Generation >= g.GetGeneration() {
			g.NodesCurrent += uint32(n)
		}
	}
	return groups
}

func (s *rolloutServer) SetGroup(ctx context.Context, req *controlv1.SetGroupRequest) (*controlv1.SetGroupResponse, error) {
	g, err := s.Release.Set(ctx, req.GetName(), req.GetAssignment(), by(ctx, req.GetReason()))
	if err != nil {
		return nil, err
	}
	return &controlv1.SetGroupResponse{Group: s.moved(ctx, req.GetWait(), g)[0]}, nil
}

func (s *rolloutServer) SwapGroups(ctx context.Context, req *controlv1.SwapGroupsRequest) (*controlv1.SwapGroupsResponse, error) {
	a, b, err := s.Release.Swap(ctx, req.GetA(), req.GetB(), by(ctx, req.GetReason()))
	if err != nil {
		return nil, err
	}
	both := s.moved(ctx, req.GetWait(), a, b)
	return &controlv1.SwapGroupsResponse{A: both[0], B: both[1]}, nil
}

func (s *rolloutServer) RollbackGroup(ctx context.Context, req *controlv1.RollbackGroupRequest) (*controlv1.RollbackGroupResponse, error) {
	g, err := s.Release.Rollback(ctx, req.GetName(), by(ctx, req.GetReason()))
	if err != nil {
		return nil, err
	}
	return &controlv1.RollbackGroupResponse{Group: s.moved(ctx, req.GetWait(), g)[0]}, nil
}

// moved waits for the nodes of groups that were assigned anew, if that is asked.
func (s *rolloutServer) moved(ctx context.Context, w *controlv1.Wait, groups ...*controlv1.Group) []*controlv1.Group {
	if w != nil {
		d := waitWhole
		if w.GetTimeout() != nil {
			d = w.GetTimeout().AsDuration()
		}
		wctx, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		generations := make(map[string]uint64, len(groups))
		for _, g := range groups {
			generations[g.GetName()] = g.GetGeneration()
		}
		s.Fleet.WaitAssigned(wctx, generations)
	}
	return s.withNodes(groups)
}

func (s *rolloutServer) CreateRelease(ctx context.Context, req *controlv1.CreateReleaseRequest) (*controlv1.CreateReleaseResponse, error) {
	r, err := s.Release.Create(ctx, release.Plan{
		Group: req.GetGroup(), Rev: req.GetRev(), Stages: req.GetStages(), Gate: req.GetGate(),
	}, by(ctx, req.GetReason()))
	if err != nil {
		return nil, err
	}
	return &controlv1.CreateReleaseResponse{Release: r}, nil
}

func (s *rolloutServer) GetRelease(ctx context.Context, req *controlv1.GetReleaseRequest) (*controlv1.GetReleaseResponse, error) {
	r, err := s.Release.Release(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	return &controlv1.GetReleaseResponse{Release: r}, nil
}

func (s *rolloutServer) ListReleases(ctx context.Context, req *controlv1.ListReleasesRequest) (*controlv1.ListReleasesResponse, error) {
	all, err := s.Release.Releases(ctx, req.GetGroup())
	if err != nil {
		return nil, err
	}
	return &controlv1.ListReleasesResponse{Releases: all}, nil
}

func (s *rolloutServer) StepRelease(ctx context.Context, req *controlv1.StepReleaseRequest) (*controlv1.StepReleaseResponse, error) {
	r, err := s.Release.Step(ctx, req.GetId(), req.GetStep(), by(ctx, req.GetReason()))
	if err != nil {
		return nil, err
	}
	if req.GetWait() != nil {
		groups, err := s.Release.List(ctx)
		if err != nil {
			return nil, err
		}
		for _, g := range groups {
			if g.GetName() == r.GetGroup() {
				s.moved(ctx, req.GetWait(), g)
			}
		}
	}
	return &controlv1.StepReleaseResponse{Release: r}, nil
}

// by is who asks to move nodes, as it is kept.
func by(ctx context.Context, reason string) release.By {
	return release.By{Actor: actor(ctx), Reason: reason}
}
