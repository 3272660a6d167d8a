package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

// TestQuestionsThroughReplicas asks one replica for what only a node at the other knows; then the
// other hangs, and is named.
func TestQuestionsThroughReplicas(t *testing.T) {
	t.Parallel()
	f := stack.NewFleet(t, services.Postgres(t), "default")
	up := echo(t)
	near, far := f.Replicas[0].URLs["admin"], f.Replicas[1].URLs["admin"]
	put(t, near+"/upstreams/u", `{"healthchecks":{"active":{"healthy":{"interval":3600},"unhealthy":{"interval":3600}}}}`)
	if code, out := call(t, http.MethodPost, near+"/upstreams/u/targets", `{"target":"`+strings.TrimPrefix(up.URL, "http://")+`"}`); code != http.StatusCreated {
		t.Fatalf("POST target: %d %s", code, out)
	}
	put(t, near+"/services/s", `{"host":"u"}`)
	put(t, near+"/services/s/routes/r", `{"paths":["/r"]}`)
	knows := func(replica int) { // it has heard of the other one's node
		t.Helper()
		stack.Eventually(t, func() error {
			if out := f.Seki(replica, "status"); !strings.Contains(out, "nodes      2 connected") {
				return fmt.Errorf("seki status:\n%s", out)
			}
			return nil
		})
	}
	knows(0)
	knows(1)
	if out := f.Seki(0, "nodes"); !regexp.MustCompile(`default0 .* true +here`).MatchString(out) || !regexp.MustCompile(`default1 .* true +127\.0\.0\.1:`).MatchString(out) {
		t.Errorf("seki nodes:\n%s", out)
	}
	h := patch(t, near+"/routes/r", `{"methods":["GET"]}`, "Sekifuda-Wait", "enforced=100%; timeout=30s")
	if got := h.Get("Sekifuda-Enforced"); got != "2/2" || h.Get("Sekifuda-Unheard") != "" {
		t.Errorf("enforced by %q, unheard %q", got, h.Get("Sekifuda-Unheard"))
	}
	if code, out := call(t, http.MethodGet, near+"/clustering/data-planes", ""); code != http.StatusOK || !strings.Contains(out, `"default0"`) || !strings.Contains(out, `"default1"`) {
		t.Errorf("/clustering/data-planes: %d %s", code, out)
	}
	// A request that only the far replica's node refused.
	res, err := http.Get(f.Nodes["default"][1].URLs["proxy"] + "/nowhere")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if out := f.Seki(0, "explain "+res.Header.Get("X-Kong-Request-Id")); !strings.Contains(out, "on node default1") {
		t.Errorf("seki explain:\n%s", out)
	}
	// Set by hand on both nodes, through either replica.
	target := "/upstreams/u/targets/" + strings.TrimPrefix(up.URL, "http://")
	if code, out := call(t, http.MethodPut, near+target+"/unhealthy", ""); code != http.StatusNoContent {
		t.Errorf("PUT unhealthy: %d %s", code, out)
	}
	f.Answers("default", "/r", http.StatusServiceUnavailable, "")
	if code, out := call(t, http.MethodPut, far+target+"/healthy", ""); code != http.StatusNoContent {
		t.Errorf("PUT healthy: %d %s", code, out)
	}
	f.Answers("default", "/r", http.StatusOK, "")
	// The whole cluster's log level.
	call(t, http.MethodPut, near+"/debug/cluster/log-level/debug", "")
	if _, out := call(t, http.MethodGet, far+"/debug/node/log-level", ""); !strings.Contains(out, "debug") {
		t.Errorf("the other replica's log level: %s", out)
	}
	otherHangs(t, f, near)
}

// otherHangs stops the second replica: it is named until it goes on.
func otherHangs(t *testing.T, f *stack.Fleet, near string) {
	t.Helper()
	name := f.Replicas[1].Addr("feed")
	f.Replicas[1].Signal(syscall.SIGSTOP)
	defer f.Replicas[1].Signal(syscall.SIGCONT)
	out, code := stack.Shell(t, []string{"SEKI_SERVER=" + f.Replicas[0].Addr("admin gRPC")}, stack.Binary(t)+" nodes")
	if code == 0 || !strings.Contains(out, "control plane "+name+" does not answer: its nodes are not in the list") || !strings.Contains(out, "default0") {
		t.Errorf("seki nodes while a replica hangs: exit code %d\n%s", code, out)
	}
	h := patch(t, near+"/routes/r", `{"methods":["GET","PUT"]}`, "Sekifuda-Wait", "enforced=100%; timeout=30s")
	if got := h.Get("Sekifuda-Enforced"); got != "1/1" || h.Get("Sekifuda-Unheard") != name {
		t.Errorf("enforced by %q, unheard %q, want 1/1 and %s", got, h.Get("Sekifuda-Unheard"), name)
	}
	f.Replicas[1].Signal(syscall.SIGCONT)
	stack.Eventually(t, func() error {
		h := patch(t, near+"/routes/r", `{"methods":["GET"]}`, "Sekifuda-Wait", "enforced=100%; timeout=30s")
		if got := h.Get("Sekifuda-Enforced"); got != "2/2" {
			return fmt.Errorf("enforced by %q after the replica went on", got)
		}
		return nil
	})
}

