// Package ops holds the operator's verbs to a running installation: the doctor finds what was
// planted and is silent about what is well, the monitor tells of what changes.
package ops

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/ops"
	"github.com/sekifuda/sekifuda/ops/doctor"
	"github.com/sekifuda/sekifuda/test/stack"
)

func TestMain(m *testing.M) { stack.Main(m) }

// clinic is a clean installation: two services, a consumer, and what the guide puts before them.
type clinic struct {
	*testing.T
	gate  *stack.Process
	admin string
	o     doctor.Options
}

func newClinic(t *testing.T) *clinic {
	t.Helper()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/broken") {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(up.Close)
	gate := stack.Start(t, "run", "--data-dir", t.TempDir(), "--proxy-listen", "127.0.0.1:0", "--proxy-tls-listen", "off",
		"--admin-listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0", "--status-listen", "127.0.0.1:0", "--console-listen", "off")
	gate.WaitReady()
	dir := t.TempDir()
	c := &clinic{T: t, gate: gate, admin: gate.URLs["admin"], o: doctor.Options{
		Stack: &ops.Stack{Admin: gate.URLs["admin"], Proxy: gate.URLs["proxy"], Status: []string{gate.URLs["status"]}, Client: &http.Client{}},
		Now:   time.Now, Thresholds: ops.Defaults(), Between: 20 * time.Millisecond,
		Backups: filepath.Join(dir, "backups"), Logs: filepath.Join(dir, "logs"), AlertLog: filepath.Join(dir, "alerts.log"), DataDir: dir,
	}}
	for _, d := range []string{filepath.Join(c.o.Backups, "drills"), c.o.Logs} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c.file(filepath.Join(c.o.Backups, "one"), "x")
	c.file(filepath.Join(c.o.Backups, "drills", "one"), "x")
	c.put("/services/api", `{"url":"`+up.URL+`"}`)
	c.put("/services/api/routes/api", `{"paths":["/api"]}`)
	c.put("/consumers/ann", `{}`)
	c.put("/consumers/ann/key-auth/"+id(1), `{"key":"a-long-enough-key"}`)
	c.put("/plugins/"+id(2), `{"name":"key-auth"}`)
	c.put("/plugins/"+id(3), `{"name":"rate-limiting","config":{"minute":100000}}`)
	c.put("/plugins/"+id(4), `{"name":"bot-detection"}`)
	c.put("/plugins/"+id(5), `{"name":"ip-restriction","config":{"allow":["127.0.0.1"]}}`)
	c.put("/plugins/"+id(6), `{"name":"request-size-limiting","config":{"allowed_payload_size":10}}`)
	c.put("/plugins/"+id(7), `{"name":"prometheus","config":{"status_code_metrics":true,"latency_metrics":true}}`)
	return c
}

func id(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

func (c *clinic) file(path, text string) {
	c.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		c.Fatal(err)
	}
}

func (c *clinic) call(method, path, body string) {
	c.Helper()
	req, err := http.NewRequest(method, c.admin+path, strings.NewReader(body))
	if err != nil {
		c.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		c.Fatal(err)
	}
	defer res.Body.Close()
	if raw, _ := io.ReadAll(res.Body); res.StatusCode >= 300 {
		c.Fatalf("%s %s %s: %d %s", method, path, body, res.StatusCode, raw)
	}
}

func (c *clinic) put(path, body string) { c.Helper(); c.call(http.MethodPut, path, body) }

// examine makes all checks and returns those that are not well, by name.
func (c *clinic) examine(o doctor.Options) map[string]doctor.Verdict {
	c.Helper()
	begin := time.Now()
	bad := map[string]doctor.Verdict{}
	all := doctor.Examine(context.WithoutCancel(c.Context()), o, doctor.Monthly)
	if len(all) < 40 {
		c.Errorf("%d checks were made, want at least 40", len(all))
	}
	for _, v := range all {
		if v.Level != ops.OK {
			bad[v.Check] = v
			if v.Fix == "" {
				c.Errorf("%s is ill and says no remedy: %s", v.Check, v.Text)
			}
		}
	}
	if took := time.Since(begin); took > 30*time.Second {
		c.Errorf("an examination took %v", took)
	}
	return bad
}

// fault is something wrong: how it comes, what must find it, what else it may be found by, and how
// it goes.
type fault struct {
	name    string
	plant   func(*clinic, *doctor.Options)
	found   string
	as      ops.Level
	along   []string
	uproot  func(*clinic)
	traffic func(*clinic) // between the two readings
}

