// Package e2e holds the built binary to what a user relies on: nothing written is lost, a
// node serves alone, a change arrives at once, messages say what to do.
package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

func TestMain(m *testing.M) { stack.Main(m) }

// run starts both planes on free ports that stay the same over a restart.
func run(t *testing.T, dir string, more ...string) *stack.Process {
	t.Helper()
	a := stack.FreePorts(t, 5)
	args := append([]string{"--data-dir", dir, "--proxy-listen", a[0], "--proxy-tls-listen", a[1], "--admin-listen", a[2],
		"--grpc-listen", a[3], "--status-listen", a[4], "--console-listen", "off"}, more...)
	p := stack.Start(t, "run", args...)
	p.WaitReady()
	return p
}

// call sends a request with a JSON body and returns status and answer.
func call(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	code, out, err := stack.Try(method, url, body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return code, out
}

func put(t *testing.T, url, body string) {
	t.Helper()
	if code, out := call(t, http.MethodPut, url, body); code != http.StatusOK {
		t.Fatalf("PUT %s %s: %d %s", url, body, code, out)
	}
}

func echo(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", r.Method, r.URL)
	}))
	t.Cleanup(s.Close)
	return s
}

// TestKill9LosesNothing kills the process while eight clients write, and looks for every
// write that was answered.
func TestKill9LosesNothing(t *testing.T) {
	t.Parallel()
	p := run(t, t.TempDir())
	var mu sync.Mutex
	var acknowledged []string
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				name := fmt.Sprintf("s-%d-%d", w, i)
				code, _, err := stack.Try(http.MethodPut, p.URLs["admin"]+"/services/"+name, `{"host":"h.test"}`)
				if err != nil {
					return
				}
				if code == http.StatusOK {
					mu.Lock()
					acknowledged = append(acknowledged, name)
					mu.Unlock()
				}
			}
		})
	}
	stack.Eventually(t, func() error {
		mu.Lock()
		defer mu.Unlock()
		if len(acknowledged) < 200 {
			return fmt.Errorf("%d writes so far", len(acknowledged))
		}
		return nil
	})
	p.Kill()
	close(stop)
	wg.Wait()
	p.Restart()
	p.WaitReady()
	for _, name := range acknowledged {
		if code, _ := call(t, http.MethodGet, p.URLs["admin"]+"/services/"+name, ""); code != http.StatusOK {
			t.Errorf("%s was acknowledged and is lost: %d", name, code)
		}
	}
	out, code := stack.Shell(t, []string{"SEKI_SERVER=" + p.Addr("admin gRPC")}, stack.Binary(t)+" audit verify")
	var entries, revisions int
	if _, err := fmt.Sscanf(out, "the audit log is whole: %d entries, %d of them of revisions", &entries, &revisions); err != nil || code != 0 || revisions < len(acknowledged) {
		t.Errorf("seki audit verify after %d writes: exit code %d\n%s", len(acknowledged), code, out)
	}
}

// TestChangeActsAtOnce writes a route and asks for it with no pause between.
func TestChangeActsAtOnce(t *testing.T) {
	t.Parallel()
	p, up := run(t, t.TempDir()), echo(t)
	put(t, p.URLs["admin"]+"/services/up", `{"url":"`+up.URL+`/base"}`)
	for i := range 30 {
		path := fmt.Sprintf("/r%d", i)
		put(t, p.URLs["admin"]+"/services/up/routes/r", `{"paths":["`+path+`"]}`)
		if code, out := call(t, http.MethodGet, p.URLs["proxy"]+path+"/x?q=1", ""); code != http.StatusOK || out != "GET /base/x?q=1" {
			t.Fatalf("%s right after its write: %d %q", path, code, out)
		}
	}
}

