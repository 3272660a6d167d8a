package grpcapi

import (
	"cmp"
	"context"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sekifuda/sekifuda/controlplane/config"
	"github.com/sekifuda/sekifuda/controlplane/guard"
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
	if !req.GetDryRun() {
		res.NodesEnforcing, res.NodesConnected, res.Unheard = s.wait(ctx, rev.Rev, req.GetWait())
	}
	return res, nil
}

// wait waits for nodes to enforce a revision, if that is asked, and counts them.
func (s *configServer) wait(ctx context.Context, rev uint64, w *controlv1.Wait) (enforcing, connected uint32, unheard []string) {
	if w == nil {
		return 0, 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, w.GetTimeout().AsDuration())
	defer cancel()
	e, c := s.Fleet.WaitEnforced(ctx, rev, w.GetFraction())
	return uint32(e), uint32(c), s.Fleet.Unheard()
}

func (s *configServer) Revert(ctx context.Context, req *controlv1.RevertRequest) (*controlv1.RevertResponse, error) {
	r := config.Revert{Rev: req.GetRev(), To: req.GetWhole(), DryRun: req.GetDryRun()}
	rev, changes, err := s.Config.Revert(ctx, r, origin(ctx, req))
	if err != nil {
		return nil, err
	}
	res := &controlv1.RevertResponse{Revision: revision(rev)}
	for _, ch := range changes {
		c, err := s.change(ctx, ch)
		if err != nil {
			return nil, err
		}
		res.Changes = append(res.Changes, c)
	}
	if !req.GetDryRun() {
		res.NodesEnforcing, res.NodesConnected, res.Unheard = s.wait(ctx, rev.Rev, req.GetWait())
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
		return config.Op{Put: m, Stored: op.GetStored(), IfMatch: op.IfMatch}, nil
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
	pe, err := shown(ctx, e)
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
		pe, err := shown(ctx, e)
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

// noted is a request that says why it is made.
type noted interface {
	GetMessage() string
	GetRequestId() string
}

// origin is who asks, as the revision remembers it.
func origin(ctx context.Context, req noted) config.Origin {
	o := config.Origin{Actor: actor(ctx), Client: said(ctx, "user-agent"), Message: req.GetMessage(), RequestID: req.GetRequestId()}
	if p, ok := peer.FromContext(ctx); ok && o.Client == "" {
		o.Client = p.Addr.String()
	}
	return o
}

// actor is who asks: as proven, else as they say.
func actor(ctx context.Context) string {
	return cmp.Or(guard.Name(ctx), said(ctx, "sekifuda-actor"), "grpc")
}

// said is the metadata of a call under a name.
func said(ctx context.Context, name string) string {
	if v := metadata.ValueFromIncomingContext(ctx, name); len(v) > 0 {
		return v[0]
	}
	return ""
}

// shown is an entity as who asks may see it.
func shown(ctx context.Context, e *config.Entity) (*controlv1.Entity, error) {
	if guard.SeesSecrets(ctx) {
		return entity(e)
	}
	m, err := e.Table.Discreet(e.Message)
	if err != nil {
		return nil, fmt.Errorf("show %s %s: %w", e.Table.Kind, e.ID, err)
	}
	return entity(&config.Entity{Table: e.Table, ID: e.ID, Rev: e.Rev, Message: m})
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
