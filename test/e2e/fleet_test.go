package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

// TestFleetByHand is a fleet as an operator starts it: a token, two nodes, one revoked.
func TestFleetByHand(t *testing.T) {
	t.Parallel()
	up := echo(t)
	cp := stack.Start(t, "controlplane", "--data-dir", t.TempDir(), "--database-url", services.Postgres(t), "--admin-listen", "127.0.0.1:0",
		"--grpc-listen", "127.0.0.1:0", "--console-listen", "off", "--status-listen", "127.0.0.1:0", "--feed-listen", "127.0.0.1:0")
	env := []string{"SEKI_SERVER=" + cp.Addr("admin gRPC")}
	seki := func(line, want string) string {
		t.Helper()
		out, code := stack.Shell(t, env, stack.Binary(t)+" "+line)
		if code != 0 || !strings.Contains(out, want) {
			t.Fatalf("seki %s: exit code %d\n%s\nwant %q", line, code, out, want)
		}
		return out
	}
	file := filepath.Join(t.TempDir(), "token")
	seki("token create --group blue --uses 2 --out "+file, "group blue, 2 uses")
	start := func(id string) *stack.Process {
		a := stack.FreePorts(t, 2)
		n := stack.Start(t, "dataplane", "--control-plane", cp.Addr("feed"), "--join-token-file", file, "--node-id", id,
			"--data-dir", t.TempDir(), "--proxy-listen", a[0], "--proxy-tls-listen", "off", "--status-listen", a[1])
		n.WaitReady()
		return n
	}
	n1, n2 := start("n1"), start("n2")
	for p, want := range map[*stack.Process]string{n1: `"configuration_hash":"`, cp: `"database":{"reachable":true}`} {
		if code, out := call(t, http.MethodGet, p.URLs["status"]+"/status?unit=b", ""); code != 200 || !strings.Contains(out, want) || !strings.Contains(out, `"http_allocated_gc":`) {
			t.Errorf("/status: %d %s, want %s", code, out, want)
		}
	}
	seki("nodes", "blue")
	seki("nodes identities", "n2")
	seki("token list", "used up")
	put(t, cp.URLs["admin"]+"/services/up", `{"url":"`+up.URL+`"}`)
	serve := func(path string, on ...*stack.Process) {
		t.Helper()
		put(t, cp.URLs["admin"]+"/services/up/routes/r", `{"paths":["`+path+`"]}`)
		for _, n := range on {
			stack.Eventually(t, func() error {
				code, out, err := stack.Try(http.MethodGet, n.URLs["proxy"]+path, "")
				if err == nil && code != http.StatusOK {
					err = fmt.Errorf("%s: %d %s", path, code, out)
				}
				return err
			})
		}
	}
	serve("/one", n1, n2)
	seki("nodes revoke n1 --reason stolen", "1 of its connections were cut")
	serve("/two", n2)
	if code, _ := call(t, http.MethodGet, n1.URLs["proxy"]+"/one", ""); code != http.StatusOK {
		t.Errorf("a revoked node stopped serving what it had: %d", code)
	}
	n1.Stop()
	n1.Restart() // its certificate is good; it is the control plane that will not have it
	if code, _ := call(t, http.MethodGet, n1.URLs["proxy"]+"/two", ""); code != http.StatusNotFound {
		t.Errorf("a revoked node was given a change: %d", code)
	}
	stack.Eventually(t, func() error {
		raw, err := os.ReadFile(n1.Log)
		if err == nil && !strings.Contains(string(raw), "node n1: was revoked") {
			err = fmt.Errorf("the node does not say why: %s", raw)
		}
		return err
	})
	seki("nodes allow n1", "may connect again")
	serve("/three", n1, n2)
	seki("keys rotate ca", "true")
	n2.Stop()
	n2.Restart()
	serve("/four", n1, n2)
}

// TestJoinMessages starts nodes that cannot join.
func TestJoinMessages(t *testing.T) {
	t.Parallel()
	digest := strings.Repeat("0", 64)
	for name, c := range map[string]struct{ line, want string }{
		"no token":        {"--control-plane cp.test:8005", "seki token create"},
		"no such file":    {"--control-plane cp.test:8005 --join-token-file /nowhere/token", "--join-token-file"},
		"not a token":     {"--control-plane cp.test:8005 --join-token hello", "expected ID.SECRET.DIGEST"},
		"token and none":  {"--control-plane 127.0.0.1:1 --feed-insecure --join-token a.b." + digest, "no use with --feed-insecure"},
		"insecure abroad": {"--control-plane cp.test:8005 --feed-insecure", "loopback only"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, code := stack.Shell(t, nil, stack.Binary(t)+" dataplane --proxy-listen off --proxy-tls-listen off --status-listen off --data-dir "+t.TempDir()+" "+c.line)
			if code == 0 || !strings.Contains(out, c.want) {
				t.Errorf("exit code %d\n%s\nwant %q", code, out, c.want)
			}
		})
	}
}
