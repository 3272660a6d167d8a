package tcplog

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

// server takes lines, and may hang up after some.
type server struct {
	net.Listener
	hangUpAfter int // lines of a connection; 0: never

	mu          sync.Mutex
	lines       []string
	connections int
	names       []string // of TLS handshakes
}

func listen(t *testing.T, hangUpAfter int, config *tls.Config) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Listener: l, hangUpAfter: hangUpAfter}
	if config != nil {
		config.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.names = append(s.names, h.ServerName)
			return nil, nil
		}
		s.Listener = tls.NewListener(l, config)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := s.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	return s
}

func (s *server) serve(conn net.Conn) {
	defer conn.Close()
	s.mu.Lock()
	s.connections++
	s.mu.Unlock()
	in := bufio.NewScanner(conn)
	for n := 1; in.Scan(); n++ {
		s.mu.Lock()
		s.lines = append(s.lines, in.Text())
		s.mu.Unlock()
		if n == s.hangUpAfter {
			return
		}
	}
}

func (s *server) seen() (lines []string, connections int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.lines...), s.connections
}

func (s *server) config() *Config {
	addr := s.Listener.Addr().(*net.TCPAddr)
	return &Config{Host: proto.String("127.0.0.1"), Port: proto.Int64(int64(addr.Port))}
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

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out: %s", what)
		}
	}
}

func log(f plugin.LogFilter, target string) { f.OnLog(plugintest.Request{Target: target}.Exchange()) }

func uri(t *testing.T, line string) string {
	t.Helper()
	var e struct{ Request struct{ URI string } }
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		t.Fatalf("line %q: %v", line, err)
	}
	return e.Request.URI
}

func TestLinesOfOneConnection(t *testing.T) {
	t.Parallel()
	s := listen(t, 0, nil)
	f := run(t, s.config(), plugintest.NewHost())
	for _, target := range []string{"/1", "/2", "/3"} {
		log(f, target)
		until(t, target, func() bool { lines, _ := s.seen(); return len(lines) > 0 && uri(t, lines[len(lines)-1]) == target })
	}
	if lines, connections := s.seen(); len(lines) != 3 || connections != 1 {
		t.Errorf("%d lines in %d connections, want 3 in 1", len(lines), connections)
	}
}

// TestServersThatHangUp has each connection end after one line: no line is lost by it.
func TestServersThatHangUp(t *testing.T) {
	t.Parallel()
	s := listen(t, 1, nil)
	l := &line{addr: s.Listener.Addr().String(), timeout: time.Minute, keepalive: time.Hour, now: time.Now}
	defer l.close()
	for i := range 4 {
		if err := l.send(t.Context(), [][]byte{[]byte("x\n")}); err != nil {
			t.Fatal(err)
		}
		until(t, "the line", func() bool { lines, _ := s.seen(); return len(lines) == i+1 })
		// The end of the connection must have come before the next line is written.
		until(t, "the hang-up", l.hungUp)
	}
	if _, connections := s.seen(); connections != 4 {
		t.Errorf("%d connections, want 4", connections)
	}
}

func TestIdleConnectionsAreNotUsed(t *testing.T) {
	t.Parallel()
	s := listen(t, 0, nil)
	clock := plugintest.NewClock(time.Unix(1700000000, 0))
	l := &line{addr: s.Listener.Addr().String(), timeout: time.Minute, keepalive: time.Minute, now: clock.Now}
	defer l.close()
	for i, after := range []time.Duration{0, 59 * time.Second, time.Minute} {
		clock.Advance(after)
		if err := l.send(t.Context(), [][]byte{[]byte("x\n")}); err != nil {
			t.Fatal(err)
		}
		until(t, "the line", func() bool { lines, _ := s.seen(); return len(lines) == i+1 })
	}
	if _, connections := s.seen(); connections != 2 {
		t.Errorf("%d connections, want 2", connections)
	}
}

func TestTLSIsNotVerified(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	s := listen(t, 0, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	c := s.config()
	c.Tls, c.TlsSni = proto.Bool(true), proto.String("logs.test")
	f := run(t, c, plugintest.NewHost())
	log(f, "/secure")
	until(t, "the line", func() bool { lines, _ := s.seen(); return len(lines) == 1 })
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.names) != 1 || s.names[0] != "logs.test" {
		t.Errorf("names of handshakes = %q", s.names)
	}
}

func TestServersThatAreAway(t *testing.T) {
	t.Parallel()
	s := listen(t, 0, nil)
	c := s.config()
	_ = s.Listener.Close()
	h := plugintest.NewHost()
	f := run(t, c, h)
	log(f, "/1")
	until(t, "the loss is told", func() bool { return strings.Contains(h.Logged(), "connect to log server") })
}

func TestWhatIsQueuedIsSentAtTheEnd(t *testing.T) {
	t.Parallel()
	s := listen(t, 0, nil)
	built, err := New(s.config(), plugintest.NewHost())
	if err != nil {
		t.Fatal(err)
	}
	f := built.(*filter)
	for range 100 {
		log(f, "/")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := f.Run(ctx); err != nil {
		t.Fatal(err)
	}
	until(t, "all lines", func() bool { lines, _ := s.seen(); return len(lines) == 100 })
}

func TestCustomFields(t *testing.T) {
	t.Parallel()
	s := listen(t, 0, nil)
	c := s.config()
	c.CustomFieldsByLua = map[string]string{"mine": "return 'x'", "latencies": "return nil"}
	f := run(t, c, plugintest.NewHost())
	log(f, "/")
	until(t, "the line", func() bool { lines, _ := s.seen(); return len(lines) == 1 })
	lines, _ := s.seen()
	var e map[string]any
	if err := json.Unmarshal([]byte(lines[0]), &e); err != nil || e["mine"] != "x" || e["latencies"] != nil {
		t.Errorf("entry %s", lines[0])
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]*Config{
		"config.host":                 {Port: proto.Int64(1)},
		"config.port":                 {Host: proto.String("h")},
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
