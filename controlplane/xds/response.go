package xds

import (
	"context"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

var _ cache.DeltaResponse = (*response)(nil)

// response is one answer to one node.
type response struct {
	req     *discovery.DeltaDiscoveryRequest
	version string
	body    []byte            // encoded resources and removed_resources, shared
	next    map[string]string // what the delta server remembers of the node
	err     error             // ends the stream instead
}

// GetDeltaDiscoveryResponse makes a message of this node's own, for the delta server writes
// the nonce into it. The shared bytes ride along as unknown fields: the encoder copies them
// verbatim, and whoever decodes them sees ordinary fields.
func (r *response) GetDeltaDiscoveryResponse() (*discovery.DeltaDiscoveryResponse, error) {
	if r.err != nil {
		return nil, r.err
	}
	m := &discovery.DeltaDiscoveryResponse{SystemVersionInfo: r.version, TypeUrl: feedv1.EntryType}
	m.ProtoReflect().SetUnknown(r.body)
	return m, nil
}

func (r *response) GetDeltaRequest() *discovery.DeltaDiscoveryRequest { return r.req }
func (r *response) GetSystemVersion() (string, error)                 { return r.version, nil }
func (r *response) GetResponseVersion() string                        { return r.version }
func (r *response) GetNextVersionMap() map[string]string              { return r.next }
func (r *response) GetReturnedResources() map[string]string           { return r.next }
func (r *response) GetContext() context.Context                       { return context.Background() }
