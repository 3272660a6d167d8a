package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

// fleet is two replicas of the control plane on one PostgreSQL, and nodes that are spread over
// them.
type fleet struct {
	*testing.T
	replicas [2]*stack.Process
	nodes    map[string][]*stack.Process // by group
}

func newFleet(t *testing.T, groups ...string) *fleet {
	t.Helper()
	db := services.NewPostgres(t)
	f := &fleet{T: t, nodes: map[string][]*stack.Process{}}
	for i := range f.replicas {
		a := stack.FreePorts(t, 4)
		f.replicas[i] = stack.Start(t, "controlplane", "--database-url", db.URL, "--data-dir", t.TempDir(), "--admin-listen", a[0],
			"--grpc-listen", a[1], "--feed-listen", a[2], "--status-listen", a[3], "--console-listen", "off", "--feed-insecure")
	}
	for _, g := range groups {
		for i, cp := range f.replicas {
			a := stack.FreePorts(t, 2)
			n := stack.Start(t, "dataplane", "--control-plane", cp.Addr("feed"), "--feed-insecure", "--data-dir", t.TempDir(), "--group", g,
				"--node-id", fmt.Sprint(g, i), "--proxy-listen", a[0], "--proxy-tls-listen", "off", "--status-listen", a[1])
			f.nodes[g] = append(f.nodes[g], n)
		}
	}
	for _, g := range groups {
		for _, n := range f.nodes[g] {
			n.WaitReady()
		}
	}
	return f
}

// seki runs a verb against a replica.
func (f *fleet) seki(replica int, line string) string {
	f.Helper()
	out, code := stack.Shell(f, []string{"SEKI_SERVER=" + f.replicas[replica].Addr("admin gRPC")}, stack.Binary(f)+" "+line)
	if code != 0 {
		f.Fatalf("seki %s: exit %d: %s", line, code, out)
	}
	return out
}

// answers checks what every node of a group answers.
func (f *fleet) answers(group, path string, status int, want string) {
	f.Helper()
	for i, n := range f.nodes[group] {
		stack.Eventually(f, func() error {
			if code, out := call(f.T, http.MethodGet, n.URLs["proxy"]+path, ""); code != status || !strings.Contains(out, want) {
				return fmt.Errorf("%s %d answers %s with %d %q, want %d %q", group, i, path, code, out, status, want)
			}
			return nil
		})
	}
}

