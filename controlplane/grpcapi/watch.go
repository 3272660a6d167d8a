package grpcapi

import (
	"context"

	"google.golang.org/grpc"

	"github.com/sekifuda/sekifuda/controlplane/config"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

func (s *configServer) Watch(req *controlv1.WatchRequest, stream grpc.ServerStreamingServer[controlv1.WatchResponse]) error {
	ctx := stream.Context()
	kinds := map[string]bool{}
	for _, k := range req.GetKinds() {
		t, err := s.table(k)
		if err != nil {
			return err
		}
		kinds[t.Kind] = true
	}
	for after := req.GetAfter(); ; {
		head, err := s.Config.Wait(ctx, after)
		if err != nil {
			return err
		}
		if err := s.sendRevisions(ctx, after, head, kinds, stream.Send); err != nil {
			return err
		}
		after = head
	}
}

// sendRevisions sends one message for each revision in (after, to].
func (s *configServer) sendRevisions(ctx context.Context, after, to uint64, kinds map[string]bool, send func(*controlv1.WatchResponse) error) error {
	var msg *controlv1.WatchResponse
	flush := func() error {
		if msg == nil || len(msg.Changes) == 0 {
			return nil
		}
		return send(msg)
	}
	for ch, err := range s.Config.Changes(ctx, after, to) {
		if err != nil {
			return err
		}
		if msg == nil || msg.Revision.Rev != ch.Rev {
			if err := flush(); err != nil {
				return err
			}
			r, err := s.Config.Revision(ctx, ch.Rev)
			if err != nil {
				return err
			}
			msg = &controlv1.WatchResponse{Revision: revision(r)}
		}
		if len(kinds) > 0 && !kinds[ch.Kind] {
			continue
		}
		c, err := s.change(ctx, ch)
		if err != nil {
			return err
		}
		msg.Changes = append(msg.Changes, c)
	}
	return flush()
}

func (s *configServer) change(ctx context.Context, ch config.Change) (*controlv1.Change, error) {
	c := &controlv1.Change{Kind: ch.Kind, Id: ch.ID}
	var err error
	if c.Before, err = s.image(ctx, ch, ch.Before); err != nil {
		return nil, err
	}
	c.After, err = s.image(ctx, ch, ch.After)
	return c, err
}

func (s *configServer) image(ctx context.Context, ch config.Change, body []byte) (*controlv1.Entity, error) {
	if body == nil {
		return nil, nil
	}
	e, err := s.Config.Decode(ch.Kind, ch.ID, ch.Rev, body)
	if err != nil {
		return nil, err
	}
	return shown(ctx, e)
}

// Diff sends what changed between two revisions, object by object: first before against
// last after. From may be above To: then it is the way back.
func (s *configServer) Diff(req *controlv1.DiffRequest, stream grpc.ServerStreamingServer[controlv1.DiffResponse]) error {
	to := req.GetTo()
	if to == 0 {
		head, err := s.Config.Head(stream.Context())
		if err != nil {
			return err
		}
		to = head.Rev
	}
	changes, err := s.Config.Between(stream.Context(), req.GetFrom(), to)
	if err != nil {
		return err
	}
	for _, ch := range changes {
		c, err := s.change(stream.Context(), ch)
		if err != nil {
			return err
		}
		if err := stream.Send(&controlv1.DiffResponse{Change: c}); err != nil {
			return err
		}
	}
	return nil
}
