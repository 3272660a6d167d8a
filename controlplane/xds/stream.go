package xds

import (
	"context"
	"net"
	"sync"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// Node is who is at the other end of a stream.
type Node struct {
	ID       string
	Group    string
	Version  string
	Hostname string
	IP       string
	Labels   map[string]string
}

// Observer hears what nodes do. It is called from the streams' own goroutines, in each
// stream's order, without a lock held: it must not wait. A stream is named by its number.
type Observer interface {
	// Connected says that a node opened a stream. An earlier one of the same node may not
	// have ended yet.
	Connected(stream int64, n Node)
	// Offered says that a node is being sent a move.
	Offered(stream int64, to feedv1.Pos)
	// Enforced says what a node runs: it acknowledged a move, or came back with it.
	Enforced(stream int64, at feedv1.Pos)
	// Refused says that a node goes on with r.Running instead of r.Refused.
	Refused(stream int64, r *feedv1.Refusal, message string)
	// Disconnected says that the stream ended.
	Disconnected(stream int64)
}

type nobody struct{}

func (nobody) Connected(int64, Node)                  {}
func (nobody) Offered(int64, feedv1.Pos)              {}
func (nobody) Enforced(int64, feedv1.Pos)             {}
func (nobody) Refused(int64, *feedv1.Refusal, string) {}
func (nobody) Disconnected(int64)                     {}

// Identify says who a node is by its connection, given what it claims; an error turns it
// away. With mutual TLS the certificate decides id and group.
type Identify func(ctx context.Context, claimed Node) (Node, error)

// DefaultGroup is the group of a node that claims none.
const DefaultGroup = "default"

const (
	maxID     = 128 // bytes of a node's id, group or label
	maxLabels = 64
)

// streams is the delta server's callbacks: it checks every request before the cache sees it
// and tells the observer. The delta server itself neither compares nonces nor restricts what
// a request may change; a request out of turn would be taken for an ACK.
type streams struct {
	cache    *Cache
	identify Identify

	mu   sync.Mutex
	open map[int64]*stream
}

// stream is one node's stream; only its own goroutine touches it.
type stream struct {
	id      int64
	ctx     context.Context
	node    Node
	known   bool // its first request came
	nonce   string
	pending bool // nonce was sent and not answered
	offered feedv1.Version
}

func (s *streams) OnDeltaStreamOpen(ctx context.Context, id int64, _ string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[id] = &stream{id: id, ctx: ctx}
	return nil
}

func (s *streams) OnDeltaStreamClosed(id int64, _ *core.Node) {
	s.mu.Lock()
	st := s.open[id]
	delete(s.open, id)
	s.mu.Unlock()
	if st != nil && st.known {
		s.cache.left(st.node)
		s.cache.observer.Disconnected(id)
	}
}

func (s *streams) at(id int64) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[id]
}

func (s *streams) OnStreamDeltaResponse(id int64, _ *discovery.DeltaDiscoveryRequest, m *discovery.DeltaDiscoveryResponse) {
	st := s.at(id)
	v, err := feedv1.ParseVersion(m.GetSystemVersionInfo())
	if st == nil || err != nil {
		return // not written by this package: a test's cache
	}
	st.nonce, st.pending, st.offered = m.GetNonce(), true, v
	if v.Chunk == 0 {
		s.cache.observer.Offered(id, v.To)
	}
}

func (s *streams) OnStreamDeltaRequest(id int64, req *discovery.DeltaDiscoveryRequest) error {
	st := s.at(id)
	if st == nil {
		return status.Error(codes.Internal, "request on a stream that is not open")
	}
	if err := checkShape(req); err != nil {
		return err
	}
	if !st.known {
		return s.first(st, req)
	}
	if !st.pending || req.GetResponseNonce() != st.nonce {
		return status.Errorf(codes.InvalidArgument, "response_nonce %q answers nothing that was asked", req.GetResponseNonce())
	}
	st.pending = false
	req.Node = nil // who speaks was settled by the first request
	if req.GetErrorDetail() != nil {
		s.refused(st, req)
	} else if st.offered.Last() {
		s.cache.observer.Enforced(id, st.offered.To)
	}
	return nil
}