func entity(path, body string) (plant func(*clinic, *doctor.Options), uproot func(*clinic)) {
	return func(c *clinic, _ *doctor.Options) { c.put(path, body) }, func(c *clinic) { c.call(http.MethodDelete, path, "") }
}

func planted(name, found string, as ops.Level, path, body string, along ...string) fault {
	f := fault{name: name, found: found, as: as, along: along}
	f.plant, f.uproot = entity(path, body)
	return f
}

func changed(name, found string, as ops.Level, path, body, back string, along ...string) fault {
	return fault{
		name: name, found: found, as: as, along: along,
		plant:  func(c *clinic, _ *doctor.Options) { c.call(http.MethodPatch, path, body) },
		uproot: func(c *clinic) { c.call(http.MethodPatch, path, back) },
	}
}

func setting(name, found string, as ops.Level, set func(*clinic, *doctor.Options), along ...string) fault {
	return fault{name: name, found: found, as: as, plant: set, along: along}
}

func loud(name, found string, as ops.Level, send func(*clinic), along ...string) fault {
	return fault{name: name, found: found, as: as, traffic: send, along: along}
}

// send makes n requests with header lines.
func (c *clinic) send(n int, path string, header ...string) {
	for range n {
		_, _, _, err := c.o.Stack.Get(context.WithoutCancel(c.Context()), c.o.Stack.Proxy+path, append([]string{"User-Agent", "curl/8"}, header...)...)
		if err != nil {
			c.Errorf("GET %s: %v", path, err)
		}
	}
}

