package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

// blockFleet is two replicas and a node at each, the nodes of a group that is frozen at what makes
// a route with key-auth and a consumer.
func blockFleet(t *testing.T) *stack.Fleet {
	t.Helper()
	f := stack.NewFleet(t, services.Postgres(t), "default")
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "begun")
		if r.URL.Path == "/forever" {
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	}))
	t.Cleanup(up.Close)
	admin := f.Replicas[0].URLs["admin"]
	put(t, admin+"/services/s", `{"url":"`+up.URL+`"}`)
	put(t, admin+"/services/s/routes/open", `{"paths":["/open"]}`)
	put(t, admin+"/services/s/routes/closed", `{"paths":["/closed"]}`)
	put(t, admin+"/routes/closed/plugins/"+uuid, `{"name":"key-auth"}`)
	put(t, admin+"/consumers/alice", `{}`)
	put(t, admin+"/consumers/alice/key-auth/"+strings.Replace(uuid, "5b2b", "0001", 1), `{"key":"alice-1"}`)
	put(t, admin+"/consumers/alice/key-auth/"+strings.Replace(uuid, "5b2b", "0002", 1), `{"key":"alice-2"}`)
	f.Answers("default", "/closed?apikey=alice-2", 200, "begun")
	f.Seki(1, "group freeze default")
	return f
}

