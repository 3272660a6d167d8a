// Package guide runs the operations guide: every command of its text, as written, against
// real processes, and the behaviour it promises.
package guide

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/test/stack"
)

func TestMain(m *testing.M) { stack.Main(m) }

// Where the guide's commands run: (a) what `make run` gives, (b) PostgreSQL and Redis with
// one control plane and two nodes.
var worlds = map[string]func(*testing.T) *world{
	"embedded": embedded,
	"fleet":    fleet,
}

func TestGuide(t *testing.T) {
	t.Parallel()
	for name, start := range worlds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			w.setup(t)
			for _, s := range steps {
				if !t.Run(s.name, func(t *testing.T) { s.run(t, w) }) && s.needed {
					t.Fatalf("%s failed: the steps behind it would mean nothing", s.name)
				}
			}
		})
	}
}

var steps = []struct {
	name   string
	needed bool
	run    func(*testing.T, *world)
}{
	{"setup may be run again", true, setupAgain},
	{"no key", false, noKey},
	{"wrong key", false, wrongKey},
	{"key in header and argument", true, goodKey},
	{"every command of the guide's text", false, commands},
	{"cors", false, cors},
	{"foreign address", false, foreignAddress},
	{"bots", false, bots},
	{"ten megabytes and one byte more", false, bodySize},
	{"request transformer", false, transformer},
	{"ollama streams", false, ollamaStreams},
	{"upstream down", false, upstreamDown},
	{"access log", false, accessLog},
	{"metrics", false, metrics},
	{"unknown path", false, unknownPath},
	{"the 101st request of a minute", false, rateLimit},
}

func setupAgain(t *testing.T, w *world) {
	before := w.list(t, "plugins")
	w.setup(t)
	if after := w.list(t, "plugins"); len(after) != len(before) {
		t.Errorf("plugins after the second setup: %d, want %d", len(after), len(before))
	}
}

func noKey(t *testing.T, w *world) {
	for _, p := range w.proxies {
		res, body := w.get(t, p+"/api/v1/gateway/", nil)
		wantStatus(t, res, 401)
		wantMessage(t, body, "No API key found in request")
		if got := res.Header.Get("Www-Authenticate"); got != "Key" {
			t.Errorf("WWW-Authenticate = %q, want Key", got)
		}
		if res.Header.Get("X-Kong-Request-Id") == "" || res.Header.Get("X-Kong-Response-Latency") == "" {
			t.Errorf("headers %v lack X-Kong-Request-Id or X-Kong-Response-Latency", res.Header)
		}
	}
}

func wrongKey(t *testing.T, w *world) {
	res, body := w.get(t, w.proxies[0]+"/api/v1/gateway/", map[string]string{"X-API-Key": "wrong"})
	wantStatus(t, res, 401)
	wantMessage(t, body, "Unauthorized")
}

func goodKey(t *testing.T, w *world) {
	for _, p := range w.proxies {
		res, body := w.get(t, p+"/api/v1/gateway/", key)
		wantStatus(t, res, 200)
		var got struct{ Path string }
		decode(t, body, &got)
		if got.Path != "/" {
			t.Errorf("the API was asked for %q, want / (strip_path)", got.Path)
		}
		if res.Header.Get("X-RateLimit-Limit-Minute") != "100" || res.Header.Get("X-RateLimit-Limit-Hour") != "1000" {
			t.Errorf("rate limit headers: %v", res.Header)
		}
		for _, h := range []string{"X-Kong-Upstream-Latency", "X-Kong-Proxy-Latency", "Via"} {
			if res.Header.Get(h) == "" {
				t.Errorf("no %s in %v", h, res.Header)
			}
		}
		res, _ = w.get(t, p+"/api/v1/gateway/?apikey=ai-dev-key-2025", nil)
		wantStatus(t, res, 200)
	}
}

func cors(t *testing.T, w *world) {
	req, _ := http.NewRequest(http.MethodOptions, w.proxies[0]+"/api/v1/gateway/", nil)
	req.Header.Set("Origin", "https://app.example")
	req.Header.Set("Access-Control-Request-Method", "POST")
	res, body := w.do(t, req)
	wantStatus(t, res, 200)
	if got := res.Header.Get("Access-Control-Allow-Origin"); got != "*" || body != "" {
		t.Errorf("preflight: Access-Control-Allow-Origin %q, body %q", got, body)
	}
	if got := res.Header.Get("Access-Control-Max-Age"); got != "3600" {
		t.Errorf("Access-Control-Max-Age = %q, want 3600", got)
	}
}

func foreignAddress(t *testing.T, w *world) {
	out := w.sh(t, `curl -s -o - -w '\n%{http_code}' --interface 127.0.0.2 -H "X-API-Key: ai-dev-key-2025" http://localhost:8080/api/v1/gateway/`)
	if !strings.Contains(out, "IP address not allowed: 127.0.0.2") || !strings.HasSuffix(out, "\n403") {
		t.Errorf("from 127.0.0.2: %s", out)
	}
}

