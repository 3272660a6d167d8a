package grpcapi

import (
	"context"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sekifuda/sekifuda/controlplane/config"
	"github.com/sekifuda/sekifuda/model/schema"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

const (
	defaultPage = 100
	maxPage     = 1000
)

type configServer struct {
	controlv1.UnimplementedConfigServiceServer
	Options
}

func (s *configServer) Commit(ctx context.Context, req *controlv1.CommitRequest) (*controlv1.CommitResponse, error) {
	b := config.Batch{DryRun: req.GetDryRun(), IfHead: req.IfHead}
	for i, op := range req.GetOps() {
		o, err := s.op(op)
		if err != nil {
			return nil, fmt.Errorf("operation %d: %w", i+1, err)
		}
		b.Ops = append(b.Ops, o)
	}
	rev, entities, err := s.Config.Commit(ctx, b, origin(ctx, req))
	if err != nil {
		return nil, err
	}
	res := &controlv1.CommitResponse{Revision: revision(rev)}
	for i, e := range entities {
		pe, err := entity(e)
		if err != nil {
			return nil, err
		}
		if b.Ops[i].Put == nil {
			pe.Spec = nil
		}
		res.Entities = append(res.Entities, pe)
	}
	if w := req.GetWait(); w != nil && !req.GetDryRun() {
		wctx, cancel := context.WithTimeout(ctx, w.GetTimeout().AsDuration())
		defer cancel()
		enforcing, connected := s.Fleet.WaitEnforced(wctx, rev.Rev, w.GetFraction())
		res.NodesEnforcing, res.NodesConnected = uint32(enforcing), uint32(connected)
	}
	return res, nil
}

func (s *configServer) op(op *controlv1.Op) (config.Op, error) {
	switch v := op.GetOp().(type) {
	case *controlv1.Op_Put:
		m, err := v.Put.UnmarshalNew()
		if err != nil {
			return config.Op{}, grpcstatus.Errorf(codes.InvalidArgument, "put: %v", err)
		}
		return config.Op{Put: m, IfMatch: op.IfMatch}, nil
	case *controlv1.Op_Delete:
		t, err := s.table(v.Delete.GetKind())
		if err != nil {
			return config.Op{}, err
		}
		return config.Op{Delete: t, DeleteIDKey: v.Delete.GetIdOrKey(), IfMatch: op.IfMatch}, nil
	}
	return config.Op{}, grpcstatus.Error(codes.InvalidArgument, "an operation needs put or delete")
}

// table finds a kind by its name or its path: both "keyauth_credentials" and "key-auths".
func (s *configServer) table(kind string) (*schema.Table, error) {
	if t := s.Config.Schema().Table(kind); t != nil {
		return t, nil
	}
	for _, t := range s.Config.Schema().Tables() {
		if t.Path == kind {
			return t, nil
		}
	}
	return nil, grpcstatus.Errorf(codes.NotFound, "no kind named %q", kind)
}

func (s *configServer) Get(ctx context.Context, req *controlv1.GetRequest) (*controlv1.GetResponse, error) {
	t, err := s.table(req.GetRef().GetKind())
	if err != nil {
		return nil, err
	}
	e, err := s.Config.Get(ctx, t, req.GetRef().GetIdOrKey(), nil)
	if err != nil {
		return nil, err
	}
	pe, err := entity(e)
	return &controlv1.GetResponse{Entity: pe}, err
}

func (s *configServer) List(ctx context.Context, req *controlv1.ListRequest) (*controlv1.ListResponse, error) {
	t, err := s.table(req.GetKind())
	if err != nil {
		return nil, err
	}
	q := config.ListQuery{
		After: req.GetPageToken(), Size: pageSize(req.GetPageSize()),
		AllTags: req.GetAllTags(), AnyTags: req.GetAnyTags(),
	}
	if req.GetField() != "" {
		f := t.Field(req.GetField())
		if f == nil || f.Refers == "" {
			return nil, grpcstatus.Errorf(codes.InvalidArgument, "%s has no reference %q", t.Kind, req.GetField())
		}
		parent, err := s.Config.Get(ctx, s.Config.Schema().Table(f.Refers), req.GetRef().GetIdOrKey(), nil)
		if err != nil {
			return nil, err
		}
		q.Under = &config.Under{Field: f.Name, ID: parent.ID}
	}
	head, err := s.Config.Head(ctx)
	if err != nil {
		return nil, err
	}
	list, more, err := s.Config.List(ctx, t, q)
	if err != nil {
		return nil, err
	}
	res := &controlv1.ListResponse{Rev: head.Rev}
	for _, e := range list {
		pe, err := entity(e)
		if err != nil {
			return nil, err
		}
		res.Entities = append(res.Entities, pe)
	}
	if more {
		res.NextPageToken = list[len(list)-1].ID
	}
	return res, nil
}

func pageSize(n uint32) int {
	switch {
	case n == 0:
		return defaultPage
	case n > maxPage:
		return maxPage
	}
	return int(n)
}

func (s *configServer) ListRevisions(ctx context.Context, req *controlv1.ListRevisionsRequest) (*controlv1.ListRevisionsResponse, error) {
	q := config.RevisionQuery{Before: req.GetBefore(), Actor: req.GetActor(), Size: pageSize(req.GetPageSize())}
	if ref := req.GetRef(); ref != nil {
		t, err := s.table(ref.GetKind())
		if err != nil {
			return nil, err
		}
		e, err := s.Config.Get(ctx, t, ref.GetIdOrKey(), nil)
		if err != nil {
			return nil, err
		}
		q.Kind, q.ID = t.Kind, e.ID
	}
	list, err := s.Config.Revisions(ctx, q)
	if err != nil {
		return nil, err
	}
	res := &controlv1.ListRevisionsResponse{}
	for _, r := range list {
		res.Revisions = append(res.Revisions, revision(r))
	}
	return res, nil
}

// origin is who asks, as the revision remembers it.
func origin(ctx context.Context, req *controlv1.CommitRequest) config.Origin {
	o := config.Origin{Actor: "grpc", Message: req.GetMessage(), RequestID: req.GetRequestId()}
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		if v := md.Get("user-agent"); len(v) > 0 {
			o.Client = v[0]
		}
		if v := md.Get("sekifuda-actor"); len(v) > 0 {
			o.Actor = v[0]
		}
	}
	if p, ok := peer.FromContext(ctx); ok && o.Client == "" {
		o.Client = p.Addr.String()
	}
	return o
}

func entity(e *config.Entity) (*controlv1.Entity, error) {
	spec, err := anypb.New(e.Message)
	if err != nil {
		return nil, fmt.Errorf("encode %s %s: %w", e.Table.Kind, e.ID, err)
	}
	return &controlv1.Entity{Kind: e.Table.Kind, Id: e.ID, Rev: e.Rev, Spec: spec}, nil
}

func revision(r config.Revision) *controlv1.Revision {
	return &controlv1.Revision{
		Rev: r.Rev, At: timestamppb.New(r.At), Actor: r.Actor, Message: r.Message,
		Client: r.Client, RequestId: r.RequestID, Changes: uint32(r.Changes),
	}
}