func certificate(t *testing.T, until time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "old.test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]string{
		"cert": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		"key":  string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func low(measure string) func(*clinic, *doctor.Options) {
	return func(_ *clinic, o *doctor.Options) { o.Thresholds[measure] = ops.Threshold{Warning: -2, Critical: -1} }
}

func faults(t *testing.T) []fault {
	dead := "http://127.0.0.1:1"
	return []fault{
		setting("no Admin API", "admin-api", ops.Critical, func(_ *clinic, o *doctor.Options) { o.Stack.Admin = dead }),
		setting("no proxy", "proxy", ops.Critical, func(_ *clinic, o *doctor.Options) { o.Stack.Proxy = dead },
			"key-auth-works", "bot-detection-works"),
		setting("no node", "nodes", ops.Critical, func(_ *clinic, o *doctor.Options) { o.Stack.Status = []string{dead} }),
		setting("slow Admin API", "admin-response-time", ops.Critical, low("admin_response_ms")),
		setting("slow proxy", "proxy-response-time", ops.Critical, low("proxy_response_ms")),
		setting("many connections", "connections", ops.Critical, low("active_connections")),
		setting("little memory", "memory", ops.Critical, low("memory_percent")),
		setting("critical alert", "alert-log", ops.Warning, func(c *clinic, o *doctor.Options) {
			c.file(o.AlertLog, time.Now().Format(time.DateTime)+" [CRITICAL] proxy does not answer\n")
		}),
		setting("no backup", "backup", ops.Critical, func(_ *clinic, o *doctor.Options) { o.Backups = t.TempDir() }, "drill"),
		setting("old backup", "backup", ops.Warning, func(_ *clinic, o *doctor.Options) {
			o.Now = func() time.Time { return time.Now().Add(9 * 24 * time.Hour) }
		}),
		setting("old drill", "drill", ops.Warning, func(_ *clinic, o *doctor.Options) {
			o.Now = func() time.Time { return time.Now().Add(40 * 24 * time.Hour) }
		}, "backup"),
		setting("large logs", "log-size", ops.Warning, func(c *clinic, o *doctor.Options) {
			c.file(filepath.Join(o.Logs, "big.log"), "")
			if err := os.Truncate(filepath.Join(o.Logs, "big.log"), 11<<30); err != nil {
				c.Fatal(err)
			}
		}),
		loud("failing upstream", "errors", ops.Critical, func(c *clinic) { c.send(30, "/api/broken", "apikey", "a-long-enough-key") }),
		loud("keys are tried", "auth-failures", ops.Critical, func(c *clinic) { c.send(30, "/api", "apikey", "guess") }),
		planted("certificate ends", "certificates", ops.Critical, "/certificates/"+id(20), certificate(t, time.Now().Add(2*24*time.Hour))),
		planted("certificate ends soon", "certificates", ops.Warning, "/certificates/"+id(21), certificate(t, time.Now().Add(20*24*time.Hour))),
		changed("anonymous may pass", "key-auth-works", ops.Critical, "/plugins/"+id(2), `{"config":{"anonymous":"ann"}}`, `{"config":{"anonymous":null}}`),
		changed("every bot is allowed", "bot-detection-works", ops.Critical, "/plugins/"+id(4), `{"config":{"allow":["."]}}`, `{"config":{"allow":[]}}`),
		changed("every address is allowed", "ip-ranges", ops.Warning, "/plugins/"+id(5), `{"config":{"allow":["0.0.0.0/0"]}}`, `{"config":{"allow":["127.0.0.1"]}}`),
		changed("huge bodies", "size-limits", ops.Warning, "/plugins/"+id(6), `{"config":{"allowed_payload_size":4096}}`, `{"config":{"allowed_payload_size":10}}`),
		changed("limits fail closed", "rate-limits", ops.Warning, "/plugins/"+id(3),
			`{"config":{"policy":"redis","fault_tolerant":false,"redis":{"host":"127.0.0.1","port":1}}}`, `{"config":{"policy":"local","fault_tolerant":true}}`,
			"redis", "key-auth-works", "bot-detection-works"),
		{
			name: "anybody may pass", found: "unprotected-routes", as: ops.Warning, along: []string{"disabled-plugins"},
			plant: func(c *clinic, _ *doctor.Options) {
				c.call(http.MethodPatch, "/plugins/"+id(2), `{"enabled":false}`)
				c.call(http.MethodPatch, "/plugins/"+id(5), `{"enabled":false}`)
			},
			uproot: func(c *clinic) {
				c.call(http.MethodPatch, "/plugins/"+id(2), `{"enabled":true}`)
				c.call(http.MethodPatch, "/plugins/"+id(5), `{"enabled":true}`)
			},
		},
		changed("nothing is limited", "limited-routes", ops.Warning, "/plugins/"+id(3), `{"enabled":false}`, `{"enabled":true}`, "disabled-plugins", "rate-limits"),
		changed("a plugin is off", "disabled-plugins", ops.Warning, "/plugins/"+id(4), `{"enabled":false}`, `{"enabled":true}`),
		planted("a service is not used", "unused-services", ops.Warning, "/services/idle", `{"host":"idle.test"}`),
		planted("a route leads nowhere", "routes-without-service", ops.Warning, "/routes/nowhere", `{"paths":["/nowhere"]}`),
		planted("a consumer has no key", "idle-consumers", ops.Warning, "/consumers/bob", `{}`),
		planted("a key is short", "short-keys", ops.Warning, "/consumers/ann/key-auth/"+id(30), `{"key":"short"}`),
		planted("a key ends", "keys-that-end", ops.Warning, "/consumers/ann/key-auth/"+id(31), `{"key":"a-key-that-will-end","ttl":86400}`),
		planted("two routes match the same", "duplicate-routes", ops.Warning, "/services/api/routes/again", `{"paths":["/api"]}`),
		changed("an upstream is not verified", "insecure-upstreams", ops.Warning, "/services/api",
			`{"protocol":"https","tls_verify":false}`, `{"protocol":"http","tls_verify":null}`),
	}
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	clean := func(when string) {
		t.Helper()
		for check, v := range c.examine(c.o) {
			t.Errorf("%s: a false alarm: %s is %s: %s", when, check, v.Is, v.Text)
		}
	}
	clean("before anything was planted")
	all := faults(t)
	if len(all) < 25 {
		t.Errorf("%d faults are planted, want at least 25", len(all))
	}
	for _, f := range all {
		o := c.o
		o.Stack = &ops.Stack{Admin: c.o.Stack.Admin, Proxy: c.o.Stack.Proxy, Status: c.o.Stack.Status, Client: c.o.Stack.Client}
		o.Thresholds = ops.Defaults()
		if f.plant != nil {
			f.plant(c, &o)
		}
		stop := func() {}
		if f.traffic != nil {
			stop = c.during(f.traffic)
		}
		bad := c.examine(o)
		stop()
		if v, ok := bad[f.found]; !ok || v.Level != f.as {
			t.Errorf("%s: %s says %q, want %v", f.name, f.found, v.Is+" "+v.Text, f.as)
		}
		delete(bad, f.found)
		for _, a := range f.along {
			delete(bad, a)
		}
		for check, v := range bad {
			t.Errorf("%s: %s is %s as well: %s", f.name, check, v.Is, v.Text)
		}
		if f.uproot != nil {
			f.uproot(c)
		}
		_ = os.Remove(c.o.AlertLog)
		_ = os.Remove(filepath.Join(c.o.Logs, "big.log"))
	}
	clean("after everything was taken out")
}

// during sends traffic until the returned function is called.
func (c *clinic) during(send func(*clinic)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	first := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ctx.Err() == nil; n++ {
			send(c)
			if n == 0 {
				close(first)
			}
		}
	}()
	<-first
	return func() { cancel(); <-done }
}
