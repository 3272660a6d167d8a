package grpcapi

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

type fleetServer struct {
	controlv1.UnimplementedFleetServiceServer
	Options
}

func (s *fleetServer) ListNodes(ctx context.Context, _ *controlv1.ListNodesRequest) (*controlv1.ListNodesResponse, error) {
	return &controlv1.ListNodesResponse{Nodes: s.Nodes.List(ctx), Unheard: s.Fleet.Unheard()}, nil
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
			if err := stream.Send(&controlv1.WatchNodesResponse{Node: n.Proto()}); err != nil {
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
	for is, n := range s.Fleet.Standings() {
		res.NodesConnected += uint32(n)
		if is.Current && is.Epoch != "" {
			res.NodesCurrent += uint32(n)
		}
	}
	res.Blocks = s.Blocks.List()
	blocking, _ := s.Fleet.CountBlocking(s.Blocks.Digest())
	res.NodesBlocking = uint32(blocking)
	for _, r := range s.Fleet.Replicas() {
		res.Replicas = append(res.Replicas, &controlv1.Replica{Address: r.Name, Heard: r.Heard, NodesConnected: uint32(r.Nodes)})
	}
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
