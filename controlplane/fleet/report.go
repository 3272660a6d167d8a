package fleet

import (
	"context"
	"errors"
	"io"
	"maps"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// reportEvery is what nodes are asked for: the window that release gates look at.
const reportEvery = 10 * time.Second

// Bounds of one report; a node serves a handful of revisions in a window.
const (
	maxStats  = 64
	maxLabels = 64
)

// Reports serves feedv1.NodeService into a fleet.
type Reports struct {
	feedv1.UnimplementedNodeServiceServer
	ctx   context.Context
	fleet *Fleet
	who   func(ctx context.Context) (id string, known bool)
}

// NewReports returns the service that feeds f. who tells which node a connection proves to be
// of; nil: none does, and nodes are taken at their word. Its streams end when ctx does.
func NewReports(ctx context.Context, f *Fleet, who func(ctx context.Context) (id string, known bool)) *Reports {
	return &Reports{ctx: ctx, fleet: f, who: who}
}

// Report takes in one node's reports and answers until its stream ends, and asks it what
// there is to ask. A node must be known by its configuration stream first.
func (r *Reports) Report(s feedv1.NodeService_ReportServer) error {
	every := uint32(reportEvery / time.Millisecond)
	if err := s.Send(&feedv1.ReportResponse{Directive: &feedv1.ReportResponse_ReportEveryMs{ReportEveryMs: every}}); err != nil {
		return err
	}
	from := r.fleet.join()
	defer r.fleet.leave(from)
	ended := make(chan error, 1)
	go func() { ended <- r.receive(s) }()
	for {
		select {
		case err := <-ended:
			return err
		case <-r.ctx.Done():
			return status.Error(codes.Unavailable, "the control plane ends")
		case q := <-from.questions:
			if err := s.Send(&feedv1.ReportResponse{Directive: &feedv1.ReportResponse_Question{Question: q}}); err != nil {
				return err // and with the stream ends what receives
			}
		case <-from.blocks:
			b := r.fleet.current()
			if b == nil {
				continue // nothing is known yet; the node keeps what it has
			}
			if err := s.Send(&feedv1.ReportResponse{Directive: &feedv1.ReportResponse_Blocks{Blocks: b}}); err != nil {
				return err
			}
		}
	}
}

func (r *Reports) receive(s feedv1.NodeService_ReportServer) error {
	id := ""
	if r.who != nil {
		id, _ = r.who(s.Context())
	}
	for {
		q, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if id != "" && q.GetNodeId() != id {
			return status.Errorf(codes.InvalidArgument, "node_id is %q, not %q", id, q.GetNodeId())
		}
		id = q.GetNodeId()
		if a := q.GetAnswer(); a != nil {
			r.fleet.answer(id, a)
			continue
		}
		if b := q.GetBlocks(); b != nil {
			r.fleet.blocked(id, b.GetDigest())
			continue
		}
		if err := r.fleet.report(q); err != nil {
			return err
		}
	}
}

func (f *Fleet) report(q *feedv1.ReportRequest) error {
	if len(q.GetStats()) > maxStats || len(q.GetLabels()) > maxLabels {
		return status.Errorf(codes.InvalidArgument, "report has more than %d stats or %d labels", maxStats, maxLabels)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.nodes[q.GetNodeId()] == nil {
		return status.Errorf(codes.FailedPrecondition, "node_id: %q has no configuration stream here", q.GetNodeId())
	}
	f.tally(f.nodes[q.GetNodeId()].Group, q.GetStats())
	f.change(q.GetNodeId(), func(m *member) {
		m.SnapshotOnDisk, m.Window, m.Stats = q.GetSnapshotOnDisk(), q.GetWindow(), q.GetStats()
		if q.GetHostname() != "" {
			m.Hostname = q.GetHostname()
		}
		if len(q.GetLabels()) > 0 {
			m.Labels = maps.Clone(q.GetLabels())
		}
		if t := q.GetNodeTime(); t.IsValid() {
			m.Skew = t.AsTime().Sub(f.now())
		}
		// What the node runs is taken from its configuration stream alone: reports are late.
	})
	return nil
}