func bots(t *testing.T, w *world) {
	for agent, want := range map[string]int{
		"Googlebot/2.1 (+http://www.google.com/bot.html)": 403,
		"Go-http-client/1.1":                              403,
		"curl/8.5.0":                                      200,
		"python-requests/2.32.3":                          200,
		"Mozilla/5.0 firefox/130":                         200,
	} {
		res, _ := w.get(t, w.proxies[0]+"/api/v1/gateway/", map[string]string{"X-API-Key": "ai-dev-key-2025", "User-Agent": agent})
		if res.StatusCode != want {
			t.Errorf("%s: %d, want %d", agent, res.StatusCode, want)
		}
	}
}

func bodySize(t *testing.T, w *world) {
	const limit = 10_485_760
	for size, want := range map[int]int{limit: 200, limit + 1: 413} {
		req, _ := http.NewRequest(http.MethodPost, w.proxies[0]+"/api/v1/gateway/upload", strings.NewReader(strings.Repeat("x", size)))
		req.Header.Set("X-API-Key", "ai-dev-key-2025")
		res, body := w.do(t, req)
		wantStatus(t, res, want)
		if want == 413 {
			wantMessage(t, body, "Request size limit exceeded")
			continue
		}
		var got struct{ Size int }
		decode(t, body, &got)
		if got.Size != size {
			t.Errorf("the API received %d bytes, want %d", got.Size, size)
		}
	}
}

func transformer(t *testing.T, w *world) {
	_, body := w.get(t, w.proxies[0]+"/api/v1/gateway/echo", key)
	var got struct{ Headers map[string][]string }
	decode(t, body, &got)
	if v := got.Headers["X-Gateway"]; len(v) != 1 || v[0] != "sekifuda" {
		t.Errorf("X-Gateway at the API = %v, want [sekifuda]", v)
	}
	if v := got.Headers["X-Consumer-Username"]; len(v) != 1 || v[0] != "ai-dev-user" {
		t.Errorf("X-Consumer-Username at the API = %v, want [ai-dev-user]", v)
	}
}

// ollamaStreams holds the gate to streaming: the second token is only written after the
// first one was seen by the client.
func ollamaStreams(t *testing.T, w *world) {
	req, _ := http.NewRequest(http.MethodPost, w.proxies[0]+"/ollama/api/generate", strings.NewReader(`{"model":"tiny","prompt":"hi"}`))
	req.Header.Set("X-API-Key", "ai-dev-key-2025")
	req.Header.Set("User-Agent", "curl/8.5.0")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	wantStatus(t, res, 200)
	if ct := res.Header.Get("Content-Type"); ct != "application/x-ndjson" {
		t.Errorf("Content-Type = %q", ct)
	}
	d := json.NewDecoder(res.Body)
	for i := 0; ; i++ {
		var tok struct {
			Response string
			Done     bool
		}
		if err := d.Decode(&tok); err != nil {
			t.Fatalf("token %d: %v", i, err)
		}
		if tok.Done {
			if i != ollamaTokens {
				t.Errorf("%d tokens, want %d", i, ollamaTokens)
			}
			return
		}
		w.ollama.next <- struct{}{}
	}
}

func upstreamDown(t *testing.T, w *world) {
	w.patch(t, "/services/ollama", `{"host":"no-such-host.invalid"}`)
	res, body := w.get(t, w.proxies[0]+"/ollama/api/tags", key)
	wantStatus(t, res, 503)
	wantMessage(t, body, "name resolution failed")
	closed := stack.FreePorts(t, 1)[0]
	_, port, _ := strings.Cut(closed, ":")
	w.patch(t, "/services/ollama", `{"host":"127.0.0.1","port":`+port+`}`)
	res, body = w.get(t, w.proxies[0]+"/ollama/api/tags", key)
	wantStatus(t, res, 502)
	if !strings.Contains(body, "An invalid response was received from the upstream server") {
		t.Errorf("body %q", body)
	}
}

func accessLog(t *testing.T, w *world) {
	stack.Eventually(t, func() error {
		raw, err := os.ReadFile(w.accessLog)
		if err != nil {
			return err
		}
		for _, line := range strings.Split(strings.TrimSpace(string(raw)), "\n") {
			var e struct {
				Request  struct{ URI string }
				Response struct{ Status int }
				Consumer struct{ Username string }
			}
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				return fmt.Errorf("%q: %w", line, err)
			}
			if e.Response.Status == 200 && e.Consumer.Username == "ai-dev-user" {
				return nil
			}
		}
		return fmt.Errorf("no entry of ai-dev-user among %d bytes", len(raw))
	})
}

func metrics(t *testing.T, w *world) {
	for _, u := range w.status {
		_, body := w.get(t, u+"/metrics", nil)
		for _, want := range []string{
			`kong_http_requests_total{service="api-gateway",route="api-gateway-route",code="200",source="service",workspace="default",consumer=""}`,
			`kong_request_latency_ms_bucket{service="api-gateway"`,
			`kong_bandwidth_bytes{service="api-gateway"`,
			"kong_node_info{",
		} {
			if !strings.Contains(body, want) {
				t.Errorf("%s/metrics lacks %s", u, want)
			}
		}
	}
}

