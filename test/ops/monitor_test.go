package ops

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/ops"
	"github.com/sekifuda/sekifuda/test/stack"
)

// inbox is a mail server that takes one message, or one that never answers.
func inbox(t *testing.T, answers bool) (addr string, mail chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	mail = make(chan string, 8)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			if answers {
				go receive(conn, mail)
			}
		}
	}()
	return l.Addr().String(), mail
}

// receive speaks the server's half of SMTP (RFC 5321).
func receive(conn net.Conn, mail chan<- string) {
	say := func(s string) { fmt.Fprintf(conn, "%s\r\n", s) }
	say("220 mail.test")
	in := bufio.NewScanner(conn)
	for in.Scan() {
		switch word, _, _ := strings.Cut(in.Text(), " "); word {
		case "EHLO":
			say("250 mail.test")
		case "DATA":
			say("354 go on")
			var text strings.Builder
			for in.Scan() && in.Text() != "." {
				text.WriteString(in.Text() + "\n")
			}
			mail <- text.String()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 fine")
		}
	}
}

// TestMonitorTells breaks the proxy's address and mends it: the webhook and the mail say so, once
// each, and a mail server that hangs holds nothing up.
func TestMonitorTells(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	posts := make(chan map[string]any, 16)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body map[string]any
		_ = json.NewDecoder(r.Body).Decode(&body)
		posts <- body
	}))
	defer hook.Close()
	good, mail := inbox(t, true)
	silent, _ := inbox(t, false)
	dir := t.TempDir()
	well := c.o.Stack.Proxy
	m := &ops.Monitor{
		Stack: c.o.Stack, Thresholds: ops.Defaults(), AlertLog: filepath.Join(dir, "alerts.log"), MetricsLog: filepath.Join(dir, "metrics.log"),
		Notifiers: []ops.Notifier{
			ops.Mail{Server: silent, From: "seki@gw.test", To: []string{"ops@gw.test"}},
			ops.Webhook{URL: hook.URL, Client: http.DefaultClient},
			ops.Mail{Server: good, From: "seki@gw.test", To: []string{"ops@gw.test"}},
		},
	}
	ctx := context.WithoutCancel(t.Context())
	if _, all := m.Once(ctx); ops.Worst(all) != ops.OK {
		t.Errorf("a clean installation is %v: %v", ops.Worst(all), all)
	}
	c.o.Stack.Proxy = "http://127.0.0.1:1"
	for range 3 {
		begin := time.Now()
		if _, all := m.Once(ctx); ops.Worst(all) != ops.Critical {
			t.Errorf("without a proxy it is %v", ops.Worst(all))
		}
		if took := time.Since(begin); took > 8*time.Second {
			t.Errorf("a reading took %v while a mail server hung", took)
		}
	}
	c.o.Stack.Proxy = well
	m.Once(ctx)
	for _, want := range []string{"[CRITICAL] proxy does not answer", "[OK] proxy: seen no more"} {
		select {
		case p := <-posts:
			if text, _ := p["text"].(string); !strings.Contains(text, want) {
				t.Errorf("the webhook got %v, want %q", p, want)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("the webhook did not get %q", want)
		}
		select {
		case text := <-mail:
			if !strings.Contains(text, "Subject: "+want) && !strings.Contains(text, want) {
				t.Errorf("the mail is\n%s, want %q", text, want)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("no mail came of %q", want)
		}
	}
	if len(posts) > 0 {
		t.Errorf("the webhook was told twice: %v", <-posts)
	}
	alerts, _ := os.ReadFile(m.AlertLog)
	values, _ := os.ReadFile(m.MetricsLog)
	if n := strings.Count(string(alerts), "[CRITICAL] proxy does not answer: "); n != 3 {
		t.Errorf("the alert log has %d lines of 3 readings:\n%s", n, alerts)
	}
	if n := strings.Count(string(values), " connections_active="); n != 5 || !strings.Contains(string(values), " total_requests=") {
		t.Errorf("the metrics log of 5 readings is\n%s", values)
	}
}

// TestMonitorAsAVerb looks at exit codes and texts as a person does.
func TestMonitorAsAVerb(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	dir := t.TempDir()
	typo, odd := filepath.Join(dir, "typo.yaml"), filepath.Join(dir, "odd.yaml")
	low := filepath.Join(dir, "low.yaml")
	c.file(typo, "active_conections: {warning: 5}\n")
	c.file(odd, "active_connections: {warning: 500}\n")
	c.file(low, "active_connections: {warning: -1}\n")
	env := []string{"SEKI_ADMIN=" + c.admin, "SEKI_PROXY=" + c.o.Stack.Proxy, "SEKI_NODES=" + c.gate.Addr("status"), "SEKI_ALERT_LOG=" + filepath.Join(dir, "a"), "SEKI_METRICS_LOG=off"}
	for _, tt := range []struct {
		line string
		code int
		want string
	}{
		{"doctor --daily", 0, "22 checks: "},
		{"monitor --once", 0, "[OK] database: reachable"},
		{"monitor --once --json", 0, `"level":"OK"`},
		{"monitor --once --thresholds " + low, 1, "(warning: >-1)"},
		{"monitor --once --proxy http://127.0.0.1:1", 2, "[CRITICAL] proxy does not answer: "},
		{"monitor --once --thresholds " + typo, 1, "active_conections: no such measure; there are active_connections"},
		{"monitor --once --thresholds " + odd, 1, "active_connections: warning 500 comes after critical 200"},
		{"monitor --once --thresholds " + dir + "/none", 1, "no such file"},
		{"monitor --once --smtp m.test:25", 1, "--smtp needs --mail-from and --mail-to"},
		{"monitor extra", 2, "seki monitor"},
		{"doctor --monthly --quiet --admin http://127.0.0.1:1", 2, "start it: seki run"},
	} {
		out, code := stack.Shell(t, env, stack.Binary(t)+" "+tt.line)
		if code != tt.code || !strings.Contains(out, tt.want) {
			t.Errorf("seki %s: exit %d, want %d with %q:\n%s", tt.line, code, tt.code, tt.want, out)
		}
	}
}
