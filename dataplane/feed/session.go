package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/structpb"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// retry keeps one kind of stream open until ctx ends. do reports whether the stream got
// anywhere, after which the next pause is short again.
func (c *Client) retry(ctx context.Context, what string, do func(context.Context) (bool, error)) {
	for failed := 0; ctx.Err() == nil; failed++ {
		moved, err := do(ctx)
		if ctx.Err() != nil {
			return
		}
		if moved {
			failed = 0
		}
		d := backoff(failed)
		c.Log.WarnContext(ctx, what+" ended; the node goes on with what it runs", "error", err, "again_in", d)
		select {
		case <-c.pause(d):
		case <-ctx.Done():
		}
	}
}

// backoff is between 100 ms and a bound that doubles from 2 s up to 10 s, at random: a
// thousand nodes must not come back in step.
func backoff(failed int) time.Duration {
	const least, first, most = 100 * time.Millisecond, 2 * time.Second, 10 * time.Second
	bound := min(first<<min(failed, 4), most)
	return least + rand.N(bound-least)
}

// lasting is how long a stream holds that was not sent away.
const lasting = 10 * time.Second

// session runs one configuration stream to its end.
func (c *Client) session(ctx context.Context) (moved bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer c.connected(false)
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(c.Conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return false, fmt.Errorf("open stream: %w", err)
	}
	// EOF says that the control plane ended the stream; why, is for Recv to say.
	if err := stream.Send(c.hello()); err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("send position: %w", err)
	}
	// A node that stands where it must hears nothing for hours; the stream is good all the
	// same, and its end is not one more failure.
	c.connected(true)
	opened := c.Clock.Now()
	var s stage
	for {
		m, err := stream.Recv()
		if err != nil {
			return moved || c.Clock.Now().Sub(opened) > lasting, fmt.Errorf("receive: %w", err)
		}
		moved = true
		full, err := s.add(m)
		if err != nil {
			return moved, err
		}
		q := &discovery.DeltaDiscoveryRequest{TypeUrl: feedv1.EntryType, ResponseNonce: m.GetNonce()}
		if full != nil {
			q.ErrorDetail = c.settle(ctx, full)
			s = stage{}
		}
		if err := stream.Send(q); err != nil {
			return moved, fmt.Errorf("answer: %w", err)
		}
	}
}

// settle enforces a complete move; the answer is nil, or why it is refused.
func (c *Client) settle(ctx context.Context, s *stage) *rpcstatus.Status {
	err := c.enforce(ctx, s)
	if err == nil {
		c.Log.DebugContext(ctx, "enforces", "staged", s.to.Staged, "live", s.to.Live, "generation", s.to.Generation)
		return nil
	}
	c.Log.ErrorContext(ctx, "revision refused; the node goes on with what it runs",
		"staged", s.to.Staged, "live", s.to.Live, "error", err)
	return c.refuse(s.to, err)
}

func (c *Client) connected(yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Connected = yes
}

// hello is the first request of a stream: who the node is, where it stands, and what it will
// not run again.
func (c *Client) hello() *discovery.DeltaDiscoveryRequest {
	q := &discovery.DeltaDiscoveryRequest{
		Node: &core.Node{
			Id: c.NodeID, Cluster: c.Group, Metadata: c.metadata(),
			UserAgentName:        "sekifuda",
			UserAgentVersionType: &core.Node_UserAgentVersion{UserAgentVersion: c.Version},
		},
		TypeUrl:                feedv1.EntryType,
		ResourceNamesSubscribe: []string{"*"},
	}
	running := c.running()
	if running != (Pos{}) {
		q.InitialResourceVersions = map[string]string{feedv1.PosResource: running.String()}
	}
	var refusals []*feedv1.Refusal
	for _, at := range c.guard.deaths() {
		if at.Epoch != running.Epoch || at.Staged > running.Staged || at.Live > running.Live {
			refusals = append(refusals, &feedv1.Refusal{
				Running: running.Proto(), Refused: at.Proto(), Crashed: true,
				Violations: violations(errCrashed),
			})
		}
	}
	if len(refusals) > 0 {
		q.ErrorDetail = answer(codes.InvalidArgument, errCrashed.Error(), refusals...)
	}
	return q
}

func (c *Client) metadata() *structpb.Struct {
	labels := &structpb.Struct{Fields: make(map[string]*structpb.Value, len(c.Labels))}
	for k, v := range c.Labels {
		labels.Fields[k] = structpb.NewStringValue(v)
	}
	return &structpb.Struct{Fields: map[string]*structpb.Value{
		"hostname": structpb.NewStringValue(c.Hostname),
		"labels":   structpb.NewStructValue(labels),
	}}
}
