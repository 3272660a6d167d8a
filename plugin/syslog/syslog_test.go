package syslog

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func listen(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// receive returns the head and the entry of the next message.
func receive(t *testing.T, c *net.UnixConn) (head string, entry map[string]any) {
	t.Helper()
	b := make([]byte, 1<<16)
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, err := c.Read(b)
	if err != nil {
		t.Fatalf("receive: %v", err)
	}
	head, text, ok := strings.Cut(string(b[:n]), ": ")
	if !ok || json.Unmarshal([]byte(text), &entry) != nil {
		t.Fatalf("message %q", b[:n])
	}
	return head, entry
}

func run(t *testing.T, c *Config, path string) (*filter, *plugintest.Host) {
	t.Helper()
	h := plugintest.NewHost()
	built, err := New(c, h)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	f := built.(*filter)
	f.socket.paths = []string{path + ".not-there", path}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return f, h
}

var end = time.Date(2023, 11, 4, 22, 13, 20, 0, time.Local)

func log(f *filter, target string, status int) {
	x := plugintest.Request{Target: target}.Exchange()
	x.Response.Status, x.Times.End = status, end
	f.OnLog(x)
}

func TestSeverities(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	server := listen(t, path)
	f, _ := run(t, &Config{
		LogLevel: proto.String("warning"), SuccessfulSeverity: proto.String("notice"), ClientErrorsSeverity: proto.String("warning"),
		ServerErrorsSeverity: proto.String("crit"), Facility: proto.String("local3"),
	}, path)
	log(f, "/good", 200)
	log(f, "/redirect", 399)
	log(f, "/theirs", 400)
	log(f, "/ours", 500)
	for _, want := range []struct {
		uri      string
		priority int
	}{{"/theirs", 19<<3 | 4}, {"/ours", 19<<3 | 2}} {
		head, entry := receive(t, server)
		if wantHead := fmt.Sprintf("<%d>Nov  4 22:13:20 kong[%d]", want.priority, os.Getpid()); head != wantHead {
			t.Errorf("head %q, want %q", head, wantHead)
		}
		if got := entry["request"].(map[string]any)["uri"]; got != want.uri {
			t.Errorf("entry of %v, want %s", got, want.uri)
		}
	}
}

func TestDefaultsLogEverything(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	server := listen(t, path)
	f, _ := run(t, &Config{CustomFieldsByLua: map[string]string{"mine": "return 1"}}, path)
	for _, status := range []int{200, 404, 503} {
		log(f, "/", status)
		if head, entry := receive(t, server); !strings.HasPrefix(head, "<14>") || entry["mine"] != 1.0 {
			t.Errorf("status %d: %q %v", status, head, entry["mine"])
		}
	}
}

// TestASyslogThatIsStartedAnew has the socket go and come again.
func TestASyslogThatIsStartedAnew(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	server := listen(t, path)
	s := &socket{paths: []string{path}}
	defer s.close()
	send := func() error { return s.send(t.Context(), [][]byte{[]byte("x: {}")}) }
	if err := send(); err != nil {
		t.Fatal(err)
	}
	receive(t, server)
	_ = server.Close()
	_ = os.Remove(path)
	if err := send(); err == nil || !strings.Contains(err.Error(), "find syslog") {
		t.Errorf("without a syslog send = %v", err)
	}
	server = listen(t, path)
	if err := send(); err != nil {
		t.Fatal(err)
	}
	receive(t, server)
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]*Config{
		"config.log_level":            {LogLevel: proto.String("loud")},
		"config.facility":             {Facility: proto.String("local8")},
		"config.custom_fields_by_lua": {CustomFieldsByLua: map[string]string{"a": "io.write(1)"}},
	} {
		if _, err := New(c, plugintest.NewHost()); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("New(%v) = %v, want a complaint of %s", c, err, want)
		}
	}
}

func TestExampleOfTheReadme(t *testing.T) {
	t.Parallel()
	c := &Config{}
	plugintest.Example(t, c)
	if _, err := New(c, plugintest.NewHost()); err != nil {
		t.Errorf("New(%v): %v", c, err)
	}
}
