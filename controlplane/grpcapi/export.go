package grpcapi

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sekifuda/sekifuda/controlplane/store"
	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// exportPart is how many entities one part has.
const exportPart = 500

// Export implements BackupService.
func (s *backupServer) Export(req *controlv1.ExportRequest, stream grpc.ServerStreamingServer[controlv1.ExportResponse]) error {
	ctx := stream.Context()
	head, err := s.Config.Head(ctx)
	if err != nil {
		return err
	}
	of, err := extent(req, head)
	if err != nil {
		return err
	}
	of.MadeAt, of.Version = timestamppb.New(time.Now()), s.Version
	x := &exporter{backupServer: s, send: stream.Send, part: &controlv1.ExportResponse{Head: of}}
	if !of.GetPartial() && of.GetBase() > 0 {
		if err := x.whole(ctx, of.GetBase()); err != nil {
			return err
		}
	}
	if of.GetBase() < of.GetRev() {
		if err := x.steps(ctx, of.GetBase(), of.GetRev()); err != nil {
			return err
		}
	}
	return x.flush()
}

// extent is what is to be sent: of which revisions, from entities or from a backup before.
func extent(req *controlv1.ExportRequest, head store.Head) (*controlv1.BackupHead, error) {
	of := &controlv1.BackupHead{Epoch: head.Epoch, Rev: head.Rev}
	if req.GetRev() != 0 {
		of.Rev = req.GetRev()
	}
	of.Base = of.GetRev()
	since := req.GetSince()
	switch {
	case !strings.HasPrefix(head.Epoch, req.GetEpoch()):
		return nil, grpcstatus.Errorf(codes.FailedPrecondition,
			"revision %d is of another history than this control plane's (%s): make a whole backup", since, head.Epoch)
	case of.GetRev() > head.Rev || since > head.Rev:
		return nil, grpcstatus.Errorf(codes.NotFound, "revision %d does not exist; head is %d", max(of.GetRev(), since), head.Rev)
	case of.GetRev() < head.Floor:
		return nil, grpcstatus.Errorf(codes.NotFound, "revision %d is no longer kept; the oldest is %d", of.GetRev(), head.Floor)
	case req.GetHistory() && since != 0:
		return nil, grpcstatus.Error(codes.InvalidArgument, "history: all of it, or what came since a revision; say one of them")
	case req.GetHistory():
		of.Base = head.Floor
	case since == 0:
	case since < head.Floor:
		return nil, grpcstatus.Errorf(codes.FailedPrecondition,
			"what came after revision %d is no longer kept, the oldest is %d: make a whole backup", since, head.Floor)
	case since > of.GetRev():
		return nil, grpcstatus.Errorf(codes.InvalidArgument, "since: %d is after revision %d", since, of.GetRev())
	default:
		of.Base, of.Partial = since, true
	}
	return of, nil
}

// exporter gathers parts.
type exporter struct {
	*backupServer
	send func(*controlv1.ExportResponse) error
	part *controlv1.ExportResponse
	n    int // entities in part
}

func (x *exporter) flush() error {
	if x.n == 0 && x.part.Head == nil && len(x.part.Steps) == 0 {
		return nil
	}
	part := x.part
	x.part, x.n = &controlv1.ExportResponse{}, 0
	return x.send(part)
}

func (x *exporter) whole(ctx context.Context, at uint64) error {
	_, entities, err := x.Config.Load(ctx, at)
	if err != nil {
		return err
	}
	for e, err := range entities {
		if err != nil {
			return err
		}
		pe, err := entity(e)
		if err != nil {
			return err
		}
		x.part.Entities = append(x.part.Entities, pe)
		if x.n++; x.n == exportPart {
			if err := x.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *exporter) steps(ctx context.Context, after, to uint64) error {
	var at store.Revision
	for c, err := range x.Config.Changes(ctx, after, to) {
		if err != nil {
			return err
		}
		if c.Rev != at.Rev {
			if at, err = x.Config.Revision(ctx, c.Rev); err != nil {
				return err
			}
		}
		if err := x.step(at, c); err != nil {
			return err
		}
	}
	return nil
}

func (x *exporter) step(at store.Revision, c store.Change) error {
	last := len(x.part.Steps) - 1
	if last < 0 || x.part.Steps[last].GetRevision().GetRev() != c.Rev {
		x.part.Steps = append(x.part.Steps, &controlv1.BackupStep{Revision: revision(at)})
		last++
	}
	step := x.part.Steps[last]
	if c.After == nil {
		step.Deleted = append(step.Deleted, &controlv1.EntityRef{Kind: c.Kind, IdOrKey: c.ID})
	} else {
		e, err := x.Config.Decode(c.Kind, c.ID, c.Rev, c.After)
		if err != nil {
			return err
		}
		pe, err := entity(e)
		if err != nil {
			return err
		}
		step.Put = append(step.Put, pe)
	}
	if x.n++; x.n == exportPart {
		return x.flush()
	}
	return nil
}
