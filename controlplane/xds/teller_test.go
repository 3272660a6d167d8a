package xds

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// teller is a node of a story: it speaks the wire protocol and nothing else.
type teller struct {
	s  *story
	id string

	cc     *grpc.ClientConn
	stream deltaStream
	in     chan *discovery.DeltaDiscoveryResponse
	err    error // once in is closed

	runs map[string]string
	at   feedv1.Pos
	seen map[string]feedv1.Pos // positions ever received, by their short form

	staged map[string]string
	nonce  string
	to     feedv1.Pos
}

func (n *teller) connect(args []string) {
	n.leave()
	// Or what the story says next would be true of the stream that is gone.
	n.s.eventually("the former watch to end", func() bool { return n.s.cache.waiting(n.id) == 0 })
	node := &core.Node{Id: n.id, UserAgentVersionType: &core.Node_UserAgentVersion{UserAgentVersion: "1"}}
	req := &discovery.DeltaDiscoveryRequest{Node: node, TypeUrl: feedv1.EntryType, ResourceNamesSubscribe: []string{"*"}}
	for _, a := range args {
		switch k, v, _ := strings.Cut(a, "="); k {
		case "group":
			node.Cluster = v
		case "version":
			node.UserAgentVersionType = &core.Node_UserAgentVersion{UserAgentVersion: v}
		case "fresh":
			n.runs, n.at = map[string]string{}, feedv1.Pos{}
		case "at": // claims a position it never was at, or one that it has seen
			if p, ok := n.seen[v]; ok {
				n.at = p
			} else if _, err := fmt.Sscanf(v, "%d.%d.%d", &n.at.Generation, &n.at.Staged, &n.at.Live); err != nil {
				n.s.fatalf("%v", err)
			}
			if n.at.Epoch == "" {
				n.at.Epoch = "e1"
			}
		case "crashed":
			req.ErrorDetail = n.detail(&feedv1.Refusal{Running: n.at.Proto(), Refused: n.seen[v].Proto(), Crashed: true}, "crashed", 3)
		}
	}
	if n.at != (feedv1.Pos{}) {
		req.InitialResourceVersions = map[string]string{feedv1.PosResource: n.at.String()}
	}
	n.cc = dial(n.s.t, n.s.addr)
	var err error
	n.stream, err = discovery.NewAggregatedDiscoveryServiceClient(n.cc).DeltaAggregatedResources(context.Background())
	if err == nil {
		err = n.stream.Send(req)
	}
	if err != nil {
		n.s.fatalf("%v", err)
	}
	n.in = make(chan *discovery.DeltaDiscoveryResponse, 1)
	go n.listen(n.stream, n.in)
}

func (n *teller) listen(stream deltaStream, in chan<- *discovery.DeltaDiscoveryResponse) {
	for {
		m, err := stream.Recv()
		if err != nil {
			n.s.mu.Lock()
			n.err = err
			n.s.mu.Unlock()
			close(in)
			return
		}
		in <- m
	}
}

func (n *teller) leave() {
	if n.cc != nil {
		n.cc.Close()
		for range n.in {
		}
		n.cc = nil
	}
}

func (n *teller) next() *discovery.DeltaDiscoveryResponse {
	select {
	case m, ok := <-n.in:
		if !ok {
			n.s.fatalf("stream ended: %v", n.err)
		}
		return m
	case <-time.After(10 * time.Second):
		n.s.fatalf("nothing came; heard %v", n.s.heard)
		return nil
	}
}

// get receives one move, chunk by chunk, and checks it against its own hash.
func (n *teller) get(args []string) {
	var want []string
	chunks, whole, elided := 1, false, false
	for _, a := range args[1:] {
		switch {
		case a == "whole":
			whole = true
		case a == "...":
			elided = true
		case strings.HasPrefix(a, "chunks="):
			chunks = int(n.s.number(a[len("chunks="):]))
		default:
			want = append(want, a)
		}
	}
	n.staged = maps.Clone(n.runs)
	var got []string
	for k := 0; ; k++ {
		m := n.next()
		v, err := feedv1.ParseVersion(m.GetSystemVersionInfo())
		if err != nil || v.Chunk != k || v.Chunks != chunks || short(v.To) != args[0] {
			n.s.fatalf("chunk %d of %d of %s (%v), want %d of %d", v.Chunk, v.Chunks, short(v.To), err, k, chunks)
		}
		if wiped := slices.Contains(m.GetRemovedResources(), feedv1.Everything); wiped != (whole && k == 0) {
			n.s.fatalf("whole = %v", wiped)
		} else if wiped {
			clear(n.staged)
		}
		got = append(got, n.stage(m)...)
		n.nonce, n.to = m.GetNonce(), v.To
		if v.Last() {
			break
		}
		n.ack()
	}
	n.remember(n.to)
	slices.Sort(got)
	slices.Sort(want)
	if !elided && !slices.Equal(got, want) {
		n.s.fatalf("changes are %q, want %q", got, want)
	}
	if h := hashOf(n.staged); h != n.to.Hash {
		n.s.fatalf("set hash is %v, sent %v", h, n.to.Hash)
	}
}

