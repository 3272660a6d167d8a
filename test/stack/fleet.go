package stack

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// StartReplica starts a control plane on a database, on addresses that it keeps when it is
// restarted. Later args win over the ones given here.
func StartReplica(t testing.TB, databaseURL string, args ...string) *Process {
	t.Helper()
	return Start(t, "controlplane", append(ReplicaArgs(t, databaseURL), args...)...)
}

// ReplicaArgs are the arguments of a replica on ports that were free a moment ago.
func ReplicaArgs(t testing.TB, databaseURL string) []string {
	t.Helper()
	a := FreePorts(t, 4)
	return []string{"--database-url", databaseURL, "--data-dir", t.TempDir(), "--admin-listen", a[0],
		"--grpc-listen", a[1], "--feed-listen", a[2], "--status-listen", a[3], "--console-listen", "off", "--feed-insecure"}
}

// StartNode starts a node that gets its configuration at feed, on addresses that it keeps when
// it is restarted. Later args win over the ones given here.
func StartNode(t testing.TB, feed, group, id string, args ...string) *Process {
	t.Helper()
	return Start(t, "dataplane", append(NodeArgs(t, feed, group, id), args...)...)
}

// NodeArgs are the arguments of a node on ports that were free a moment ago.
func NodeArgs(t testing.TB, feed, group, id string) []string {
	t.Helper()
	a := FreePorts(t, 2)
	return []string{"--control-plane", feed, "--feed-insecure", "--data-dir", t.TempDir(), "--group", group,
		"--node-id", id, "--proxy-listen", a[0], "--proxy-tls-listen", "off", "--status-listen", a[1]}
}

// Fleet is replicas of the control plane on one PostgreSQL, and nodes that are spread over
// them.
type Fleet struct {
	*testing.T
	Replicas []*Process
	Nodes    map[string][]*Process // by group; a node of each at every replica
}

// NewFleet starts two replicas, and nodes of every group, and waits until they are ready.
func NewFleet(t *testing.T, databaseURL string, groups ...string) *Fleet {
	t.Helper()
	f := &Fleet{T: t, Nodes: map[string][]*Process{}}
	for range 2 {
		f.Replicas = append(f.Replicas, StartReplica(t, databaseURL))
	}
	for _, g := range groups {
		for i, cp := range f.Replicas {
			f.Nodes[g] = append(f.Nodes[g], StartNode(t, cp.Addr("feed"), g, fmt.Sprint(g, i)))
		}
	}
	for _, g := range groups {
		for _, n := range f.Nodes[g] {
			n.WaitReady()
		}
	}
	return f
}

// Seki runs a verb against a replica.
func (f *Fleet) Seki(replica int, line string) string {
	f.Helper()
	out, code := Shell(f, []string{"SEKI_SERVER=" + f.Replicas[replica].Addr("admin gRPC")}, Binary(f)+" "+line)
	if code != 0 {
		f.Fatalf("seki %s: exit %d: %s", line, code, out)
	}
	return out
}

// Answers waits until every node of a group answers so.
func (f *Fleet) Answers(group, path string, status int, want string) {
	f.Helper()
	for _, n := range f.Nodes[group] {
		n.Answers(path, status, want)
	}
}

// Answers waits until the process' proxy answers a GET with a status and a body that has want.
func (p *Process) Answers(path string, status int, want string) {
	p.t.Helper()
	Eventually(p.t, func() error {
		if code, out, err := Try(http.MethodGet, p.URLs["proxy"]+path, ""); err != nil || code != status || !strings.Contains(out, want) {
			return fmt.Errorf("%s answers %s with %d %q, %v, want %d %q", p.verb, path, code, out, err, status, want)
		}
		return nil
	})
}

// Load sends requests to every node until the returned function is called, which tells how many
// were sent and which failed.
func (f *Fleet) Load(path string) (stop func() (sent int64, failed []string)) {
	ctx, cancel := context.WithCancel(f.Context())
	var wg sync.WaitGroup
	var sent atomic.Int64
	var mu sync.Mutex
	var failed []string
	for _, nodes := range f.Nodes {
		for _, n := range nodes {
			wg.Go(func() {
				for ctx.Err() == nil {
					code, out, err := Try(http.MethodGet, n.URLs["proxy"]+path, "")
					sent.Add(1)
					if err != nil || code != http.StatusOK {
						mu.Lock()
						failed = append(failed, fmt.Sprint(code, out, err))
						mu.Unlock()
					}
				}
			})
		}
	}
	return func() (int64, []string) {
		cancel()
		wg.Wait()
		return sent.Load(), failed
	}
}
