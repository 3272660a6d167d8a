package fleet

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// node is a stream of its own that takes every move, notes when, and acknowledges it. What it
// is sent it does not keep: nodes that compile are dataplane processes.
type node struct {
	id, group string
	conn      *grpc.ClientConn
	crowd     *crowd
	at        atomic.Pointer[feedv1.Pos]
}

// crowd is many nodes of one process, and what they were sent.
type crowd struct {
	nodes []*node
	bytes atomic.Int64
	wg    sync.WaitGroup

	mu       sync.Mutex // guards what follows
	arrivals map[string][]arrival
	changed  chan struct{}
}

// arrival is a move that a node took.
type arrival struct {
	to feedv1.Pos
	at time.Time
}

func newCrowd() *crowd {
	return &crowd{arrivals: map[string][]arrival{}, changed: make(chan struct{}, 1)}
}

// join connects a node to a replica.
func (c *crowd) join(ctx context.Context, addr, id, group string) error {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		return err
	}
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return err
	}
	n := &node{id: id, group: group, conn: conn, crowd: c}
	if err := stream.Send(&discovery.DeltaDiscoveryRequest{
		Node: &core.Node{Id: id, Cluster: group}, TypeUrl: feedv1.EntryType, ResourceNamesSubscribe: []string{"*"},
	}); err != nil {
		return err
	}
	c.nodes = append(c.nodes, n)
	c.wg.Go(func() { n.run(stream) })
	return nil
}

func (n *node) run(stream discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient) {
	defer n.conn.Close()
	for {
		m, err := stream.Recv()
		if err != nil {
			return
		}
		at := time.Now()
		n.crowd.bytes.Add(int64(proto.Size(m)))
		v, err := feedv1.ParseVersion(m.GetSystemVersionInfo())
		if err != nil {
			return
		}
		if v.Last() {
			n.at.Store(&v.To)
			n.crowd.note(n.id, arrival{v.To, at})
		}
		if stream.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: feedv1.EntryType, ResponseNonce: m.GetNonce()}) != nil {
			return
		}
	}
}

func (c *crowd) note(id string, a arrival) {
	c.mu.Lock()
	c.arrivals[id] = append(c.arrivals[id], a)
	c.mu.Unlock()
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// took returns how long after begin each node took a move that there says is the one, once all
// nodes have. Nodes of which it is not expected are left out.
func (c *crowd) took(ctx context.Context, begin time.Time, there func(n *node, p feedv1.Pos) (expected, is bool)) ([]time.Duration, error) {
	for {
		all, missing := c.look(begin, there)
		if missing == 0 {
			return all, nil
		}
		select {
		case <-c.changed:
		case <-ctx.Done():
			return all, ctx.Err()
		}
	}
}

func (c *crowd) look(begin time.Time, there func(*node, feedv1.Pos) (expected, is bool)) (all []time.Duration, missing int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.nodes {
		found, wanted := false, false
		for _, a := range c.arrivals[n.id] {
			expected, is := there(n, a.to)
			wanted = wanted || expected
			if is {
				all, found = append(all, max(0, a.at.Sub(begin))), true
				break
			}
		}
		if expected, _ := there(n, feedv1.Pos{}); !found && (wanted || expected) {
			missing++
		}
	}
	return all, missing
}

// forget drops what arrived until now.
func (c *crowd) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.arrivals)
}