func (n *teller) stage(m *discovery.DeltaDiscoveryResponse) (got []string) {
	for _, r := range m.GetResources() {
		e := new(feedv1.Entry)
		if err := r.GetResource().UnmarshalTo(e); err != nil || r.GetName() != e.GetKind()+"/"+e.GetId() {
			n.s.fatalf("resource %q: %v", r.GetName(), err)
		}
		n.staged[r.GetName()] = string(e.GetBody())
		got = append(got, r.GetName()+"="+string(e.GetBody()))
	}
	for _, name := range m.GetRemovedResources() {
		if name != feedv1.Everything {
			delete(n.staged, name)
			got = append(got, "-"+name)
		}
	}
	return got
}

func hashOf(runs map[string]string) (h feedv1.SetHash) {
	for name, body := range runs {
		h = h.Plus(feedv1.Leaf(name, []byte(body)))
	}
	return h
}

func (n *teller) ack() {
	if n.to.Hash == hashOf(n.staged) {
		n.runs, n.at = maps.Clone(n.staged), n.to
		n.remember(n.to)
	}
	n.answer(nil)
}

func (n *teller) remember(p feedv1.Pos) {
	if n.seen == nil {
		n.seen = map[string]feedv1.Pos{}
	}
	n.seen[short(p)] = p
}

func (n *teller) refuse(reason string, code int32) {
	n.remember(n.to)
	n.answer(n.detail(&feedv1.Refusal{Running: n.at.Proto(), Refused: n.to.Proto()}, reason, code))
}

func (n *teller) detail(m proto.Message, reason string, code int32) *rpcstatus.Status {
	d, err := anypb.New(m)
	if err != nil {
		n.s.fatalf("%v", err)
	}
	return &rpcstatus.Status{Code: code, Message: reason, Details: []*anypb.Any{d}}
}

func (n *teller) answer(e *rpcstatus.Status) {
	if err := n.stream.Send(&discovery.DeltaDiscoveryRequest{
		TypeUrl: feedv1.EntryType, ResponseNonce: n.nonce, ErrorDetail: e,
	}); err != nil {
		n.s.fatalf("%v", err)
	}
}

func (n *teller) holds(want []string) {
	var got []string
	for name, body := range n.runs {
		got = append(got, name+"="+body)
	}
	n.remember(n.to)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		n.s.fatalf("holds %q", got)
	}
}

// say sends what a node must not send.
func (n *teller) say(args []string) {
	req := &discovery.DeltaDiscoveryRequest{TypeUrl: feedv1.EntryType}
	for _, a := range args {
		switch k, v, _ := strings.Cut(a, "="); k {
		case "nonce":
			req.ResponseNonce = v
		case "unsubscribe":
			req.ResourceNamesUnsubscribe = []string{v}
		case "subscribe":
			req.ResourceNamesSubscribe = []string{v}
		case "type":
			req.TypeUrl = v
		}
	}
	if err := n.stream.Send(req); err != nil {
		n.s.fatalf("%v", err)
	}
}

// told expects the end of the stream, under a code.
func (n *teller) told(args []string) {
	select {
	case m, ok := <-n.in:
		if ok {
			n.s.fatalf("got %v", m.SystemVersionInfo)
		}
	case <-time.After(10 * time.Second):
		n.s.fatalf("stream goes on")
	}
	want := codes.Unavailable
	if len(args) == 1 && args[0] == "InvalidArgument" {
		want = codes.InvalidArgument
	}
	n.s.mu.Lock()
	defer n.s.mu.Unlock()
	if got := status.Code(n.err); got != want {
		n.s.fatalf("code %v (%v), want %v", got, n.err, want)
	}
}
