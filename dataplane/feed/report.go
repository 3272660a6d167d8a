package feed

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// Bounds of the interval that a control plane may ask for.
const (
	defaultEvery = 10 * time.Second
	leastEvery   = time.Second
	mostEvery    = 10 * time.Minute
)

// report runs one stream of reports to its end.
func (c *Client) report(ctx context.Context) (moved bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := feedv1.NewNodeServiceClient(c.Conn).Report(ctx)
	if err != nil {
		return false, fmt.Errorf("open stream: %w", err)
	}
	var every atomic.Int64
	every.Store(int64(defaultEvery))
	ended := make(chan error, 1)
	questions, answers := make(chan *feedv1.Question, maxQuestions), make(chan *feedv1.Answer)
	blocks := make(chan *feedv1.Blocks)
	go func() { ended <- c.directives(stream, &every, questions, blocks) }()
	go c.answer(ctx, questions, answers)
	due := c.Clock.After(defaultEvery)
	for window := uint64(1); ; {
		var q *feedv1.ReportRequest
		select {
		case err := <-ended:
			return moved, err
		case b := <-blocks:
			c.block(ctx, b)
			q = &feedv1.ReportRequest{NodeId: c.NodeID, Blocks: &feedv1.BlocksEnforced{Digest: b.GetDigest()}}
		case a := <-answers:
			q = &feedv1.ReportRequest{NodeId: c.NodeID, Answer: a}
		case <-due:
			q = c.window(window)
			window++
			due = c.Clock.After(time.Duration(every.Load()))
		}
		if err := stream.Send(q); err != nil {
			return moved, fmt.Errorf("send report: %w", err)
		}
		moved = true
	}
}

// maxQuestions bounds what is asked while a question is being answered; more are dropped, and
// whoever asked does without this node.
const maxQuestions = 64

func (c *Client) directives(stream feedv1.NodeService_ReportClient, every *atomic.Int64, questions chan<- *feedv1.Question, blocks chan<- *feedv1.Blocks) error {
	for {
		r, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		if ms := r.GetReportEveryMs(); ms > 0 {
			every.Store(int64(min(max(time.Duration(ms)*time.Millisecond, leastEvery), mostEvery)))
		}
		if b := r.GetBlocks(); b != nil && c.Block != nil {
			select {
			case blocks <- b:
			case <-stream.Context().Done():
				return stream.Context().Err()
			}
		}
		if q := r.GetQuestion(); q != nil {
			select {
			case questions <- q:
			default:
			}
		}
		if c.Direct != nil {
			c.Direct(r)
		}
	}
}

// answer answers questions until ctx ends.
func (c *Client) answer(ctx context.Context, questions <-chan *feedv1.Question, answers chan<- *feedv1.Answer) {
	for {
		select {
		case <-ctx.Done():
			return
		case q := <-questions:
			a := &feedv1.Answer{}
			if c.Answer != nil {
				a = c.Answer(ctx, q)
			}
			a.Question = q.GetId()
			select {
			case answers <- a:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (c *Client) window(n uint64) *feedv1.ReportRequest {
	s := c.Status()
	q := &feedv1.ReportRequest{
		NodeId: c.NodeID, Version: c.Version, Hostname: c.Hostname, Labels: c.Labels, Window: n,
		Running: s.Running.Proto(), NodeTime: timestamppb.New(c.Clock.Now()), SnapshotOnDisk: s.OnDisk,
	}
	if !s.AppliedAt.IsZero() {
		q.AppliedAt = timestamppb.New(s.AppliedAt)
	}
	if c.Stats != nil {
		q.Stats = c.Stats()
	}
	return q
}