// TestNodeServesAlone stops the control plane and PostgreSQL, and restarts the node.
func TestNodeServesAlone(t *testing.T) {
	t.Parallel()
	db, up := services.NewPostgres(t), echo(t)
	a := stack.FreePorts(t, 4)
	cp := stack.Start(t, "controlplane", "--database-url", db.URL, "--data-dir", t.TempDir(), "--admin-listen", a[0],
		"--feed-listen", a[1], "--feed-insecure", "--grpc-listen", "off", "--console-listen", "off", "--status-listen", "off")
	node := stack.Start(t, "dataplane", "--control-plane", a[1], "--feed-insecure", "--node-id", "alone", "--data-dir", t.TempDir(),
		"--proxy-listen", a[2], "--proxy-tls-listen", "off", "--status-listen", a[3])
	put(t, cp.URLs["admin"]+"/services/up", `{"url":"`+up.URL+`"}`)
	put(t, cp.URLs["admin"]+"/services/up/routes/r", `{"paths":["/alone"]}`)
	put(t, cp.URLs["admin"]+"/services/up/plugins/k", `{"name":"key-auth"}`)
	put(t, cp.URLs["admin"]+"/consumers/c", `{}`)
	put(t, cp.URLs["admin"]+"/consumers/c/key-auth/secret", `{}`)
	works := func() error {
		code, out, err := stack.Try(http.MethodGet, node.URLs["proxy"]+"/alone?apikey=secret", "")
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("%d %s", code, out)
		}
		return err
	}
	stack.Eventually(t, works)
	cp.Kill()
	db.Kill(t)
	if err := works(); err != nil {
		t.Fatalf("with everything behind it dead: %v", err)
	}
	node.Kill()
	node.Restart()
	node.WaitReady()
	if err := works(); err != nil {
		t.Fatalf("after a restart with everything behind it dead: %v", err)
	}
	if code, _ := call(t, http.MethodGet, node.URLs["proxy"]+"/alone?apikey=wrong", ""); code != http.StatusUnauthorized {
		t.Errorf("a wrong key: %d, want 401", code)
	}
}

// TestUpstreamIsCancelled holds a request open at the upstream and lets the client go.
func TestUpstreamIsCancelled(t *testing.T) {
	t.Parallel()
	p := run(t, t.TempDir())
	arrived, gone := make(chan struct{}), make(chan struct{})
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		close(arrived)
		<-r.Context().Done()
		close(gone)
	}))
	t.Cleanup(up.Close)
	put(t, p.URLs["admin"]+"/services/up", `{"url":"`+up.URL+`"}`)
	put(t, p.URLs["admin"]+"/services/up/routes/r", `{"paths":["/"]}`)
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, p.URLs["proxy"]+"/", nil)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	<-arrived
	cancel()
	select {
	case <-gone:
	case <-time.After(30 * time.Second):
		t.Fatal("the upstream was not told that the client went away")
	}
}

// TestTLSAndHTTP2 reaches the TLS door with the configured certificate, over HTTP/2.
func TestTLSAndHTTP2(t *testing.T) {
	t.Parallel()
	p, up := run(t, t.TempDir()), echo(t)
	cert, key := selfSigned(t, "api.example")
	body, _ := json.Marshal(map[string]any{"cert": cert, "key": key, "snis": []string{"api.example"}})
	if code, out := call(t, http.MethodPost, p.URLs["admin"]+"/certificates", string(body)); code != http.StatusCreated {
		t.Fatalf("POST /certificates: %d %s", code, out)
	}
	put(t, p.URLs["admin"]+"/services/up", `{"url":"`+up.URL+`"}`)
	put(t, p.URLs["admin"]+"/services/up/routes/r", `{"hosts":["api.example"]}`)
	for _, proto := range []string{"h2", "http/1.1"} {
		c := &http.Client{Transport: &http.Transport{
			ForceAttemptHTTP2: proto == "h2",
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ServerName: "api.example", NextProtos: []string{proto}},
		}}
		req, _ := http.NewRequest(http.MethodGet, p.URLs["proxy TLS"]+"/secure", nil)
		req.Host = "api.example"
		res, err := c.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", proto, err)
		}
		out, _ := io.ReadAll(res.Body)
		res.Body.Close()
		c.CloseIdleConnections()
		if res.StatusCode != http.StatusOK || string(out) != "GET /secure" {
			t.Errorf("%s: %s %q", proto, res.Status, out)
		}
		if got := res.TLS.PeerCertificates[0].Subject.CommonName; got != "api.example" {
			t.Errorf("%s: certificate of %q, want api.example", proto, got)
		}
		if want := map[string]int{"h2": 2, "http/1.1": 1}[proto]; res.ProtoMajor != want {
			t.Errorf("%s: answered in HTTP/%d", proto, res.ProtoMajor)
		}
	}
}