func checkShape(req *discovery.DeltaDiscoveryRequest) error {
	if req.GetTypeUrl() != feedv1.EntryType {
		return status.Errorf(codes.InvalidArgument, "type_url %q is not served, only %s", req.GetTypeUrl(), feedv1.EntryType)
	}
	if len(req.GetResourceNamesUnsubscribe()) > 0 {
		return status.Error(codes.InvalidArgument, "resource_names_unsubscribe: a node sees everything of its group")
	}
	for _, name := range req.GetResourceNamesSubscribe() {
		if name != "*" {
			return status.Errorf(codes.InvalidArgument, "resource_names_subscribe: %q: a node sees everything of its group", name)
		}
	}
	return nil
}

// first settles who the node is and where it stands.
func (s *streams) first(st *stream, req *discovery.DeltaDiscoveryRequest) error {
	if req.GetResponseNonce() != "" {
		return status.Error(codes.InvalidArgument, "response_nonce: nothing was sent on this stream yet")
	}
	claimed, err := claim(st.ctx, req.GetNode())
	if err != nil {
		return err
	}
	if st.node, err = s.identify(st.ctx, claimed); err != nil {
		return err
	}
	st.known = true
	// From here on the request says who the node is, not who it claims to be; the delta
	// server keeps this object for the whole stream, so it is no larger than it must be.
	req.Node = &core.Node{
		Id: st.node.ID, Cluster: st.node.Group,
		UserAgentVersionType: &core.Node_UserAgentVersion{UserAgentVersion: st.node.Version},
	}
	s.cache.observer.Connected(st.id, st.node)
	if at, err := feedv1.ParsePos(req.GetInitialResourceVersions()[feedv1.PosResource]); err == nil {
		s.cache.observer.Enforced(st.id, at)
	}
	if req.GetErrorDetail() != nil {
		s.refused(st, req)
	}
	return nil
}

// refused notes what the node will not run. The first request of a stream may carry what
// the node refuses because it died of it.
func (s *streams) refused(st *stream, req *discovery.DeltaDiscoveryRequest) {
	all := refusalsOf(req.GetErrorDetail())
	if len(all) == 0 {
		all = []*feedv1.Refusal{{}}
	}
	for _, r := range all {
		at, err := feedv1.PosOf(r.GetRefused())
		if err != nil || at == (feedv1.Pos{}) {
			at = st.offered.To
			r.Refused = at.Proto()
		}
		if at != (feedv1.Pos{}) && (!lost(req) || !s.cache.resend(st.node, at)) {
			s.cache.refuse(st.node, at)
		}
		s.cache.observer.Refused(st.id, r, req.GetErrorDetail().GetMessage())
	}
}

func (c *Cache) resend(n Node, at feedv1.Pos) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refusals.resend(n, at)
}

// claim reads who a node says it is.
func claim(ctx context.Context, n *core.Node) (Node, error) {
	fields := n.GetMetadata().GetFields()
	c := Node{
		ID: n.GetId(), Group: n.GetCluster(), Version: n.GetUserAgentVersion(),
		Hostname: fields["hostname"].GetStringValue(),
	}
	if c.ID == "" || len(c.ID) > maxID {
		return c, status.Errorf(codes.InvalidArgument, "node.id must have 1 to %d bytes", maxID)
	}
	if len(c.Group) > maxID || len(c.Version) > maxID || len(c.Hostname) > 2*maxID {
		return c, status.Error(codes.InvalidArgument, "node: cluster, user_agent_version or hostname is too long")
	}
	labels := fields["labels"].GetStructValue().GetFields()
	if len(labels) > maxLabels {
		return c, status.Errorf(codes.InvalidArgument, "node: more than %d labels", maxLabels)
	}
	for k, v := range labels {
		if len(k) > maxID || len(v.GetStringValue()) > maxID {
			return c, status.Errorf(codes.InvalidArgument, "node: a label is longer than %d bytes", maxID)
		}
		if c.Labels == nil {
			c.Labels = make(map[string]string, len(labels))
		}
		c.Labels[k] = v.GetStringValue()
	}
	if p, ok := peer.FromContext(ctx); ok {
		c.IP = p.Addr.String()
		if host, _, err := net.SplitHostPort(c.IP); err == nil {
			c.IP = host
		}
		if p.Addr.Network() == "bufconn" { // a node in this process
			c.IP = "127.0.0.1"
		}
	}
	return c, nil
}

// trust takes a node at its word, for connections that prove nothing.
func trust(_ context.Context, claimed Node) (Node, error) {
	if claimed.Group == "" {
		claimed.Group = DefaultGroup
	}
	return claimed, nil
}
