package grpcapi

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sekifuda/sekifuda/controlplane/fleet"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

type fleetServer struct {
	controlv1.UnimplementedFleetServiceServer
	Options
}

func (s *fleetServer) ListNodes(context.Context, *controlv1.ListNodesRequest) (*controlv1.ListNodesResponse, error) {
	res := &controlv1.ListNodesResponse{}
	for _, n := range s.Fleet.Nodes() {
		res.Nodes = append(res.Nodes, node(n))
	}
	return res, nil
}

func (s *fleetServer) WatchNodes(_ *controlv1.WatchNodesRequest, stream grpc.ServerStreamingServer[controlv1.WatchNodesResponse]) error {
	w := s.Fleet.Watch()
	defer w.Close()
	for {
		nodes, err := w.Next(stream.Context())
		if err != nil {
			return err
		}
		for _, n := range nodes {
			if err := stream.Send(&controlv1.WatchNodesResponse{Node: node(n)}); err != nil {
				return err
			}
		}
	}
}

func (s *fleetServer) Status(ctx context.Context, _ *controlv1.StatusRequest) (*controlv1.StatusResponse, error) {
	res := &controlv1.StatusResponse{
		Version: s.Version, RouterFlavor: s.RouterFlavor, Database: s.Database(), DatabaseReachable: s.Config.Ping(ctx) == nil,
		StartedAt: timestamppb.New(s.Started), Entities: map[string]uint64{},
	}
	for _, n := range s.Fleet.Nodes() {
		if !n.Connected {
			continue
		}
		res.NodesConnected++
		if n.Running == n.Target && n.Running.Epoch != "" {
			res.NodesCurrent++
		}
	}
	res.Blocks = s.Blocks.List()
	blocking, _ := s.Fleet.CountBlocking(s.Blocks.Digest())
	res.NodesBlocking = uint32(blocking)
	if !res.DatabaseReachable {
		return res, nil // what can be told without it
	}
	head, err := s.Config.Head(ctx)
	if err != nil {
		return nil, err
	}
	res.Epoch, res.Head = head.Epoch, head.Rev
	counts, err := s.Config.Counts(ctx)
	if err != nil {
		return nil, err
	}
	for kind, n := range counts {
		res.Entities[kind] = uint64(n)
	}
	return res, nil
}

func node(n fleet.Node) *controlv1.Node {
	return &controlv1.Node{
		Id: n.ID, Group: n.Group, Hostname: n.Hostname, Ip: n.IP, Version: n.Version, Labels: n.Labels,
		Connected: n.Connected, LastSeen: timestamppb.New(n.LastSeen),
		Running: n.Running.Proto(), Target: n.Target.Proto(), Refusal: n.Refusal,
		OnDisk: n.SnapshotOnDisk, ClockSkew: durationpb.New(n.Skew),
	}
}
