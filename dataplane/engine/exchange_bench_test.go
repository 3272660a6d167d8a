package engine

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/graph"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
	"github.com/sekifuda/sekifuda/plugin"
)

// canned is a connection without a network: each read brings the same bytes, left times.
type canned struct {
	net.Conn
	bytes []byte
	left  int
}

func (c *canned) Read(b []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	c.left--
	return copy(b, c.bytes), nil
}

func (c *canned) Write(b []byte) (int, error)      { return len(b), nil }
func (c *canned) Close() error                     { return nil }
func (c *canned) SetReadDeadline(time.Time) error  { return nil }
func (c *canned) SetWriteDeadline(time.Time) error { return nil }
func (c *canned) SetDeadline(time.Time) error      { return nil }
func (c *canned) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8000} }
func (c *canned) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40000} }

// BenchmarkExchange is the work of an exchange without its system calls and its scheduling.
func BenchmarkExchange(b *testing.B) {
	answer := []byte("HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Tue, 24 Nov 2026 15:00:00 GMT\r\n" +
		"Content-Type: application/octet-stream\r\nContent-Length: 1024\r\nConnection: keep-alive\r\n\r\n" + string(make([]byte, 1024)))
	for _, c := range []struct {
		name  string
		chain *graph.Chain
	}{{"plain", nil}, {"filters", steadyChain()}} {
		b.Run(c.name, func(b *testing.B) {
			network := upstream.NewNetwork(upstream.NetworkOptions{Dial: func(context.Context, string, string) (net.Conn, error) {
				return &canned{bytes: answer, left: -1}, nil
			}})
			eng, err := New(Options{Logger: slog.New(slog.DiscardHandler), Network: network})
			if err != nil {
				b.Fatal(err)
			}
			spec := &upstream.Spec{
				ID: "s", Protocol: "http", Host: "127.0.0.1", Port: 9000, Retries: 5,
				ConnectTimeout: time.Minute, ReadTimeout: time.Minute, WriteTimeout: time.Minute,
			}
			eng.Swap(&testGraph{routes: []testRoute{{"/", &graph.Endpoint{
				Route: &plugin.Route{ID: "r"}, Service: &plugin.Service{ID: "s", Host: spec.Host}, Chain: c.chain,
				Upstream: upstream.New(spec, nil), Protocols: graph.HTTP | graph.HTTPS, StripPath: true,
				RequestBuffering: true, ResponseBuffering: true,
			}}}}, 1)
			client := &canned{bytes: []byte(plainRequest), left: b.N}
			b.ReportAllocs()
			b.ResetTimer()
			newConn(eng, client, nil, nil).claimed(netip.AddrPort{}).run()
			if n := eng.Counts().Requests; n != uint64(b.N) {
				b.Fatalf("%d requests were served, want %d", n, b.N)
			}
		})
	}
}
