package feed

import (
	"strings"
	"testing"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// A refusal must arrive whatever an applier says in it.
func TestRefusalsFitOnTheWire(t *testing.T) {
	t.Parallel()
	c := node(t, "", yes)
	var r Refused
	long := strings.Repeat("\xfe", 1<<20)
	for range 500 {
		r.Violations = append(r.Violations, Violation{Object: "k/1", Field: "\xff", Reason: long})
	}
	s := c.refuse(Pos{Epoch: "e"}, &r)
	wire, err := proto.Marshal(s)
	if err != nil || len(wire) > 1<<20 {
		t.Fatalf("refusal has %d bytes, %v", len(wire), err)
	}
	got := new(feedv1.Refusal)
	if err := s.GetDetails()[0].UnmarshalTo(got); err != nil || len(got.GetViolations()) != maxViolations {
		t.Errorf("refusal names %d objects, %v", len(got.GetViolations()), err)
	}
	if _, err := New(Options{Applier: applierFunc(yes), NodeID: "n", Labels: map[string]string{"zone": "\xff"}}); err == nil {
		t.Error("a label that is not UTF-8 is taken")
	}
}

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
