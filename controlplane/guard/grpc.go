package guard

import (
	"context"
	"errors"
	"net"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	grpcstatus "google.golang.org/grpc/status"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// writers are the roles that change things by a service; of any other it takes the highest,
// such as of backups, which hold every secret.
var writers = map[string]Role{
	controlv1.ConfigService_ServiceDesc.ServiceName:  Editor,
	controlv1.FleetService_ServiceDesc.ServiceName:   Editor,
	controlv1.BlockService_ServiceDesc.ServiceName:   Editor,
	controlv1.RolloutService_ServiceDesc.ServiceName: Releaser,
}

// needs tells which role a method takes, by its first word.
func needs(method string) Role {
	service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	for _, word := range []string{"Get", "List", "Watch", "Status", "Diff"} {
		if strings.HasPrefix(name, word) {
			return Viewer
		}
	}
	if r, ok := writers[service]; ok {
		return r
	}
	return Admin
}

// Unary stands before unary calls. A token comes as "authorization: Bearer TOKEN".
func (g *Guard) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	need := needs(info.FullMethod)
	who, err := g.call(ctx, need)
	e := event(ctx, who.name, info.FullMethod, req)
	var res any
	var d *deed
	if err == nil {
		var inside context.Context
		inside, d = doing(known(ctx, who), e)
		res, err = next(inside, req)
	}
	if noteworthy(need, err) && !(err == nil && d.inLog()) {
		if d != nil {
			e = d.asked()
		}
		e.Result = code(err).String()
		if m, ok := res.(interface{ GetRevision() *controlv1.Revision }); ok {
			e.Revision = m.GetRevision().GetRev()
		}
		g.note(ctx, e)
	}
	return res, err
}

// Stream stands before streaming calls.
func (g *Guard) Stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	ctx, need := ss.Context(), needs(info.FullMethod)
	who, err := g.call(ctx, need)
	e := event(ctx, who.name, info.FullMethod, nil)
	var d *deed
	if err == nil {
		var inside context.Context
		inside, d = doing(known(ctx, who), e)
		err = next(srv, &stream{ServerStream: ss, ctx: inside})
	}
	if noteworthy(need, err) && !(err == nil && d.inLog()) {
		if d != nil {
			e = d.asked()
		}
		e.Result = code(err).String()
		g.note(ctx, e)
	}
	return err
}

// stream is a stream of somebody who is known.
type stream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements grpc.ServerStream.
func (s *stream) Context() context.Context { return s.ctx }

// noteworthy tells what is noted: changes, and what was refused.
func noteworthy(need Role, err error) bool {
	return need > Viewer || code(err) == codes.PermissionDenied || code(err) == codes.Unauthenticated
}

func (g *Guard) call(ctx context.Context, need Role) (person, error) {
	var p proof
	if v := metadata.ValueFromIncomingContext(ctx, "authorization"); len(v) > 0 {
		p.token = strings.TrimPrefix(v[0], "Bearer ")
	}
	if from, ok := peer.FromContext(ctx); ok {
		if info, ok := from.AuthInfo.(credentials.TLSInfo); ok {
			p.certificate = verified(&info.State)
		}
	}
	who, err := g.admit(ctx, p, need)
	var no *refusal
	if errors.As(err, &no) {
		text := no.text
		if no.kind == unknown {
			text += " (--token-file, SEKI_TOKEN_FILE)"
		}
		err = grpcstatus.Error(statuses[no.kind], text)
	}
	return who, err
}

var statuses = map[refusalKind]codes.Code{unknown: codes.Unauthenticated, forbidden: codes.PermissionDenied, unreachable: codes.Unavailable}

func code(err error) codes.Code { return grpcstatus.Code(err) }

// event is what a call asks for, without what became of it.
func event(ctx context.Context, who, method string, req any) Event {
	e := Event{Who: who, What: method[strings.LastIndex(method, ".")+1:]}
	e.What = strings.ReplaceAll(e.What, "/", ".")
	if e.Who == "" { // as they say
		if v := metadata.ValueFromIncomingContext(ctx, "sekifuda-actor"); len(v) > 0 {
			e.Who = v[0]
		}
	}
	if p, ok := peer.FromContext(ctx); ok {
		e.From = p.Addr.String()
		if host, _, err := net.SplitHostPort(e.From); err == nil {
			e.From = host
		}
	}
	// The messages that say why and whom say it by these names.
	if m, ok := req.(interface{ GetMessage() string }); ok {
		e.Why = m.GetMessage()
	}
	if m, ok := req.(interface{ GetReason() string }); ok {
		e.Why = m.GetReason()
	}
	if m, ok := req.(interface{ GetNodeId() string }); ok {
		e.What += " " + m.GetNodeId()
	}
	if m, ok := req.(interface{ GetGroup() string }); ok {
		e.What += " " + m.GetGroup()
	}
	return e
}
