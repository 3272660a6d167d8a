package xds

import (
	"context"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/delta/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// ServerOptions are what a feed server is built with.
type ServerOptions struct {
	// Identify says who a node is; nil takes nodes at their word, which is for loopback and
	// in-memory listeners only.
	Identify Identify
	// Nodes serves the nodes' reports; nil leaves that service out.
	Nodes feedv1.NodeServiceServer
	// GRPC are further options: credentials, interceptors.
	GRPC []grpc.ServerOption
}

// NewServer returns a server of the feed, to be served on any listener, in memory or TCP.
// Its streams end when ctx does.
func NewServer(ctx context.Context, c *Cache, o ServerOptions) *grpc.Server {
	if o.Identify == nil {
		o.Identify = trust
	}
	s := grpc.NewServer(append(transport(), o.GRPC...)...)
	callbacks := &streams{cache: c, identify: o.Identify, open: make(map[int64]*stream)}
	discovery.RegisterAggregatedDiscoveryServiceServer(s, &feed{server: delta.NewServer(ctx, c, callbacks)})
	if o.Nodes != nil {
		feedv1.RegisterNodeServiceServer(s, o.Nodes)
	}
	return s
}

// transport is what every feed connection is held to.
func transport() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time:    10 * time.Second, // a half-open connection is found within 15 s
			Timeout: 5 * time.Second,
			// Streams are recycled (gRPC adds 10 % jitter), so that nodes spread over
			// replicas again and certificates are looked at anew.
			MaxConnectionAge:      time.Hour,
			MaxConnectionAgeGrace: 30 * time.Second,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime: 5 * time.Second, PermitWithoutStream: true,
		}),
		// A request is a position, an answer or a report: small.
		grpc.MaxRecvMsgSize(1 << 20),
		// A node opens two streams.
		grpc.MaxConcurrentStreams(16),
	}
}

// feed is the discovery service with only its delta half.
type feed struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer
	server delta.Server
}

func (f *feed) DeltaAggregatedResources(s discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	return f.server.DeltaStreamHandler(s, resource.AnyType)
}
