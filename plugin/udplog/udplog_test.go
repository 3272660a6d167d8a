package udplog

import (
	"context"
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func listen(t *testing.T) (net.PacketConn, *Config) {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, &Config{Host: proto.String("127.0.0.1"), Port: proto.Int64(int64(c.LocalAddr().(*net.UDPAddr).Port))}
}

func receive(t *testing.T, c net.PacketConn) map[string]any {
	t.Helper()
	b := make([]byte, 1<<16)
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, _, err := c.ReadFrom(b)
	if err != nil {
		t.Fatalf("receive: %v", err)
	}
	var e map[string]any
	if err := json.Unmarshal(b[:n], &e); err != nil {
		t.Fatalf("datagram %q: %v", b[:n], err)
	}
	return e
}

func run(t *testing.T, c *Config, h *plugintest.Host) *filter {
	t.Helper()
	built, err := New(c, h)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	f := built.(*filter)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return f
}

func TestADatagramForEveryExchange(t *testing.T) {
	t.Parallel()
	server, c := listen(t)
	c.CustomFieldsByLua = map[string]string{"mine": "return 'x'"}
	f := run(t, c, plugintest.NewHost())
	for _, target := range []string{"/1", "/2"} {
		f.OnLog(plugintest.Request{Target: target}.Exchange())
		e := receive(t, server)
		if e["request"].(map[string]any)["uri"] != target || e["mine"] != "x" {
			t.Errorf("datagram %v, want one of %s", e, target)
		}
	}
}

// TestWhatIsTooLargeIsLostAlone has an entry that no datagram holds.
func TestWhatIsTooLargeIsLostAlone(t *testing.T) {
	t.Parallel()
	server, c := listen(t)
	h := plugintest.NewHost()
	f := run(t, c, h)
	f.OnLog(plugintest.Request{Lines: []string{"X-Large: " + strings.Repeat("x", 1<<16)}}.Exchange())
	f.OnLog(plugintest.Request{Target: "/next"}.Exchange())
	if e := receive(t, server); e["request"].(map[string]any)["uri"] != "/next" {
		t.Errorf("datagram %v", e)
	}
	if !strings.Contains(h.Logged(), "send log entry of") {
		t.Errorf("log %s", h.Logged())
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]*Config{
		"config.host":                 {Port: proto.Int64(1)},
		"config.port":                 {Host: proto.String("h"), Port: proto.Int64(0)},
		"config.custom_fields_by_lua": {Host: proto.String("h"), Port: proto.Int64(1), CustomFieldsByLua: map[string]string{"a": "io.write(1)"}},
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
