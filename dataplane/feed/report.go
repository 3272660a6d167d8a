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
	go func() { ended <- c.directives(stream, &every) }()
	for window := uint64(1); ; window++ {
		select {
		case err := <-ended:
			return moved, err
		case <-c.Clock.After(time.Duration(every.Load())):
		}
		if err := stream.Send(c.window(window)); err != nil {
			return moved, fmt.Errorf("send report: %w", err)
		}
		moved = true
	}
}

func (c *Client) directives(stream feedv1.NodeService_ReportClient, every *atomic.Int64) error {
	for {
		r, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		if ms := r.GetReportEveryMs(); ms > 0 {
			every.Store(int64(min(max(time.Duration(ms)*time.Millisecond, leastEvery), mostEvery)))
		}
		if c.Direct != nil {
			c.Direct(r)
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