func unknownPath(t *testing.T, w *world) {
	res, body := w.get(t, w.proxies[0]+"/nowhere", nil)
	wantStatus(t, res, 404)
	wantMessage(t, body, "no Route matched with those values")
}

// rateLimit spends 100 requests over all nodes with a consumer of its own; the next one is
// refused everywhere, until the limit is raised.
func rateLimit(t *testing.T, w *world) {
	w.sh(t, `curl -fsS -X PUT http://localhost:8001/consumers/limit-user`)
	w.sh(t, `curl -fsS -X PUT http://localhost:8001/consumers/limit-user/key-auth/limit-key`)
	mine := map[string]string{"X-API-Key": "limit-key"}
	waitForRoom(25 * time.Second)
	for i := range 100 {
		res, _ := w.get(t, w.proxies[i%len(w.proxies)]+"/api/v1/gateway/", mine)
		wantStatus(t, res, 200)
		if got, want := res.Header.Get("X-RateLimit-Remaining-Minute"), fmt.Sprint(99-i); got != want {
			t.Fatalf("request %d: remaining %s, want %s", i+1, got, want)
		}
	}
	for _, p := range w.proxies {
		res, body := w.get(t, p+"/api/v1/gateway/", mine)
		wantStatus(t, res, 429)
		wantMessage(t, body, "API rate limit exceeded")
		if res.Header.Get("Retry-After") == "" || res.Header.Get("X-RateLimit-Remaining-Minute") != "0" {
			t.Errorf("headers of the refusal: %v", res.Header)
		}
	}
	id := strings.TrimSpace(w.sh(t, `curl -s http://localhost:8001/plugins | jq -r '.data[] | select(.name=="rate-limiting") | .id'`))
	w.sh(t, `curl -fsS -X PATCH http://localhost:8001/plugins/`+id+` -d "config.minute=200"`)
	for _, p := range w.proxies {
		res, _ := w.get(t, p+"/api/v1/gateway/", mine)
		if res.StatusCode != 200 || res.Header.Get("X-RateLimit-Limit-Minute") != "200" {
			t.Errorf("after PATCH config.minute=200, at once: %s, limit %s", res.Status, res.Header.Get("X-RateLimit-Limit-Minute"))
		}
	}
}

// waitForRoom waits for the next minute when less than d of this one is left: the limit is
// of calendar minutes.
func waitForRoom(d time.Duration) {
	now := time.Now()
	if left := time.Minute - now.Sub(now.Truncate(time.Minute)); left < d {
		time.Sleep(left + 10*time.Millisecond)
	}
}

var key = map[string]string{"X-API-Key": "ai-dev-key-2025"}

func wantStatus(t *testing.T, res *http.Response, want int) {
	t.Helper()
	if res.StatusCode != want {
		t.Fatalf("%s %s: %s, want %d", res.Request.Method, res.Request.URL, res.Status, want)
	}
}

// wantMessage holds an error body to Kong's form.
func wantMessage(t *testing.T, body, want string) {
	t.Helper()
	var got struct {
		Message   string
		RequestID string `json:"request_id"`
	}
	decode(t, body, &got)
	if got.Message != want || len(got.RequestID) != 32 {
		t.Errorf("body %q, want message %q and a request id", body, want)
	}
}

func decode(t *testing.T, body string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), v); err != nil {
		t.Fatalf("body %q: %v", body, err)
	}
}

func (w *world) get(t *testing.T, url string, headers map[string]string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	return w.do(t, req)
}

func (w *world) do(t *testing.T, req *http.Request) (*http.Response, string) {
	t.Helper()
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "curl/8.5.0")
	}
	res, err := w.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(raw)
}

func (w *world) patch(t *testing.T, path, body string) {
	t.Helper()
	req, _ := http.NewRequest(http.MethodPatch, w.admin+path, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	res, out := w.do(t, req)
	if res.StatusCode != 200 {
		t.Fatalf("PATCH %s: %s %s", path, res.Status, out)
	}
}

func (w *world) list(t *testing.T, path string) []any {
	t.Helper()
	_, body := w.get(t, w.admin+"/"+path, nil)
	var got struct{ Data []any }
	decode(t, body, &got)
	return got.Data
}

func (w *world) setup(t *testing.T) {
	t.Helper()
	env := append([]string{
		"ADMIN=" + w.admin, "API_URL=" + w.api.url, "OLLAMA_URL=" + w.ollama.url, "ACCESS_LOG=" + w.accessLog,
	}, w.limitEnv...)
	out, code := stack.Shell(t, env, "sh "+filepath.Join(stack.Root(), "deploy/examples/ai-gateway/setup.sh"))
	if code != 0 {
		t.Fatalf("setup.sh: exit code %d\n%s", code, out)
	}
}
