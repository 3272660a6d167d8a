package xds

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/controlplane/snapshot"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// TestMain fails when a test leaves a goroutine behind.
func TestMain(m *testing.M) {
	code := m.Run()
	deadline := time.Now().Add(5 * time.Second)
	for runtime.NumGoroutine() > 2 && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	if n := runtime.NumGoroutine(); code == 0 && n > 2 {
		fmt.Fprintf(os.Stderr, "%d goroutines are left:\n", n)
		_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		code = 1
	}
	os.Exit(code)
}

// The shared bytes ride as unknown fields; what the stock encoder makes of them, the stock
// decoder must read as ordinary ones.
func TestStockDecoderReadsSharedBytes(t *testing.T) {
	t.Parallel()
	e := &snapshot.Entry{Kind: "services", ID: "a", Rev: 1 << 40, Body: []byte("body\x00\xff")}
	k := chunker{size: 1 << 20}
	k.remove("routes/r")
	k.put(e)
	k.put(&snapshot.Entry{Kind: "services", ID: "empty"})
	body := k.done()[0]
	r := &response{version: "v", body: body}
	first, err := r.GetDeltaDiscoveryResponse()
	if err != nil {
		t.Fatal(err)
	}
	first.Nonce = "1"
	second, err := r.GetDeltaDiscoveryResponse()
	if err != nil || second.GetNonce() != "" {
		t.Fatalf("two streams share a message: nonce %q, %v", second.GetNonce(), err)
	}
	wire, err := proto.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}
	got := new(discovery.DeltaDiscoveryResponse)
	if err := proto.Unmarshal(wire, got); err != nil {
		t.Fatal(err)
	}
	if len(got.ProtoReflect().GetUnknown()) != 0 || got.GetNonce() != "1" || got.GetTypeUrl() != feedv1.EntryType {
		t.Errorf("decoded %v", got)
	}
	if len(got.GetResources()) != 2 || len(got.GetRemovedResources()) != 1 || got.GetRemovedResources()[0] != "routes/r" {
		t.Fatalf("decoded %v", got)
	}
	m := new(feedv1.Entry)
	res := got.GetResources()[0]
	if err := res.GetResource().UnmarshalTo(m); err != nil {
		t.Fatal(err)
	}
	want := &feedv1.Entry{Kind: "services", Id: "a", Rev: 1 << 40, Body: e.Body}
	if !proto.Equal(m, want) || res.GetName() != "services/a" || res.GetVersion() == "" {
		t.Errorf("decoded %v named %q, want %v", m, res.GetName(), want)
	}
	if again, _ := r.GetDeltaDiscoveryResponse(); !bytes.Equal(again.ProtoReflect().GetUnknown(), body) {
		t.Error("sending changed the shared bytes")
	}
}

func FuzzEncode(f *testing.F) {
	f.Add("services", "a", uint64(7), []byte("x"))
	f.Add("", "", uint64(0), []byte{})
	f.Add("k", strings.Repeat("i", 300), uint64(1<<63), bytes.Repeat([]byte("b"), 300))
	f.Fuzz(func(t *testing.T, kind, id string, rev uint64, body []byte) {
		if !utf8.ValidString(kind) || !utf8.ValidString(id) {
			return // ids are checked where they enter
		}
		wire := appendResource(nil, &snapshot.Entry{Kind: kind, ID: id, Rev: rev, Body: body})
		got := new(discovery.DeltaDiscoveryResponse)
		if err := proto.Unmarshal(wire, got); err != nil || len(got.GetResources()) != 1 {
			t.Fatalf("decoded %v, %v", got, err)
		}
		m := new(feedv1.Entry)
		if err := got.GetResources()[0].GetResource().UnmarshalTo(m); err != nil {
			t.Fatal(err)
		}
		if m.GetKind() != kind || m.GetId() != id || m.GetRev() != rev || !bytes.Equal(m.GetBody(), body) {
			t.Errorf("decoded %v", m)
		}
	})
}

func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	c := New(Options{Limits: Limits{Revisions: 50, Bytes: 1 << 20}})
	s := snapshot.New("e", nil)
	for rev := uint64(1); rev <= 200; rev++ {
		s = s.Apply(rev, []snapshot.Change{{Rev: rev, Kind: "k", ID: "1", After: make([]byte, 10)}})
		c.Apply(Update{Snapshots: []*snapshot.Snapshot{s}, Plan: func(string, string) Target { return Target{} }, Keep: []uint64{10}})
	}
	if got := len(c.history.recent); got != 50 {
		t.Errorf("revisions kept = %d, want 50", got)
	}
	if c.history.at(10) == nil || c.history.at(11) != nil || c.history.at(151) == nil {
		t.Error("kept are not the pinned and the newest revisions")
	}
	for rev := uint64(201); rev <= 230; rev++ {
		s = s.Apply(rev, []snapshot.Change{{Rev: rev, Kind: "k", ID: "1", After: make([]byte, 200<<10)}})
		c.Apply(Update{Snapshots: []*snapshot.Snapshot{s}})
	}
	if got := len(c.history.recent); got > 7 || c.history.bytes > 1<<20 {
		t.Errorf("kept %d revisions of 200 kB, %d bytes, bound is 1 MiB", got, c.history.bytes)
	}
}

func TestEncodedMovesAreBounded(t *testing.T) {
	t.Parallel()
	m := moves{chunk: 1 << 20}
	s := snapshot.New("e", nil)
	was := snapshot.View{Staged: s, Live: s}
	for rev := uint64(1); rev <= 2*maxDiffs; rev++ {
		size := 10
		if rev > 2*maxDiffs-100 {
			size = 1 << 20 // past the bound on bytes
		}
		s = s.Apply(rev, []snapshot.Change{{Rev: rev, Kind: "k", ID: "1", After: make([]byte, size)}})
		to := snapshot.View{Staged: s, Live: s}
		mv := m.diff(was, to, 1)
		if m.diff(was, to, 1) != mv {
			t.Fatal("a difference is encoded twice")
		}
		if len(m.diffs) > maxDiffs || m.bytes > maxDiffBytes {
			t.Fatalf("%d moves of %d bytes are kept", len(m.diffs), m.bytes)
		}
	}
	for i := range uint64(2 * maxOpen) {
		m.begin(&move{id: i}, time.Unix(int64(i), 0))
	}
	if len(m.open) != maxOpen || m.open[2*maxOpen-1] == nil {
		t.Errorf("%d moves are under way, want the newest %d", len(m.open), maxOpen)
	}
	m.sweep(time.Unix(1e6, 0))
	if len(m.open) != 0 {
		t.Errorf("%d idle moves are kept", len(m.open))
	}
}

func TestRefusersAreBounded(t *testing.T) {
	t.Parallel()
	var r refusals
	for i := range maxRefusers + 10 {
		for rev := range uint64(maxRefused + 3) {
			r.add(Node{ID: fmt.Sprint(i)}, feedv1.Pos{Epoch: "e", Staged: rev})
		}
	}
	if len(r.nodes) != maxRefusers {
		t.Errorf("%d nodes are remembered, want %d", len(r.nodes), maxRefusers)
	}
	for id, k := range r.nodes {
		if len(k.refused) != maxRefused || k.refused[maxRefused-1].staged != maxRefused+2 {
			t.Fatalf("node %s: remembered %v, want the newest %d", id, k.refused, maxRefused)
		}
	}
}
