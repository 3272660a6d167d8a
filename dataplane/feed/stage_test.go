package feed

import (
	"testing"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// FuzzStage feeds whatever decodes as a response: it is staged or refused, never worse.
func FuzzStage(f *testing.F) {
	entry, err := anypb.New(&feedv1.Entry{Kind: "k", Id: "1", Body: []byte("x")})
	if err != nil {
		f.Fatal(err)
	}
	seed, err := proto.Marshal(&discovery.DeltaDiscoveryResponse{
		SystemVersionInfo: feedv1.Version{To: Pos{Epoch: "e"}, Chunks: 1}.String(),
		Resources:         []*discovery.Resource{{Name: "k/1", Resource: entry}},
		RemovedResources:  []string{"k/2", feedv1.Everything},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		m := new(discovery.DeltaDiscoveryResponse)
		if proto.Unmarshal(data, m) != nil {
			return
		}
		var s stage
		full, err := s.add(m)
		if err != nil || full == nil {
			return
		}
		for _, c := range full.move(Pos{}).Changes {
			if c.Kind == "" || c.ID == "" || full.whole && c.Body == nil {
				t.Errorf("staged change %+v", c)
			}
		}
	})
}
