package replicas

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/controlplane/fleet"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

const (
	// tellEvery bounds how often a follower is told: between two words are those changes that
	// came together.
	tellEvery = 2 * time.Millisecond
	// wayBack is left of who asks' patience when the nodes' answers are sent back without those
	// of nodes that hang.
	wayBack = 100 * time.Millisecond
)

// bearer shows the cluster's secret with every call. Over TLS both ends are proven as well; on
// loopback without TLS it tells a control plane from others on the machine.
type bearer []byte

const bearerHeader = "sekifuda-replica"

func (b bearer) text() string { return base64.RawURLEncoding.EncodeToString(b) }

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{bearerHeader: b.text()}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (b bearer) RequireTransportSecurity() bool { return false }

// Service serves the other replicas until ctx ends. Its server must let nobody else call it.
func (r *Replicas) Service(ctx context.Context) controlv1.ReplicaServiceServer {
	return &service{replicas: r, ctx: ctx}
}

type service struct {
	controlv1.UnimplementedReplicaServiceServer
	replicas *Replicas
	ctx      context.Context
}

// admit lets only who knows the cluster's secret ask.
func (s *service) admit(ctx context.Context) error {
	said := strings.Join(metadata.ValueFromIncomingContext(ctx, bearerHeader), "")
	if subtle.ConstantTimeCompare([]byte(said), []byte(bearer(s.replicas.Secret).text())) != 1 {
		return status.Error(codes.PermissionDenied, "only control planes of this cluster may ask this")
	}
	return nil
}

// Follow implements controlv1.ReplicaServiceServer.
func (s *service) Follow(_ *controlv1.FollowRequest, stream controlv1.ReplicaService_FollowServer) error {
	if err := s.admit(stream.Context()); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	f := s.replicas.Fleet.FollowNear()
	defer f.Close()
	for {
		nodes, err := f.Next(ctx)
		if err != nil {
			return status.FromContextError(err).Err()
		}
		if err := stream.Send(&controlv1.FollowResponse{ReplicaId: s.replicas.id, Standings: told(nodes)}); err != nil {
			return err
		}
		select {
		case <-time.After(tellEvery):
		case <-ctx.Done():
		}
	}
}

func told(nodes map[fleet.Standing]int) []*controlv1.Standing {
	list := make([]*controlv1.Standing, 0, len(nodes))
	for s, n := range nodes {
		is := &controlv1.Standing{
			Epoch: s.Epoch, Group: s.Group, Generation: s.Generation, Enforced: s.Enforced, Current: s.Current,
			RefusedEpoch: s.RefusedEpoch, Refused: s.Refused, Nodes: uint32(n),
		}
		if s.Blocking {
			is.Blocks = proto.Uint64(s.Blocks)
		}
		list = append(list, is)
	}
	return list
}

// Ask implements controlv1.ReplicaServiceServer.
func (s *service) Ask(ctx context.Context, q *controlv1.AskRequest) (*controlv1.AskResponse, error) {
	if err := s.admit(ctx); err != nil {
		return nil, err
	}
	if q.GetQuestion().GetAsk() == nil {
		return nil, status.Error(codes.Unimplemented, "a question that this version does not know")
	}
	if until, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, until.Add(-wayBack))
		defer cancel()
	}
	return &controlv1.AskResponse{Answers: s.replicas.Fleet.Ask(ctx, q.GetQuestion())}, nil
}

// Seen implements controlv1.ReplicaServiceServer.
func (s *service) Seen(ctx context.Context, _ *controlv1.SeenRequest) (*controlv1.SeenResponse, error) {
	if err := s.admit(ctx); err != nil {
		return nil, err
	}
	res := &controlv1.SeenResponse{}
	for _, n := range s.replicas.Fleet.Nodes() {
		res.Nodes = append(res.Nodes, n.Proto())
	}
	return res, nil
}

// SetLogLevel implements controlv1.ReplicaServiceServer.
func (s *service) SetLogLevel(ctx context.Context, q *controlv1.SetLogLevelRequest) (*controlv1.SetLogLevelResponse, error) {
	if err := s.admit(ctx); err != nil {
		return nil, err
	}
	if err := s.replicas.SetLogLevel(q.GetLevel(), q.GetFor().AsDuration()); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return &controlv1.SetLogLevelResponse{}, nil
}