// TestMessages reads what a user reads when a process cannot start.
func TestMessages(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	taken := l.Addr().String()
	for name, c := range map[string]struct{ line, want string }{
		"port taken": {
			"run --data-dir " + t.TempDir() + " --proxy-listen " + taken,
			"proxy: " + taken + " is taken by another program; choose another address with --proxy-listen or SEKI_PROXY_LISTEN",
		},
		"open admin":      {"run --admin-listen 0.0.0.0:0", "--admin-open"},
		"unknown verb":    {"fly", `no verb named "fly"`},
		"unknown flag":    {"run --wings", "flag provided but not defined: -wings"},
		"bad flag":        {"run --client-idle-timeout soon", "invalid value"},
		"no plane":        {"dataplane --feed-insecure", "--control-plane"},
		"insecure abroad": {"controlplane --feed-listen 0.0.0.0:0 --feed-insecure", "loopback only"},
		"no database":     {"controlplane --database-url nonsense:// --feed-listen off --admin-listen 127.0.0.1:0", "database"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, code := stack.Shell(t, nil, stack.Binary(t)+" "+c.line)
			if code == 0 || !strings.Contains(out, c.want) {
				t.Errorf("seki %s: exit code %d\n%s\nwant %q", c.line, code, out, c.want)
			}
		})
	}
}

// TestApply applies the guide's file twice and looks at what it says.
func TestApply(t *testing.T) {
	t.Parallel()
	p := run(t, t.TempDir())
	seki := stack.Binary(t) + " "
	file := filepath.Join(stack.Root(), "deploy/examples/ai-gateway/gateway.yaml")
	env := []string{"SEKI_SERVER=" + p.Addr("admin gRPC")}
	for _, c := range []struct{ line, want string }{
		{"apply -f " + file + " --dry-run", "dry run: nothing was written"},
		{"get services", "ID"},
		{"apply -f " + file + " --message first", "enforced by 1 of 1 nodes"},
		{"apply -f " + file, "0 to create, 0 to change, 16 as they are"},
		{"get services api-gateway -output json", `"name": "api-gateway"`},
		{"log", "first"},
		{"status", "1 connected, 1 run what they should"},
		{"nodes", "true"},
		{"diff 0", "+ services api-gateway"},
		{"delete consumers ai-dev-user", "deleted consumers ai-dev-user"},
		{"get keyauth_credentials", "ID"},
	} {
		out, code := stack.Shell(t, env, seki+c.line)
		if code != 0 || !strings.Contains(out, c.want) {
			t.Fatalf("seki %s: exit code %d\n%s\nwant %q", c.line, code, out, c.want)
		}
	}
	if out, _ := stack.Shell(t, env, seki+"diff 0"); strings.Contains(out, "ai-dev-key") {
		t.Errorf("seki diff shows an API key:\n%s", out)
	}
	out, code := stack.Shell(t, env, seki+"get services nothing")
	if code != 1 || !strings.Contains(out, "could not find the entity") {
		t.Errorf("seki get services nothing: exit code %d\n%s", code, out)
	}
	if out, _ := stack.Shell(t, env, seki+"get keyauth_credentials"); strings.Contains(out, "ai-dev-key") {
		t.Errorf("the consumer's key outlived it:\n%s", out)
	}
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	writeFile(t, bad, "services:\n- name: x\n  host: h\n  routes:\n  - paths: [nope]\n")
	out, code = stack.Shell(t, env, seki+"apply -f "+bad)
	if code != 1 || !strings.Contains(out, "services[0].routes[0]: schema violation (paths.1: should start with: /") {
		t.Errorf("apply of a bad file: exit code %d\n%s", code, out)
	}
}