// TestBlockActsEverywhereAheadOfConfiguration blocks by one replica what nodes of both refuse
// within a second, though their group is frozen, and looks where it is told of.
func TestBlockActsEverywhereAheadOfConfiguration(t *testing.T) {
	t.Parallel()
	f := blockFleet(t)
	before := f.Seki(0, "log")
	stack.Eventually(t, func() error { // the replica has heard of the other one's node
		if out := f.Seki(0, "status"); !strings.Contains(out, "nodes      2 connected") {
			return fmt.Errorf("seki status:\n%s", out)
		}
		return nil
	})
	for _, c := range []struct {
		kind, what, path, still string
		code                    int
	}{
		{"consumer", "alice", "/closed?apikey=alice-1", "/open", 403},
		{"key", "alice-1", "/closed?apikey=alice-1", "/closed?apikey=alice-2", 403},
		{"route", "open", "/open", "/closed?apikey=alice-1", 503},
		{"service", "s", "/open", "", 503},
		{"cidr", "127.0.0.1 --force", "/open", "", 403},
	} {
		f.Answers("default", c.path, 200, "begun")
		began := time.Now()
		if out := f.Seki(0, "block "+c.kind+" "+c.what+` --for 30m --reason "a test of it"`); !strings.Contains(out, "in force on all 2 nodes") {
			t.Errorf("seki block waits for the nodes of both replicas, and says\n%s", out)
		}
		f.Answers("default", c.path, c.code, "for now")
		t.Logf("%s: in force on both nodes after %v", c.kind, time.Since(began).Round(time.Millisecond))
		if c.still != "" {
			f.Answers("default", c.still, 200, "begun")
		}
		stack.Eventually(t, func() error { // the other replica asks this one
			if out := f.Seki(1, "status"); !strings.Contains(out, "BLOCKED    "+c.kind) || !strings.Contains(out, "because a test of it, on 2 of 2 nodes") {
				return fmt.Errorf("seki status of the other replica says\n%s", out)
			}
			return nil
		})
		f.Seki(1, "unblock "+c.kind+" "+strings.Fields(c.what)[0])
		f.Answers("default", c.path, 200, "begun")
	}
	_, text := call(t, http.MethodGet, f.Replicas[0].URLs["status"]+"/metrics", "")
	for _, want := range []string{"sekifuda_database_reachable 1", "sekifuda_nodes_connected 1", "sekifuda_nodes_current 1", "sekifuda_blocked 0"} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("/metrics of a control plane has no %s:\n%s", want, text)
		}
	}
	if after := f.Seki(0, "log"); after != before {
		t.Errorf("blocks made revisions:\n%s\nwere\n%s", after, before)
	}
	for _, line := range []string{"consumer nobody", "key no-such-key"} {
		if _, code := stack.Shell(t, nil, stack.Binary(t)+" block "+line+" --server "+f.Replicas[0].Addr("admin gRPC")); code == 0 {
			t.Errorf("block %s: done", line)
		}
	}
	out := f.Seki(0, "audit --size 50")
	for _, want := range []string{"BlockService.Block consumer nobody", "BlockService.Block consumer alice", "a test of it", "BlockService.Unblock route open"} {
		if !strings.Contains(out, want) {
			t.Errorf("seki audit does not say %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "alice-1") || strings.Contains(out, "no-such-key") {
		t.Errorf("the audit log has a key:\n%s", out)
	}
}

// TestBlockIsExplained asks why a request was refused, looks at the metrics, and uses the REST
// paths.
func TestBlockIsExplained(t *testing.T) {
	t.Parallel()
	p, up := run(t, t.TempDir()), echo(t)
	admin := p.URLs["admin"]
	put(t, admin+"/services/s", `{"url":"`+up.URL+`"}`)
	put(t, admin+"/services/s/routes/open", `{"paths":["/open"]}`)
	req, _ := http.NewRequest(http.MethodPut, admin+"/sekifuda/blocks/route/open?for=10m", nil)
	req.Header.Set("Sekifuda-Reason", "it leaks")
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("PUT /sekifuda/blocks/route/open: %v %v", res, err)
	}
	res.Body.Close()
	res, err = http.Get(p.URLs["proxy"] + "/open")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("a blocked route answers %d, Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
	}
	if _, out := call(t, http.MethodGet, admin+"/sekifuda/blocks", ""); !strings.Contains(out, `"reason":"it leaks"`) {
		t.Errorf("GET /sekifuda/blocks says %s", out)
	}
	out, _ := stack.Shell(t, []string{"SEKI_SERVER=" + p.Addr("admin gRPC")}, stack.Binary(t)+" explain "+res.Header.Get("X-Kong-Request-Id"))
	for _, want := range []string{"blocked", "blocked until 20", "by admin-api", "because it leaks", "seki unblock"} {
		if !strings.Contains(out, want) {
			t.Errorf("seki explain does not say %q:\n%s", want, out)
		}
	}
	_, text := call(t, http.MethodGet, p.URLs["status"]+"/metrics", "")
	for _, want := range []string{"sekifuda_feed_connected 1", "sekifuda_feed_refusing 0", `sekifuda_memory_bytes{class="objects"}`, `sekifuda_blocks{kind="route"} 1`, `sekifuda_refused_total{reason="blocked"} 1`} {
		if !strings.Contains(text, want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
	if code, out := call(t, http.MethodDelete, admin+"/sekifuda/blocks/route/open", ""); code != http.StatusNoContent {
		t.Errorf("DELETE: %d %s", code, out)
	}
	if code, out := call(t, http.MethodDelete, admin+"/sekifuda/blocks/route/open", ""); code != http.StatusNotFound || !strings.Contains(out, "is not blocked") {
		t.Errorf("DELETE again: %d %s", code, out)
	}
	for path, want := range map[string]string{
		"route/none":                    "no route is called",
		"key/none":                      "no credential has this id or key",
		"cidr/127.0.0.0%2F8":            "holds loopback",
		"cidr/here":                     "is no address and no cidr",
		"planet/earth":                  "is none of consumer, key",
		"route/open?for=721h":           "belongs into the configuration",
		"route/open?for=soon":           "say a duration",
		"cidr/0.0.0.0%2F0?force=please": "holds loopback",
	} {
		if code, out := call(t, http.MethodPut, admin+"/sekifuda/blocks/"+path, ""); code < 400 || code >= 500 || !strings.Contains(out, want) {
			t.Errorf("PUT /sekifuda/blocks/%s: %d %s, want %q", path, code, out, want)
		}
	}
}

// TestBlockOutlivesEverything kills the control plane and the node of a block, and has the node
// let go of it by itself.
func TestBlockOutlivesEverything(t *testing.T) {
	t.Parallel()
	f := blockFleet(t)
	cp, node := f.Replicas[0], f.Nodes["default"][0]
	f.Seki(0, "block consumer alice --for 1h")
	if out := f.Seki(0, "block route open --for 8s"); !strings.Contains(out, "in force on all 1 nodes") {
		t.Errorf("seki block says %s", out)
	}
	for _, r := range f.Replicas {
		r.Kill()
	}
	node.Kill()
	node.Restart()
	if code, out := call(t, http.MethodGet, node.URLs["proxy"]+"/closed?apikey=alice-1", ""); code != 403 {
		t.Errorf("a node that starts without a control plane answers the blocked with %d %s", code, out)
	}
	f.Answers("default", "/open", 200, "begun") // by the nodes' own clocks
	cp.Restart()
	stack.Eventually(t, func() error {
		if out := f.Seki(0, "block list"); !strings.Contains(out, "consumer  alice") || strings.Contains(out, "route") || !strings.Contains(out, "in force on 1 of 1 nodes") {
			return fmt.Errorf("after its restart the control plane says\n%s", out)
		}
		return nil
	})
	f.Seki(0, "unblock --all")
	node.Answers("/closed?apikey=alice-1", 200, "begun")
}

// TestBlockCutsWhatIsUnderWay blocks somebody whose answer does not end by itself.
func TestBlockCutsWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	f := blockFleet(t)
	res, err := http.Get(f.Nodes["default"][1].URLs["proxy"] + "/closed/forever?apikey=alice-1")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b := make([]byte, 5); res.StatusCode != 200 {
		t.Fatal(res.Status)
	} else if _, err := io.ReadFull(res.Body, b); err != nil {
		t.Fatal(err)
	}
	f.Seki(0, "block consumer alice")
	if rest, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("the answer ended in order, with %q", rest)
	}
}
