package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

// healthPage is GET /upstreams/{}/health.
type healthPage struct {
	NodeID string `json:"node_id"`
	Data   []struct {
		Target, Health string
		Data           struct {
			DNS       string
			Addresses json.RawMessage
			Weight    struct{ Total, Available, Unavailable int }
		}
	}
	Next   *string
	Offset string
}

func health(t *testing.T, admin, query string) healthPage {
	t.Helper()
	code, out := call(t, http.MethodGet, admin+"/upstreams/up/health"+query, "")
	var page healthPage
	if err := json.Unmarshal([]byte(out), &page); err != nil || code != http.StatusOK {
		t.Fatalf("health%s: %d %s %v", query, code, out, err)
	}
	return page
}

// words are "target state" in the order of the answer.
func (p healthPage) words() string {
	var list []string
	for _, row := range p.Data {
		list = append(list, row.Target+" "+row.Health)
	}
	return strings.Join(list, ", ")
}

const checked = `{"healthchecks":{"passive":{"unhealthy":{"tcp_failures":1}}}}`

// TestTargetHealth asks for the health of targets, sets it, and sees traffic follow.
func TestTargetHealth(t *testing.T) {
	t.Parallel()
	p, up := run(t, t.TempDir()), echo(t)
	admin := p.URLs["admin"]
	good := strings.TrimPrefix(up.URL, "http://")
	put(t, admin+"/upstreams/up", `{}`)
	for _, body := range []string{`{"target":"` + good + `"}`, `{"target":"no-such-host.invalid:80"}`, `{"target":"127.0.0.1:9","weight":0}`} {
		if code, out := call(t, http.MethodPost, admin+"/upstreams/up/targets", body); code != http.StatusCreated {
			t.Fatalf("%s: %d %s", body, code, out)
		}
	}
	page := health(t, admin, "")
	if want := "127.0.0.1:9 HEALTHCHECKS_OFF, no-such-host.invalid:80 DNS_ERROR, " + good + " HEALTHCHECKS_OFF"; page.words() != want {
		t.Errorf("without checks: %s, want %s", page.words(), want)
	}
	if page.NodeID == "" || string(page.Data[1].Data.Addresses) != "{}" || page.Data[2].Data.Weight.Available != 100 {
		t.Errorf("health = %+v", page)
	}
	one := admin + "/upstreams/up/targets/" + good
	if code, out := call(t, http.MethodPut, one+"/unhealthy", ""); code != 400 || out != `{"message":"no healthchecker found for up"}` {
		t.Errorf("set without checks: %d %s", code, out)
	}
	if code, out := call(t, http.MethodPatch, admin+"/upstreams/up", checked); code != 200 {
		t.Fatalf("%d %s", code, out)
	}
	put(t, admin+"/services/s", `{"host":"up"}`)
	put(t, admin+"/services/t", `{"host":"up"}`)
	put(t, admin+"/services/s/routes/r", `{"paths":["/s"]}`)
	put(t, admin+"/services/t/routes/t", `{"paths":["/t"]}`)
	for _, step := range []struct {
		path, state string
		status      int
	}{
		{one + "/unhealthy", "UNHEALTHY", 503}, {one + "/healthy", "HEALTHY", 200},
		{one + "/" + good + "/unhealthy", "UNHEALTHY", 503}, {one + "/healthy", "HEALTHY", 200},
		{one + "/127.0.0.1:1/unhealthy", "HEALTHY", 200}, // another address
	} {
		if code, out := call(t, http.MethodPut, step.path, ""); code != http.StatusNoContent {
			t.Errorf("PUT %s: %d %s", step.path, code, out)
		}
		if got := health(t, admin, "").Data[2].Health; got != step.state {
			t.Errorf("after %s: %s, want %s", step.path, got, step.state)
		}
		for _, path := range []string{"/s", "/t"} { // both services share what is known
			if code, _ := call(t, http.MethodGet, p.URLs["proxy"]+path, ""); code != step.status {
				t.Errorf("%s after %s: %d, want %d", path, step.path, code, step.status)
			}
		}
	}
	for _, path := range []string{
		"/upstreams/none/health", "/upstreams/none/targets/" + good + "/healthy", "/upstreams/up/targets/none:1/healthy",
	} {
		method := http.MethodPut
		if strings.HasSuffix(path, "/health") {
			method = http.MethodGet
		}
		if code, out := call(t, method, admin+path, ""); code != 404 || out != `{"message":"Not found"}` {
			t.Errorf("%s %s: %d %s", method, path, code, out)
		}
	}
	var balancer struct {
		Data struct {
			Health, BalancerHealth string
			Details                struct {
				Healthy bool
				Hosts   []struct {
					Addresses json.RawMessage
				}
			}
		}
	}
	_, out := call(t, http.MethodGet, admin+"/upstreams/up/health?balancer_health=1", "")
	if err := json.Unmarshal([]byte(out), &balancer); err != nil || balancer.Data.Health != "HEALTHY" ||
		!balancer.Data.Details.Healthy || len(balancer.Data.Details.Hosts) != 3 {
		t.Errorf("balancer_health = %s, %v", out, err)
	}
	put(t, admin+"/plugins/0b1f8a3c-0000-4000-8000-000000000001", `{"name":"prometheus","config":{"upstream_health_metrics":true}}`)
	_, out = call(t, http.MethodGet, admin+"/metrics", "")
	for _, line := range []string{
		`kong_upstream_target_health{upstream="up",target="` + good + `",address="` + good + `",state="healthy",subsystem="http"} 1`,
		`kong_upstream_target_health{upstream="up",target="no-such-host.invalid:80",address="",state="dns_error",subsystem="http"} 1`,
		"kong_datastore_reachable 1",
	} {
		if !strings.Contains(out, line) {
			t.Errorf("metrics lack %s", line)
		}
	}
}