// patch patches with a header, and returns those of the answer.
func patch(t *testing.T, url, body, name, value string) http.Header {
	t.Helper()
	req, err := http.NewRequest(http.MethodPatch, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(name, value)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("PATCH %s: %d", url, res.StatusCode)
	}
	return res.Header
}

// TestReplicasOverTLS has replicas prove themselves to each other by the cluster's authority, and
// a node's certificate is no control plane's.
func TestReplicasOverTLS(t *testing.T) {
	t.Parallel()
	db := services.Postgres(t)
	var cps []*stack.Process
	for range 2 {
		a := stack.FreePorts(t, 4)
		cps = append(cps, stack.Start(t, "controlplane", "--database-url", db, "--data-dir", t.TempDir(), "--admin-listen", a[0],
			"--grpc-listen", a[1], "--feed-listen", a[2], "--status-listen", a[3], "--console-listen", "off"))
	}
	f := &stack.Fleet{T: t, Replicas: cps}
	token := filepath.Join(t.TempDir(), "token")
	f.Seki(1, "token create --out "+token)
	a := stack.FreePorts(t, 2)
	stack.Start(t, "dataplane", "--control-plane", cps[1].Addr("feed"), "--data-dir", t.TempDir(), "--node-id", "n", "--join-token-file", token,
		"--proxy-listen", a[0], "--proxy-tls-listen", "off", "--status-listen", a[1]).WaitReady()
	stack.Eventually(t, func() error {
		if out := f.Seki(0, "nodes"); !strings.Contains(out, "n ") || !strings.Contains(out, cps[1].Addr("feed")) {
			return fmt.Errorf("seki nodes at the other replica:\n%s", out)
		}
		return nil
	})
}

// TestWindowAtEveryReplica sends the calls of one change window to both replicas, and ends with
// that one killed which keeps it.
func TestWindowAtEveryReplica(t *testing.T) {
	t.Parallel()
	f := stack.NewFleet(t, services.Postgres(t))
	a, b := f.Replicas[0].URLs["admin"], f.Replicas[1].URLs["admin"]
	stack.Eventually(t, func() error {
		for i := range 2 {
			if out := f.Seki(i, "status"); !strings.Contains(out, "replica    127.0.0.1") || strings.Contains(out, "NOT answer") {
				return fmt.Errorf("seki status:\n%s", out)
			}
		}
		return nil
	})
	expect := func(want int, has string, code int, out string) {
		t.Helper()
		if code != want || !strings.Contains(out, has) {
			t.Errorf("%d %s, want %d %s", code, out, want, has)
		}
	}
	do := func(want int, has, method, url, body string) {
		t.Helper()
		code, out := within(t, "t", method, url, body)
		expect(want, has, code, out)
	}
	do(200, `"name":"s"`, "PUT", a+"/services/s", `{"host":"h.test"}`)
	do(200, `"name":"r"`, "PUT", b+"/services/s/routes/r", `{"paths":["/r"]}`) // needs what the other has
	do(400, "required", "PUT", b+"/services/s2", `{}`)
	do(200, `"h.test"`, "GET", b+"/services/s", "")
	do(404, "", "GET", a+"/services/nobody", "")
	do(200, `"entities":2`, "GET", b+"/sekifuda/windows", "")
	do(200, `"entities":2`, "GET", b+"/sekifuda/windows/t", "")
	for _, url := range []string{a, b} {
		code, out := call(t, http.MethodGet, url+"/services/s", "")
		expect(404, "", code, out) // nobody else sees it
	}
	code, out := call(t, http.MethodPost, b+"/sekifuda/windows/t/publish", "")
	expect(200, `"entities":2`, code, out)
	code, out = call(t, http.MethodGet, b+"/sekifuda/windows/t", "")
	expect(404, "no window", code, out)
	if log := f.Seki(1, "audit"); strings.Count(log, "/sekifuda/windows/t/publish") != 1 || !regexp.MustCompile(`127\.0\.0\.1 +POST /sekifuda/windows/t/publish +committed +1`).MatchString(log) {
		t.Errorf("the audit log:\n%s", log)
	}
	do(200, "", "PUT", b+"/services/s", `{"host":"two.test"}`) // the next window, kept by the other
	do(200, `"two.test"`, "GET", a+"/services/s", "")
	code, out = call(t, http.MethodDelete, a+"/sekifuda/windows/t", "")
	expect(204, "", code, out)

	do(200, "", "PUT", a+"/services/lost", `{"host":"h.test"}`)
	f.Replicas[0].Kill()
	stack.Eventually(t, func() error { // until its lease is over it may come back
		code, out := within(t, "t", http.MethodPut, b+"/services/more", `{"host":"h.test"}`)
		if code != http.StatusConflict || !strings.Contains(out, "nothing of it is live; drop it and begin anew") {
			return fmt.Errorf("a call of a window whose replica died: %d %s", code, out)
		}
		return nil
	})
	do(409, "is gone", "GET", b+"/services/more", "")
	code, out = call(t, http.MethodPost, b+"/sekifuda/windows/t/publish", "")
	expect(409, "is gone", code, out)
	code, out = call(t, http.MethodDelete, b+"/sekifuda/windows/t", "")
	expect(204, "", code, out)
	do(200, "", "PUT", b+"/services/more", `{"host":"h.test"}`)
	code, out = call(t, http.MethodPost, b+"/sekifuda/windows/t/publish", "")
	expect(200, `"entities":1`, code, out)
}
