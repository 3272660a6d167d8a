package grpcapi

import (
	"cmp"
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sekifuda/sekifuda/controlplane/authority"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

type accessServer struct {
	controlv1.UnimplementedAccessServiceServer
	Options
}

func (s *accessServer) CreateJoinToken(ctx context.Context, q *controlv1.CreateJoinTokenRequest) (*controlv1.CreateJoinTokenResponse, error) {
	t, text, err := s.Authority.CreateToken(ctx, authority.TokenRequest{
		Group: q.GetGroup(), TTL: q.GetTtl().AsDuration(), Uses: int(q.GetUses()), By: actor(ctx),
	})
	if err != nil {
		return nil, err
	}
	return &controlv1.CreateJoinTokenResponse{Token: joinToken(t), Text: text}, nil
}

func (s *accessServer) ListJoinTokens(ctx context.Context, _ *controlv1.ListJoinTokensRequest) (*controlv1.ListJoinTokensResponse, error) {
	list, err := s.Authority.Tokens(ctx)
	if err != nil {
		return nil, err
	}
	res := &controlv1.ListJoinTokensResponse{}
	for _, t := range list {
		res.Tokens = append(res.Tokens, joinToken(t))
	}
	return res, nil
}

func (s *accessServer) RevokeJoinToken(ctx context.Context, q *controlv1.RevokeJoinTokenRequest) (*controlv1.RevokeJoinTokenResponse, error) {
	return &controlv1.RevokeJoinTokenResponse{}, s.Authority.RevokeToken(ctx, q.GetId())
}

func joinToken(t authority.Token) *controlv1.JoinToken {
	out := &controlv1.JoinToken{
		Id: t.ID, Group: t.Group, Uses: uint32(t.Uses), CreatedAt: timestamppb.New(t.Created), CreatedBy: t.By, ExpiresAt: timestamppb.New(t.Expires),
	}
	for _, u := range t.Used {
		out.Used = append(out.Used, &controlv1.JoinToken_Use{NodeId: u.Node, At: timestamppb.New(u.At)})
	}
	return out
}

func (s *accessServer) RevokeNode(ctx context.Context, q *controlv1.RevokeNodeRequest) (*controlv1.RevokeNodeResponse, error) {
	n, err := s.Authority.Deny(ctx, q.GetNodeId(), actor(ctx), q.GetReason())
	return &controlv1.RevokeNodeResponse{Connections: uint32(n)}, err
}

func (s *accessServer) AllowNode(ctx context.Context, q *controlv1.AllowNodeRequest) (*controlv1.AllowNodeResponse, error) {
	return &controlv1.AllowNodeResponse{}, s.Authority.Allow(ctx, q.GetNodeId())
}

// ListIdentities shows who was given a certificate, and who is denied without one.
func (s *accessServer) ListIdentities(ctx context.Context, _ *controlv1.ListIdentitiesRequest) (*controlv1.ListIdentitiesResponse, error) {
	list, err := s.Authority.Identities(ctx)
	if err != nil {
		return nil, err
	}
	denied := s.Authority.Denied()
	shown := map[string]bool{}
	res := &controlv1.ListIdentitiesResponse{}
	for _, i := range list {
		shown[i.Node] = true
		n := &controlv1.NodeIdentity{
			NodeId: i.Node, Group: i.Group, EnrolledAt: timestamppb.New(i.Enrolled), ExpiresAt: timestamppb.New(i.Expires), TokenId: i.Token,
		}
		if d, ok := denied[i.Node]; ok {
			n.Revocation = revocation(d)
		}
		res.Identities = append(res.Identities, n)
	}
	for node, d := range denied {
		if !shown[node] {
			res.Identities = append(res.Identities, &controlv1.NodeIdentity{NodeId: node, Revocation: revocation(d)})
		}
	}
	slices.SortFunc(res.Identities, func(a, b *controlv1.NodeIdentity) int { return cmp.Compare(a.GetNodeId(), b.GetNodeId()) })
	return res, nil
}

func revocation(d authority.Denial) *controlv1.Revocation {
	return &controlv1.Revocation{At: timestamppb.New(d.At), By: d.By, Reason: d.Reason}
}

func (s *accessServer) RotateCA(ctx context.Context, q *controlv1.RotateCARequest) (*controlv1.RotateCAResponse, error) {
	if err := s.Authority.Rotate(ctx, q.GetForgetOld()); err != nil {
		return nil, err
	}
	res := &controlv1.RotateCAResponse{}
	for _, i := range s.Authority.Authorities() {
		res.Authorities = append(res.Authorities, &controlv1.Authority{
			Digest: i.Digest, NotBefore: timestamppb.New(i.NotBefore), NotAfter: timestamppb.New(i.NotAfter),
			Signing: i.Signing, KeptUntil: optional(i.KeptUntil),
		})
	}
	return res, nil
}

func optional(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func (s *accessServer) RotateKeys(ctx context.Context, q *controlv1.RotateKeysRequest) (*controlv1.RotateKeysResponse, error) {
	r, err := s.Keys.Rotate(ctx, q.GetNewDataKey())
	if err != nil {
		return nil, err
	}
	return &controlv1.RotateKeysResponse{KeyEncryptionKey: r.Key, Rewrapped: uint32(r.Rewrapped), DataKeys: uint32(r.DataKeys)}, nil
}

// auditPage is how much of the log one answer holds.
const auditPage = 1000

func (s *accessServer) ListAudit(ctx context.Context, q *controlv1.ListAuditRequest) (*controlv1.ListAuditResponse, error) {
	head, err := s.Audit.AuditHead(ctx)
	if err != nil {
		return nil, err
	}
	after := q.GetAfter()
	if n := uint64(min(q.GetNewest(), auditPage)); n > 0 {
		after = max(after, head-min(head, n))
	}
	list, err := s.Audit.AuditEntries(ctx, after, auditPage)
	if err != nil {
		return nil, err
	}
	res := &controlv1.ListAuditResponse{Head: head}
	for _, e := range list {
		res.Entries = append(res.Entries, &controlv1.AuditEntry{Seq: e.Seq, At: timestamppb.New(e.At), Body: e.Body, Hash: e.Hash})
	}
	return res, nil
}
