// Package fleet measures a fleet: real control plane processes on PostgreSQL, a thousand streams,
// some nodes that compile, and changes that must reach them all.
//
// make bench-fleet runs it at full size and prints a table; make test runs it small, to see
// that it works.
package fleet

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

func TestMain(m *testing.M) { stack.Main(m) }

// size is how large a fleet is.
type size struct{ streams, compiling, entities, changes, switches int }

func sizeOf() size {
	if os.Getenv("SEKI_FLEET_FULL") != "" {
		return size{streams: 990, compiling: 10, entities: 100_000, changes: 50, switches: 10}
	}
	return size{streams: 40, compiling: 2, entities: 1000, changes: 3, switches: 2}
}

// installation is two replicas and their nodes.
type installation struct {
	*testing.T
	size
	replicas []*stack.Process
	admin    []controlv1.ConfigServiceClient
	rollout  []controlv1.RolloutServiceClient
	fleet    []controlv1.FleetServiceClient
	crowd    *crowd
	nodes    []*stack.Process
}

func start(t *testing.T, z size) *installation {
	t.Helper()
	f := &installation{T: t, size: z, crowd: newCrowd()}
	db := services.NewPostgres(t)
	for range 2 {
		p := stack.Start(t, "controlplane", "--database-url", db.URL, "--data-dir", t.TempDir(), "--admin-listen", "off", "--console-listen", "off",
			"--grpc-listen", "127.0.0.1:0", "--feed-listen", "127.0.0.1:0", "--status-listen", "127.0.0.1:0", "--feed-insecure", "--log-level", "error")
		conn, err := grpc.NewClient(p.Addr("admin gRPC"), grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		f.replicas = append(f.replicas, p)
		f.admin = append(f.admin, controlv1.NewConfigServiceClient(conn))
		f.rollout = append(f.rollout, controlv1.NewRolloutServiceClient(conn))
		f.fleet = append(f.fleet, controlv1.NewFleetServiceClient(conn))
	}
	return f
}

// group is the i-th node's.
func group(i int) string { return []string{"blue", "green"}[i%2] }

// gather brings the nodes in, and waits until each has all.
func (f *installation) gather(ctx context.Context, head uint64) time.Duration {
	f.Helper()
	begin := time.Now()
	for i := range f.compiling {
		f.nodes = append(f.nodes, stack.Start(f, "dataplane", "--control-plane", f.replicas[i%2].Addr("feed"), "--feed-insecure", "--data-dir", f.TempDir(),
			"--group", group(i), "--node-id", fmt.Sprint("real", i), "--proxy-listen", "127.0.0.1:0", "--proxy-tls-listen", "off", "--status-listen", "off", "--log-level", "error"))
	}
	for i := range f.streams {
		if err := f.crowd.join(ctx, f.replicas[i%2].Addr("feed"), fmt.Sprint("n", i), group(i)); err != nil {
			f.Fatal(err)
		}
	}
	f.everywhere(ctx, head)
	return time.Since(begin)
}

// everywhere waits until every node enforces a revision.
func (f *installation) everywhere(ctx context.Context, rev uint64) {
	f.Helper()
	if _, err := f.crowd.took(ctx, time.Now(), func(n *node, _ feedv1.Pos) (bool, bool) {
		p := n.at.Load()
		return true, p != nil && p.Staged >= rev
	}); err != nil {
		f.Fatalf("nodes are not at revision %d: %v", rev, err)
	}
	for ctx.Err() == nil {
		behind := 0
		for _, c := range f.fleet {
			res, err := c.ListNodes(ctx, &controlv1.ListNodesRequest{})
			if err != nil {
				f.Fatal(err)
			}
			for _, n := range res.GetNodes() {
				if n.GetConnected() && n.GetRunning().GetStagedRev() < rev {
					behind++
				}
			}
		}
		if behind == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	f.Fatalf("nodes are not at revision %d", rev)
}

func commit(ctx context.Context, c controlv1.ConfigServiceClient, wait *controlv1.Wait, entities ...proto.Message) (*controlv1.CommitResponse, error) {
	req := &controlv1.CommitRequest{Wait: wait}
	for _, e := range entities {
		spec, err := anypb.New(e)
		if err != nil {
			return nil, err
		}
		req.Ops = append(req.Ops, &controlv1.Op{Op: &controlv1.Op_Put{Put: spec}})
	}
	return c.Commit(ctx, req)
}

func route(i, version int) *entityv1.Route {
	return &entityv1.Route{
		Id: proto.String(fmt.Sprintf("%08x-0000-4000-8000-000000000000", i+1)), Name: proto.String(fmt.Sprint("route-", i)),
		Paths: []string{fmt.Sprintf("/tenants/%d/things/%d", i, version)}, Hosts: []string{fmt.Sprintf("h%d.test", i%100)},
		Service: proto.String(serviceID), Tags: []string{"tenant"},
	}
}

const serviceID = "00000000-0000-4000-8000-00000000abcd"

// fill writes the entities in batches.
func (f *installation) fill(ctx context.Context) (head uint64, took time.Duration) {
	f.Helper()
	begin := time.Now()
	if _, err := commit(ctx, f.admin[0], nil, &entityv1.Service{Id: proto.String(serviceID), Name: proto.String("s"), Host: proto.String("up.test")}); err != nil {
		f.Fatal(err)
	}
	const batch = 5000
	for i := 0; i < f.entities; i += batch {
		var list []proto.Message
		for k := i; k < min(i+batch, f.entities); k++ {
			list = append(list, route(k, 0))
		}
		res, err := commit(ctx, f.admin[0], nil, list...)
		if err != nil {
			f.Fatal(err)
		}
		head = res.GetRevision().GetRev()
	}
	return head, time.Since(begin)
}

func TestFleet(t *testing.T) {
	z := sizeOf()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	f := start(t, z)
	head, filled := f.fill(ctx)
	empty := f.resident()
	joined := f.gather(ctx, head)
	full := f.resident()
	t.Logf("%d entities written in %v; %d nodes on %d replicas had all of them after %v", z.entities, filled.Round(time.Millisecond), z.streams+z.compiling, len(f.replicas), joined.Round(time.Millisecond))
	t.Logf("control plane: %d MiB resident with the entities, %.1f KiB more for each node", empty>>20, float64(full-empty)/1024/float64(z.streams+z.compiling))
	f.changesReachAll(ctx)
	f.groupsSwitch(ctx)
}

// changesReachAll commits one route at a time, on either replica.
func (f *installation) changesReachAll(ctx context.Context) {
	var each, last, enforced []time.Duration
	f.crowd.bytes.Store(0)
	cpu := f.cpu()
	for i := range f.changes {
		f.crowd.forget()
		begin := time.Now()
		res, err := commit(ctx, f.admin[i%2], nil, route(i*7919%f.entities, i+1))
		if err != nil {
			f.Fatal(err)
		}
		rev := res.GetRevision().GetRev()
		took, err := f.crowd.took(ctx, begin, func(_ *node, p feedv1.Pos) (bool, bool) { return true, p.Staged >= rev })
		if err != nil {
			f.Fatalf("change %d: %d of %d nodes took it: %v", i, len(took), f.streams, err)
		}
		each, last = append(each, took...), append(last, slices.Max(took))
		f.everywhere(ctx, rev)
		enforced = append(enforced, time.Since(begin))
	}
	f.Logf("one route changed, commit to node: %s; last node of each change: %s", spread(each), spread(last))
	f.Logf("every node acknowledged, those that compile too (looked at every 20 ms): %s", spread(enforced))
	f.Logf("%d bytes for each node and change; %.1f ms CPU of the replicas for each change", f.crowd.bytes.Load()/int64(f.changes*f.streams),
		1000*(f.cpu()-cpu).Seconds()/float64(f.changes))
}

// groupsSwitch pins blue, commits a change that only green gets, and switches the two back and
// forth.
func (f *installation) groupsSwitch(ctx context.Context) {
	pinned := &controlv1.Assignment{Mode: controlv1.Mode_MODE_PINNED}
	if _, err := f.rollout[0].SetGroup(ctx, &controlv1.SetGroupRequest{Name: "blue", Assignment: pinned, Wait: &controlv1.Wait{}}); err != nil {
		f.Fatal(err)
	}
	if _, err := commit(ctx, f.admin[0], nil, route(0, 1_000_000)); err != nil {
		f.Fatal(err)
	}
	var each, last []time.Duration
	for i := range f.switches {
		f.crowd.forget()
		begin := time.Now()
		res, err := f.rollout[i%2].SwapGroups(ctx, &controlv1.SwapGroupsRequest{A: "blue", B: "green"})
		if err != nil {
			f.Fatal(err)
		}
		generation := map[string]uint64{"blue": res.GetA().GetGeneration(), "green": res.GetB().GetGeneration()}
		took, err := f.crowd.took(ctx, begin, func(n *node, p feedv1.Pos) (bool, bool) { return true, p.Generation >= generation[n.group] })
		if err != nil {
			f.Fatalf("switch %d: %d of %d nodes moved: %v", i, len(took), f.streams, err)
		}
		each, last = append(each, took...), append(last, slices.Max(took))
	}
	f.Logf("blue and green switched on one of two replicas, to node: %s; last node: %s", spread(each), spread(last))
}

func spread(all []time.Duration) string {
	slices.Sort(all)
	at := func(q float64) time.Duration {
		return all[min(len(all)-1, int(q*float64(len(all))))].Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("p50 %v, p99 %v, max %v", at(0.5), at(0.99), at(1))
}

// resident is the memory of the replicas, in bytes.
func (f *installation) resident() (sum int64) {
	for _, p := range f.replicas {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
		if err != nil {
			f.Skipf("not measured on this system: %v", err)
		}
		_, rest, _ := bytes.Cut(raw, []byte("VmRSS:"))
		n, _ := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
		sum += n << 10
	}
	return sum
}

// cpu is the CPU time that the replicas used.
func (f *installation) cpu() (sum time.Duration) {
	const tick = 10 * time.Millisecond // USER_HZ
	for _, p := range f.replicas {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
		if err != nil {
			f.Skipf("not measured on this system: %v", err)
		}
		fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+2:]))
		for _, i := range []int{11, 12} { // utime, stime
			n, _ := strconv.ParseInt(fields[i], 10, 64)
			sum += time.Duration(n) * tick
		}
	}
	return sum
}