// TestTargetPages walks the three lists of targets, each with its own way of paging.
func TestTargetPages(t *testing.T) {
	t.Parallel()
	p := run(t, t.TempDir())
	admin := p.URLs["admin"]
	put(t, admin+"/upstreams/up", `{}`)
	for i := range 5 {
		call(t, http.MethodPost, admin+"/upstreams/up/targets", fmt.Sprintf(`{"target":"127.0.0.1:%d"}`, i+1))
	}
	for _, path := range []string{"/health", "/targets", "/targets/all"} {
		seen, query := map[string]bool{}, "?size=2"
		for pages := 1; ; pages++ {
			code, out := call(t, http.MethodGet, admin+"/upstreams/up"+path+query, "")
			var page healthPage
			if err := json.Unmarshal([]byte(out), &page); err != nil || code != 200 {
				t.Fatalf("%s%s: %d %s", path, query, code, out)
			}
			for _, row := range page.Data {
				seen[row.Target] = true
			}
			if page.Next == nil {
				if pages != 3 || len(seen) != 5 {
					t.Errorf("%s: %d pages with %v", path, pages, seen)
				}
				break
			}
			if !strings.HasPrefix(*page.Next, "/upstreams/up"+path+"?offset=") {
				t.Errorf("%s: next is %s", path, *page.Next)
			}
			query = "?size=2&" + (*page.Next)[strings.Index(*page.Next, "offset="):]
		}
	}
	code, out := call(t, http.MethodGet, admin+"/upstreams/up/targets?offset=x", "")
	if code != 400 || !strings.Contains(out, `"code":7`) {
		t.Errorf("offset=x: %d %s", code, out)
	}
}

