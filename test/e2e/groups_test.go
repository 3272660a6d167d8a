package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

func newFleet(t *testing.T, groups ...string) *stack.Fleet {
	t.Helper()
	return stack.NewFleet(t, services.NewPostgres(t).URL, groups...)
}

// TestBlueGreen holds two groups at two configurations, switches them under load on the other
// replica, and back, and takes a group through a release and out of one.
func TestBlueGreen(t *testing.T) {
	t.Parallel()
	f, up := newFleet(t, "blue", "green"), echo(t)
	admin := f.Replicas[0].URLs["admin"]
	put(t, admin+"/services/s", `{"url":"`+up.URL+`/one"}`)
	put(t, admin+"/services/s/routes/r", `{"paths":["/v"]}`)
	f.Seki(0, "group pin blue")
	f.Answers("blue", "/v", 200, "GET /one")
	put(t, admin+"/services/s", `{"url":"`+up.URL+`/two"}`)
	put(t, admin+"/services/s/routes/only-green", `{"paths":["/new"]}`)
	f.Answers("green", "/v", 200, "GET /two")
	f.Answers("green", "/new", 200, "GET /two")
	f.Answers("blue", "/v", 200, "GET /one")
	f.Answers("blue", "/new", 404, "no Route matched")

	stop := f.Load("/v")
	f.Seki(1, "switch blue green --reason 'second try'")
	f.Answers("blue", "/v", 200, "GET /two")
	f.Answers("green", "/v", 200, "GET /one")
	f.Seki(0, "switch blue green")
	f.Answers("blue", "/v", 200, "GET /one")
	f.Answers("green", "/v", 200, "GET /two")
	if sent, failed := stop(); len(failed) > 0 || sent == 0 {
		t.Errorf("%d of %d requests failed while groups were switched: %.300q", len(failed), sent, failed)
	}
	if out := f.Seki(1, "group"); !strings.Contains(out, "blue") || !strings.Contains(out, "head") {
		t.Errorf("seki group says\n%s", out)
	}

	// A node of the pinned group that comes back with both replicas dead is where it was.
	node := f.Nodes["blue"][0]
	f.Replicas[0].Kill()
	f.Replicas[1].Kill()
	node.Kill()
	node.Restart()
	node.WaitReady()
	f.Answers("blue", "/v", 200, "GET /one")
	f.Replicas[0].Restart()
	f.Replicas[1].Restart()
	for _, cp := range f.Replicas {
		cp.WaitReady()
	}
	f.Answers("blue", "/v", 200, "GET /one")

	if out := f.Seki(0, "release create blue --reason friday"); !strings.Contains(out, "done") {
		t.Errorf("a release without stages is not done:\n%s", out)
	}
	f.Answers("blue", "/v", 200, "GET /two")
	f.Seki(1, "rollback blue")
	f.Answers("blue", "/v", 200, "GET /one")
	f.Seki(1, "group follow blue")
	f.Answers("blue", "/new", 200, "GET /two")
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
