package xds

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/controlplane/snapshot"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// crowd is many nodes on connections of their own, which take every move and acknowledge it.
type crowd struct {
	tb    testing.TB
	cache *Cache
	addr  string
	snap  *snapshot.Snapshot
	empty uint64 // heap and stacks before the first node
	got   chan arrival
	bytes atomic.Int64
	wg    sync.WaitGroup
}

type arrival struct {
	rev uint64
	at  time.Time
}

func follow(s *snapshot.Snapshot) Update {
	return Update{
		Snapshots: []*snapshot.Snapshot{s},
		Plan:      func(string, string) Target { return Target{Generation: 1, Staged: s.Rev(), Live: s.Rev()} },
	}
}

// gather connects nodes that already hold a configuration of so many entities.
func gather(tb testing.TB, nodes, entities int) *crowd {
	tb.Helper()
	c := &crowd{tb: tb, cache: New(Options{}), got: make(chan arrival, nodes)}
	changes := make([]snapshot.Change, entities)
	for i := range changes {
		changes[i] = snapshot.Change{Rev: 1, Kind: "routes", ID: fmt.Sprintf("%08x-0000-4000-8000-000000000000", i), After: bytes.Repeat([]byte("x"), 300)}
	}
	c.snap = snapshot.New("e1", rules).Apply(1, changes)
	c.cache.Apply(follow(c.snap))
	c.empty = heap()
	ctx, cancel := context.WithCancel(context.Background())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	c.addr = l.Addr().String()
	server := NewServer(ctx, c.cache, ServerOptions{})
	c.wg.Go(func() { _ = server.Serve(l) })
	tb.Cleanup(func() { cancel(); server.Stop(); c.wg.Wait() })
	for i := range nodes {
		c.join(ctx, i)
	}
	c.settled(nodes)
	return c
}

func (c *crowd) join(ctx context.Context, i int) {
	cc := dial(c.tb, c.addr)
	s, err := discovery.NewAggregatedDiscoveryServiceClient(cc).DeltaAggregatedResources(ctx)
	if err == nil {
		at := snapshot.View{Staged: c.snap, Live: c.snap}.Pos(1)
		err = s.Send(&discovery.DeltaDiscoveryRequest{
			Node: &core.Node{Id: fmt.Sprint("n", i)}, TypeUrl: feedv1.EntryType,
			InitialResourceVersions: map[string]string{feedv1.PosResource: at.String()},
		})
	}
	if err != nil {
		c.tb.Fatal(err)
	}
	c.wg.Go(func() {
		defer cc.Close()
		for {
			m, err := s.Recv()
			if err != nil {
				return
			}
			at := time.Now()
			c.bytes.Add(int64(proto.Size(m)))
			v, err := feedv1.ParseVersion(m.GetSystemVersionInfo())
			if err != nil {
				return
			}
			c.got <- arrival{v.To.Staged, at}
			if s.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: feedv1.EntryType, ResponseNonce: m.GetNonce()}) != nil {
				return
			}
		}
	})
}

// settled waits until every node waits for a change.
func (c *crowd) settled(nodes int) {
	for deadline := time.Now().Add(60 * time.Second); c.cache.waiting("") != nodes; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			c.tb.Fatalf("%d of %d nodes wait", c.cache.waiting(""), nodes)
		}
	}
}

func (c *crowd) change(i int) time.Time {
	id := fmt.Sprintf("%08x-0000-4000-8000-000000000000", i*7919%c.snap.Len())
	rev := c.snap.Rev() + 1
	start := time.Now()
	c.snap = c.snap.Apply(rev, []snapshot.Change{{Rev: rev, Kind: "routes", ID: id, After: bytes.Repeat([]byte("y"), 300)}})
	c.cache.Apply(follow(c.snap))
	return start
}

// One entity of 100,000 changes; the time is from before the snapshot is made to the node's
// having the message. Nodes and control plane share the machine.
func BenchmarkFanOut(b *testing.B) {
	for _, nodes := range []int{200, 1000} {
		b.Run(fmt.Sprintf("nodes=%d/entities=100000", nodes), func(b *testing.B) {
			c := gather(b, nodes, 100_000)
			perNode := float64(heap()-c.empty) / float64(nodes)
			c.bytes.Store(0)
			var each, last []time.Duration
			i := 0
			for b.Loop() {
				start := c.change(i)
				var slowest time.Duration
				for range nodes {
					d := (<-c.got).at.Sub(start)
					each, slowest = append(each, d), max(slowest, d)
				}
				last = append(last, slowest)
				i++
				b.StopTimer()
				c.settled(nodes)
				b.StartTimer()
			}
			b.ReportMetric(perNode, "heap+stack-B/node-both-ends")
			report(b, each, "node")
			report(b, last, "last-node")
			b.ReportMetric(float64(c.bytes.Load())/float64(i*nodes), "wire-B/node/change")
		})
	}
}

func report(b *testing.B, all []time.Duration, of string) {
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, of+"-p50-ms")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, of+"-p99-ms")
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// A node that stops reading delays neither the others nor Apply: 40 MB pass it by.
func TestStalledNodeDelaysNobody(t *testing.T) {
	t.Parallel()
	c := gather(t, 3, 10)
	cc := dial(t, c.addr)
	defer cc.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s, err := discovery.NewAggregatedDiscoveryServiceClient(cc).DeltaAggregatedResources(ctx)
	if err == nil {
		err = s.Send(&discovery.DeltaDiscoveryRequest{Node: &core.Node{Id: "stalled"}, TypeUrl: feedv1.EntryType})
	}
	if err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("y", 1<<20)
	for rev := uint64(2); rev <= 40; rev++ {
		c.snap = c.snap.Apply(rev, []snapshot.Change{{Rev: rev, Kind: "routes", ID: "big", After: append([]byte(big), byte(rev))}})
		c.cache.Apply(follow(c.snap))
		for range 3 {
			select {
			case a := <-c.got:
				if a.rev != rev {
					t.Fatalf("node got revision %d, want %d", a.rev, rev)
				}
			case <-time.After(30 * time.Second):
				t.Fatalf("revision %d does not arrive beside a stalled node", rev)
			}
		}
		for deadline := time.Now().Add(30 * time.Second); c.cache.waiting("")-c.cache.waiting("stalled") != 3; time.Sleep(100 * time.Microsecond) {
			if time.Now().After(deadline) {
				t.Fatal("nodes do not come back for more")
			}
		}
	}
}