// TestBadInputLeavesNothing sends what cannot be an entity: it is refused in a sentence, and
// nothing of it is written.
func TestBadInputLeavesNothing(t *testing.T) {
	t.Parallel()
	p := run(t, t.TempDir())
	admin := p.URLs["admin"]
	for name, c := range map[string]struct {
		body, contentType string
		code              int
	}{
		"malformed JSON":     {`{"host":`, "application/json", 400},
		"deep JSON":          {strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000), "application/json", 400},
		"wrong type":         {`{"host":5}`, "application/json", 400},
		"unknown field":      {`{"host":"h","nope":1}`, "application/json", 400},
		"invalid UTF-8":      {"{\"host\":\"h\",\"name\":\"\xff\"}", "application/json", 400},
		"dangling reference": {`{"host":"h","protocol":"https","client_certificate":{"id":"11111111-1111-4111-8111-111111111111"}}`, "application/json", 400},
		"no content type":    {`{"host":"h"}`, "", 415},
		"eleven megabytes":   {`{"host":"` + strings.Repeat("h", 11<<20) + `"}`, "application/json", 413},
	} {
		req, _ := http.NewRequest(http.MethodPost, admin+"/services", bytes.NewReader([]byte(c.body)))
		if c.contentType != "" {
			req.Header.Set("Content-Type", c.contentType)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		out, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != c.code {
			t.Errorf("%s: %d %.200s, want %d", name, res.StatusCode, out, c.code)
		}
	}
	if _, out := call(t, http.MethodGet, admin+"/services", ""); !strings.Contains(out, `"data":[]`) {
		t.Errorf("something was written: %s", out)
	}
}

// TestExplain asks why requests were refused, by the id that their answers carry.
func TestExplain(t *testing.T) {
	t.Parallel()
	p, up := run(t, t.TempDir()), echo(t)
	admin := p.URLs["admin"]
	put(t, admin+"/services/s", `{"url":"`+up.URL+`"}`)
	put(t, admin+"/services/s/routes/limited", `{"paths":["/limited"]}`)
	put(t, admin+"/routes/limited/plugins/"+uuid, `{"name":"rate-limiting","config":{"year":1}}`)
	seki := func(args string) (string, int) {
		return stack.Shell(t, []string{"SEKI_SERVER=" + p.Addr("admin gRPC")}, stack.Binary(t)+" explain "+args)
	}
	for i, c := range []struct {
		path   string
		status int
		want   []string
	}{
		{"/limited/a?key=secret", 200, nil},
		{"/limited/a?key=secret", 429, []string{"refused with 429 by plugin rate-limiting (" + uuid + ")", "over-year: the requests allowed in this year are used up", "route limited, service s", "GET " + p.Addr("proxy") + "/limited/a from 127.0.0.1"}},
		{"/nowhere", 404, []string{"refused with 404 by the gate itself", "no-route: no route matches"}},
	} {
		res, err := http.Get(p.URLs["proxy"] + c.path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != c.status {
			t.Fatalf("request %d: %s", i, res.Status)
		}
		out, code := seki(res.Header.Get("X-Kong-Request-Id"))
		if c.want == nil {
			if code != 1 || !strings.Contains(out, "no connected node refused request") {
				t.Errorf("explain of an answered request: exit %d %s", code, out)
			}
			continue
		}
		for _, w := range c.want {
			if code != 0 || !strings.Contains(out, w) || strings.Contains(out, "secret") {
				t.Errorf("explain says (exit %d)\n%swant %q and no query", code, out, w)
			}
		}
	}
	if out, code := seki(""); code != 0 || !strings.Contains(out, "no-route") || !strings.Contains(out, "over-year") {
		t.Errorf("the newest refusals are\n%s", out)
	}
	if _, out := call(t, http.MethodGet, p.URLs["status"]+"/metrics", ""); !strings.Contains(out, `sekifuda_refused_total{reason="no-route"} 1`) {
		t.Error("/metrics does not count the refusal by its reason")
	}
}