// load sends requests to every node until the returned function is called, which tells how many
// were sent and which failed.
func (f *fleet) load(path string) (stop func() (sent int64, failed []string)) {
	ctx, cancel := context.WithCancel(f.Context())
	var wg sync.WaitGroup
	var sent atomic.Int64
	var mu sync.Mutex
	var failed []string
	for _, nodes := range f.nodes {
		for _, n := range nodes {
			wg.Go(func() {
				for ctx.Err() == nil {
					code, out, err := try(http.MethodGet, n.URLs["proxy"]+path, "")
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

// TestBlueGreen holds two groups at two configurations, switches them under load on the other
// replica, and back, and takes a group through a release and out of one.
func TestBlueGreen(t *testing.T) {
	t.Parallel()
	f, up := newFleet(t, "blue", "green"), echo(t)
	admin := f.replicas[0].URLs["admin"]
	put(t, admin+"/services/s", `{"url":"`+up.URL+`/one"}`)
	put(t, admin+"/services/s/routes/r", `{"paths":["/v"]}`)
	f.seki(0, "group pin blue")
	f.answers("blue", "/v", 200, "GET /one")
	put(t, admin+"/services/s", `{"url":"`+up.URL+`/two"}`)
	put(t, admin+"/services/s/routes/only-green", `{"paths":["/new"]}`)
	f.answers("green", "/v", 200, "GET /two")
	f.answers("green", "/new", 200, "GET /two")
	f.answers("blue", "/v", 200, "GET /one")
	f.answers("blue", "/new", 404, "no Route matched")

	stop := f.load("/v")
	f.seki(1, "switch blue green --reason 'second try'")
	f.answers("blue", "/v", 200, "GET /two")
	f.answers("green", "/v", 200, "GET /one")
	f.seki(0, "switch blue green")
	f.answers("blue", "/v", 200, "GET /one")
	f.answers("green", "/v", 200, "GET /two")
	if sent, failed := stop(); len(failed) > 0 || sent == 0 {
		t.Errorf("%d of %d requests failed while groups were switched: %.300q", len(failed), sent, failed)
	}
	if out := f.seki(1, "group"); !strings.Contains(out, "blue") || !strings.Contains(out, "head") {
		t.Errorf("seki group says\n%s", out)
	}

	// A node of the pinned group that comes back with both replicas dead is where it was.
	node := f.nodes["blue"][0]
	f.replicas[0].Kill()
	f.replicas[1].Kill()
	node.Kill()
	node.Restart()
	node.WaitReady()
	f.answers("blue", "/v", 200, "GET /one")
	f.replicas[0].Restart()
	f.replicas[1].Restart()
	for _, cp := range f.replicas {
		cp.WaitReady()
	}
	f.answers("blue", "/v", 200, "GET /one")

	if out := f.seki(0, "release create blue --reason friday"); !strings.Contains(out, "done") {
		t.Errorf("a release without stages is not done:\n%s", out)
	}
	f.answers("blue", "/v", 200, "GET /two")
	f.seki(1, "rollback blue")
	f.answers("blue", "/v", 200, "GET /one")
	f.seki(1, "group follow blue")
	f.answers("blue", "/new", 200, "GET /two")
}

// TestRevert takes changes back by revisions of their own.
func TestRevert(t *testing.T) {
	t.Parallel()
	p, up := run(t, t.TempDir()), echo(t)
	admin := p.URLs["admin"]
	seki := func(want int, line string) string {
		t.Helper()
		out, code := stack.Shell(t, []string{"SEKI_SERVER=" + p.Addr("admin gRPC")}, stack.Binary(t)+" "+line)
		if code != want {
			t.Errorf("seki %s: exit %d, want %d: %s", line, code, want, out)
		}
		return out
	}
	put(t, admin+"/services/s", `{"url":"`+up.URL+`/one","tags":["a"]}`) // 1
	put(t, admin+"/services/s/routes/r", `{"paths":["/v"]}`)             // 2
	_, before := call(t, http.MethodGet, admin+"/services/s", "")
	put(t, admin+"/services/s", `{"url":"`+up.URL+`/two"}`)    // 3
	put(t, admin+"/routes/r/plugins/"+uuid, `{"name":"cors"}`) // 4
	call(t, http.MethodDelete, admin+"/routes/r", "")          // 5, the plugin with it
	if out := seki(0, "show 5"); !strings.Contains(out, "- routes r") || !strings.Contains(out, "- plugins") {
		t.Errorf("seki show 5 says\n%s", out)
	}
	if out := seki(0, "revert 5 --dry-run"); !strings.Contains(out, "+ routes r") || !strings.Contains(out, "nothing was written") {
		t.Errorf("seki revert --dry-run says\n%s", out)
	}
	if code, _ := call(t, http.MethodGet, p.URLs["proxy"]+"/v", ""); code != 404 {
		t.Errorf("a dry run brought the route back: %d", code)
	}
	if out := seki(0, "revert 5 --message oops"); !strings.Contains(out, "enforced by 1 of 1 nodes") {
		t.Errorf("seki revert says\n%s", out)
	}
	if code, out := call(t, http.MethodGet, p.URLs["proxy"]+"/v", ""); code != 200 || out != "GET /two" {
		t.Errorf("after the revert: %d %s", code, out)
	}
	if code, _ := call(t, http.MethodGet, admin+"/plugins/"+uuid, ""); code != 200 {
		t.Errorf("the plugin did not come back: %d", code)
	}
	if out := seki(1, "revert 1"); !strings.Contains(out, "changed again after revision 1, in revision 3") {
		t.Errorf("seki revert of what changed again says\n%s", out)
	}
	seki(1, "revert 99")
	seki(0, "revert --to 2")
	if _, after := call(t, http.MethodGet, admin+"/services/s", ""); after != before {
		t.Errorf("after revert --to 2 the service is\n%s, it was\n%s", after, before)
	}
	if code, _ := call(t, http.MethodGet, admin+"/plugins/"+uuid, ""); code != 404 {
		t.Errorf("the plugin of a later revision is still there: %d", code)
	}
	if out := seki(0, "log"); !strings.Contains(out, "oops") || !strings.Contains(out, "revert to 2") {
		t.Errorf("seki log says\n%s", out)
	}
}

const uuid = "5b2bdf3c-5b0d-4a6a-9d5c-0a7a3c7c7a11"
