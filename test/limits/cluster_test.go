//go:build unix

package main

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// startRedis runs a redis-server of the test's own with more arguments and returns its port.
func startRedis(t *testing.T, args ...string) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	all := append([]string{"--bind", "127.0.0.1", "--port", fmt.Sprint(port), "--save", "", "--dir", t.TempDir()}, args...)
	cmd := exec.Command("redis-server", all...)
	if err := cmd.Start(); err != nil {
		t.Fatalf("start redis-server: run test/setup.sh as root: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	c := dial(t, fmt.Sprintf("redis://127.0.0.1:%d", port))
	until(t, "redis-server answers", func() bool { return c.Ping(context.Background()).Err() == nil })
	return port
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 30 s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// startCluster makes a cluster of three masters and returns its URL.
func startCluster(t *testing.T) (url string, nodes []*redis.Client) {
	t.Helper()
	ctx := context.Background()
	const masters, slots = 3, 16384
	var ports []int
	for range masters {
		// The port of the cluster's own bus is ten thousand above by default, which may be
		// none.
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		bus := l.Addr().(*net.TCPAddr).Port
		l.Close()
		port := startRedis(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", fmt.Sprint(bus))
		c := dial(t, fmt.Sprintf("redis://127.0.0.1:%d", port))
		i := len(ports)
		if err := c.ClusterAddSlotsRange(ctx, i*slots/masters, (i+1)*slots/masters-1).Err(); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			if err := nodes[0].Do(ctx, "CLUSTER", "MEET", "127.0.0.1", port, bus).Err(); err != nil {
				t.Fatal(err)
			}
		}
		ports, nodes = append(ports, port), append(nodes, c)
	}
	for _, c := range nodes {
		until(t, "the cluster is whole", func() bool {
			info := c.ClusterInfo(ctx).Val()
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3")
		})
	}
	return fmt.Sprintf("redis://127.0.0.1:%d?addr=127.0.0.1:%d&addr=127.0.0.1:%d", ports[0], ports[1], ports[2]), nodes
}

// TestClusterIsExact runs ten gates on a cluster of three masters, on one identifier and on
// many.
func TestClusterIsExact(t *testing.T) {
	url, nodes := startCluster(t)
	const seconds = 4
	o := orders{
		RedisURL: url, Windows: perSecond(1000), Rate: 1500,
		For: seconds*time.Second - 50*time.Millisecond, Patience: 2 * time.Second,
	}
	begin := second()
	r, err := runFleet(10, o, begin)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "one identifier", r, begin, seconds, 1000)

	o.Keys, o.Windows, o.Rate = 300, perSecond(5), 3000
	begin = second()
	if r, err = runFleet(10, o, begin); err != nil {
		t.Fatal(err)
	}
	check(t, "300 identifiers", r, begin, seconds, 5)
	for i, c := range nodes {
		if n, err := scriptCalls(context.Background(), c); n == 0 || err != nil {
			t.Errorf("master %d was asked for %d leases, %v", i, n, err)
		}
	}
}

// TestASlotMoves moves the slot of a limit to another master while ten gates ask.
func TestASlotMoves(t *testing.T) {
	if !full() {
		t.Skip("run by make limits")
	}
	url, nodes := startCluster(t)
	begin := second()
	done := make(chan struct{})
	go func() {
		defer close(done)
		time.Sleep(time.Until(begin.Add(2300 * time.Millisecond)))
		moveSlot(t, nodes)
	}()
	const seconds, limit = 6, 2000
	r, err := runFleet(10, orders{
		RedisURL: url, Windows: perSecond(limit), Rate: 3000, For: seconds*time.Second - 50*time.Millisecond,
	}, begin)
	<-done
	if err != nil {
		t.Fatal(err)
	}
	if r.Errors != 0 {
		t.Errorf("%d requests got an error, want none", r.Errors)
	}
	for i := range seconds {
		a := r.Charged[begin.Unix()+int64(i)]
		t.Logf("second %d: offered %d, admitted %d", i, a.Offered, a.Admitted)
		if a.Admitted > 2*limit || a.Admitted < limit/2 || i != 2 && i != 3 && a.Admitted != limit {
			t.Errorf("second %d admitted %d, want %d, and about that while the slot moves", i, a.Admitted, limit)
		}
	}
}

// moveSlot moves the slot that has the limit's keys, as redis-cli does.
func moveSlot(t *testing.T, nodes []*redis.Client) {
	ctx := context.Background()
	for i, from := range nodes {
		keys := from.Keys(ctx, "*fleet|one*").Val()
		if len(keys) == 0 {
			continue
		}
		to := nodes[(i+1)%len(nodes)]
		slot := from.ClusterKeySlot(ctx, keys[0]).Val()
		fromID, toID := from.Do(ctx, "CLUSTER", "MYID").Val(), to.Do(ctx, "CLUSTER", "MYID").Val()
		host, port, _ := strings.Cut(to.Options().Addr, ":")
		run := func(c *redis.Client, args ...any) {
			if err := c.Do(ctx, args...).Err(); err != nil {
				t.Errorf("%v: %v", args, err)
			}
		}
		run(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", fromID)
		run(from, "CLUSTER", "SETSLOT", slot, "MIGRATING", toID)
		for {
			left := from.ClusterGetKeysInSlot(ctx, int(slot), 100).Val()
			if len(left) == 0 {
				break
			}
			for _, k := range left {
				run(from, "MIGRATE", host, port, k, 0, 5000)
			}
		}
		for _, c := range nodes {
			run(c, "CLUSTER", "SETSLOT", slot, "NODE", toID)
		}
		return
	}
	t.Error("no master has the limit's keys")
}

// TestFailover kills a master that a sentinel watches: a replica takes its place.
func TestFailover(t *testing.T) {
	if !full() {
		t.Skip("run by make limits")
	}
	ctx := context.Background()
	master := startRedis(t)
	replica := startRedis(t, "--replicaof", "127.0.0.1", fmt.Sprint(master), "--repl-diskless-sync-delay", "0")
	c := dial(t, fmt.Sprintf("redis://127.0.0.1:%d", replica))
	until(t, "the replica is linked", func() bool {
		return strings.Contains(c.Info(ctx, "replication").Val(), "master_link_status:up")
	})
	watch := startSentinel(t, master)
	begin := second()
	go func() {
		time.Sleep(time.Until(begin.Add(2300 * time.Millisecond)))
		m := dial(t, fmt.Sprintf("redis://127.0.0.1:%d", master))
		_ = m.ShutdownNoSave(ctx).Err() // it answers by going away
	}()
	const seconds, limit = 12, 2000
	r, err := runFleet(10, orders{
		RedisURL: fmt.Sprintf("redis://127.0.0.1:%d?master_name=m", watch), Windows: perSecond(limit),
		Rate: 3000, For: seconds*time.Second - 50*time.Millisecond,
	}, begin)
	if err != nil {
		t.Fatal(err)
	}
	if r.Errors != 0 {
		t.Errorf("%d requests got an error, want none", r.Errors)
	}
	for i := range seconds {
		a := r.Charged[begin.Unix()+int64(i)]
		t.Logf("second %d: offered %d, admitted %d", i, a.Offered, a.Admitted)
		if a.Admitted > 2*limit || a.Admitted < limit/2 || i < 2 && a.Admitted != limit {
			t.Errorf("second %d admitted %d, want about %d", i, a.Admitted, limit)
		}
	}
	if got := r.Charged[begin.Unix()+seconds-1].Admitted; got != limit {
		t.Errorf("the last second admitted %d, want %d: the replica is used", got, limit)
	}
	if got := c.Info(ctx, "replication").Val(); !strings.Contains(got, "role:master") {
		t.Error("the replica was not promoted")
	}
}

func startSentinel(t *testing.T, master int) int {
	t.Helper()
	conf := t.TempDir() + "/sentinel.conf"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	text := fmt.Sprintf("bind 127.0.0.1\nport %d\nsentinel monitor m 127.0.0.1 %d 1\nsentinel down-after-milliseconds m 500\nsentinel failover-timeout m 3000\n", port, master)
	write(t, conf, text)
	cmd := exec.Command("redis-server", conf, "--sentinel")
	if err := cmd.Start(); err != nil {
		t.Fatalf("start the sentinel: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	c := dial(t, fmt.Sprintf("redis://127.0.0.1:%d", port))
	until(t, "the sentinel knows the replica", func() bool {
		return strings.Contains(c.Info(context.Background(), "sentinel").Val(), "slaves=1")
	})
	return port
}
