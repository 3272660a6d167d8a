package grpcapi

import (
	"context"
	"net"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sekifuda/sekifuda/controlplane/block"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

type blockServer struct {
	controlv1.UnimplementedBlockServiceServer
	Options
}

func (s *blockServer) Block(ctx context.Context, q *controlv1.BlockRequest) (*controlv1.BlockResponse, error) {
	o := block.Order{Kind: q.GetKind(), Target: q.GetTarget(), By: actor(ctx), Reason: q.GetReason(), Force: q.GetForce(), From: from(ctx)}
	if q.For != nil {
		if o.For = q.For.AsDuration(); o.For == 0 {
			o.For = -1 // none was not asked for
		}
	}
	b, err := s.Blocks.Block(ctx, o)
	if err != nil {
		return nil, err
	}
	s.Log.WarnContext(ctx, "blocked", "kind", b.GetKind(), "name", b.GetName(), "until", b.GetUntil().AsTime(), "by", b.GetBy(), "reason", b.GetReason())
	res := &controlv1.BlockResponse{Blocked: []*controlv1.Block{b}}
	res.NodesEnforcing, res.NodesConnected = s.enforced(ctx, q.GetTimeout())
	return res, nil
}

func (s *blockServer) Unblock(ctx context.Context, q *controlv1.UnblockRequest) (*controlv1.UnblockResponse, error) {
	var ended []*controlv1.Block
	var err error
	switch {
	case q.GetAll() && (q.GetKind() != "" || q.GetTarget() != ""):
		return nil, grpcstatus.Error(codes.InvalidArgument, "all: ends every block; leave kind and target out")
	case q.GetAll():
		ended, err = s.Blocks.UnblockAll(ctx)
	default:
		ended, err = s.Blocks.Unblock(ctx, q.GetKind(), q.GetTarget())
	}
	if err != nil {
		return nil, err
	}
	for _, b := range ended {
		s.Log.InfoContext(ctx, "unblocked", "kind", b.GetKind(), "name", b.GetName(), "by", actor(ctx), "reason", q.GetReason())
	}
	res := &controlv1.UnblockResponse{Blocked: ended}
	res.NodesEnforcing, res.NodesConnected = s.enforced(ctx, q.GetTimeout())
	return res, nil
}

func (s *blockServer) ListBlocks(context.Context, *controlv1.ListBlocksRequest) (*controlv1.ListBlocksResponse, error) {
	res := &controlv1.ListBlocksResponse{Blocks: s.Blocks.List()}
	enforcing, connected := s.Fleet.CountBlocking(s.Blocks.Digest())
	res.NodesEnforcing, res.NodesConnected = uint32(enforcing), uint32(connected)
	return res, nil
}

// maxEnforceWait bounds how long an answer is held back for nodes.
const maxEnforceWait = 20 * time.Second

// enforced waits for the connected nodes, as long as the caller said.
func (s *blockServer) enforced(ctx context.Context, timeout *durationpb.Duration) (enforcing, connected uint32) {
	ctx, cancel := context.WithTimeout(ctx, min(timeout.AsDuration(), maxEnforceWait))
	defer cancel()
	e, c := s.Fleet.WaitBlocking(ctx, s.Blocks.Digest())
	return uint32(e), uint32(c)
}

// from is the address of who asks.
func from(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	host, _, err := net.SplitHostPort(p.Addr.String())
	if err != nil {
		return ""
	}
	return host
}