// TestTargetHealthOfAFleet takes a target down at one node alone: it works as long as one node
// says so. Orders reach all nodes.
func TestTargetHealthOfAFleet(t *testing.T) {
	t.Parallel()
	db, a := services.NewPostgres(t), stack.FreePorts(t, 6)
	cp := stack.Start(t, "controlplane", "--database-url", db.URL, "--data-dir", t.TempDir(), "--admin-listen", a[0],
		"--feed-listen", a[1], "--feed-insecure", "--grpc-listen", "off", "--console-listen", "off", "--status-listen", "off")
	admin := cp.URLs["admin"]
	put(t, admin+"/upstreams/up", checked)
	if code, out := call(t, http.MethodPost, admin+"/upstreams/up/targets", `{"target":"`+a[4]+`"}`); code != 201 {
		t.Fatalf("%d %s", code, out)
	}
	put(t, admin+"/services/s", `{"host":"up","retries":0}`)
	put(t, admin+"/services/s/routes/r", `{"paths":["/s"]}`)
	one := admin + "/upstreams/up/targets/" + a[4]
	if got := health(t, admin, "").words(); got != a[4]+" HEALTHCHECKS_OFF" {
		t.Errorf("without nodes: %s", got)
	}
	if code, out := call(t, http.MethodPut, one+"/unhealthy", ""); code != 400 || out != `{"message":"Upstream up has no balancer"}` {
		t.Errorf("set without nodes: %d %s", code, out)
	}
	var nodes []*stack.Process
	for i := range 2 {
		n := stack.Start(t, "dataplane", "--control-plane", a[1], "--feed-insecure", "--data-dir", t.TempDir(),
			"--proxy-listen", a[2+i], "--proxy-tls-listen", "off", "--status-listen", "127.0.0.1:0")
		n.WaitReady()
		nodes = append(nodes, n)
	}
	state := func(want string) {
		t.Helper()
		if got := health(t, admin, "").Data[0].Health; got != want {
			t.Errorf("health = %s, want %s", got, want)
		}
	}
	state("HEALTHY")
	refused := func(n *stack.Process) { // nobody listens there: one failure is enough
		t.Helper()
		if code, _ := call(t, http.MethodGet, n.URLs["proxy"]+"/s", ""); code < 500 {
			t.Fatalf("%d from a dead target", code)
		}
	}
	refused(nodes[0])
	state("HEALTHY")
	refused(nodes[1])
	state("UNHEALTHY")
	if code, out := call(t, http.MethodPut, one+"/healthy", ""); code != 204 {
		t.Fatalf("%d %s", code, out)
	}
	for _, n := range nodes { // each tries again, as it is told that the target works
		if code, out := call(t, http.MethodGet, n.URLs["proxy"]+"/s", ""); code == http.StatusServiceUnavailable {
			t.Errorf("%d %s", code, out)
		}
	}
	state("UNHEALTHY")
}

// TestProxyCachePaths looks and purges in what a node keeps of answers.
func TestProxyCachePaths(t *testing.T) {
	t.Parallel()
	p := run(t, t.TempDir())
	admin := p.URLs["admin"]
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, "kept")
	}))
	t.Cleanup(up.Close)
	if code, _ := call(t, http.MethodGet, admin+"/proxy-cache/any", ""); code != http.StatusNotFound {
		t.Errorf("without the plugin: %d", code)
	}
	put(t, admin+"/services/s", `{"url":"`+up.URL+`"}`)
	put(t, admin+"/services/s/routes/r", `{"paths":["/s"]}`)
	const plugin = "0b1f8a3c-0000-4000-8000-000000000002"
	put(t, admin+"/plugins/"+plugin, `{"name":"proxy-cache","config":{"strategy":"memory"}}`)
	get := func(want string) string {
		t.Helper()
		res, err := http.Get(p.URLs["proxy"] + "/s")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := res.Header.Get("X-Cache-Status"); got != want {
			t.Errorf("X-Cache-Status: %s, want %s", got, want)
		}
		return res.Header.Get("X-Cache-Key")
	}
	key := get("Miss")
	for _, path := range []string{"/proxy-cache/" + key, "/proxy-cache/" + plugin + "/caches/" + key} {
		code, out := call(t, http.MethodGet, admin+path, "")
		var kept struct {
			Status, BodyLen int
			Body            string
			Headers         map[string]any
		}
		if err := json.Unmarshal([]byte(out), &kept); err != nil || code != 200 || kept.Body != "kept" || kept.Headers["X-Cache-Key"] != key {
			t.Errorf("GET %s: %d %s", path, code, out)
		}
		get("Hit")
		for _, want := range []int{204, 404} {
			if code, out := call(t, http.MethodDelete, admin+path, ""); code != want {
				t.Errorf("DELETE %s: %d %s, want %d", path, code, out, want)
			}
		}
		get("Miss")
	}
	if code, _ := call(t, http.MethodDelete, admin+"/proxy-cache/0b1f8a3c-0000-4000-8000-000000000003/caches/"+key, ""); code != 404 {
		t.Errorf("of another plugin: %d", code)
	}
	if code, _ := call(t, http.MethodDelete, admin+"/proxy-cache", ""); code != 204 {
		t.Errorf("DELETE /proxy-cache: %d", code)
	}
	get("Miss")
}
