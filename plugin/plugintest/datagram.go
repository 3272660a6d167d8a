package plugintest

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// Datagrams is a UDP server on a free port of the loopback.
type Datagrams struct {
	t    testing.TB
	conn net.PacketConn
	Port int64
}

// NewDatagrams opens the server until the test ends.
func NewDatagrams(t testing.TB) *Datagrams {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &Datagrams{t, c, int64(c.LocalAddr().(*net.UDPAddr).Port)}
}

// Next returns the next datagram.
func (d *Datagrams) Next() string {
	d.t.Helper()
	b := make([]byte, 1<<16)
	if err := d.conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		d.t.Fatal(err)
	}
	n, _, err := d.conn.ReadFrom(b)
	if err != nil {
		d.t.Fatalf("receive: %v", err)
	}
	return string(b[:n])
}

// Run runs a filter that has work of its own until the test ends.
func Run(t testing.TB, f plugin.Filter) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.(plugin.Runner).Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// Logged returns a finished exchange of a route, a service and a consumer: 200 from the
// upstream, 100 bytes in, 300 out, and the times of Timed.
func Logged(start time.Time) *plugin.Exchange {
	x := Request{}.Exchange()
	Timed(x, start)
	x.Route = &plugin.Route{ID: "r1", Name: "route"}
	x.Service = &plugin.Service{ID: "s1", Name: "svc.one", Host: "h.test"}
	x.Consumer = &plugin.Consumer{ID: "c-1", Username: "bob", CustomID: "robert"}
	x.Response.Status, x.Response.Source = 200, plugin.FromUpstream
	x.Request.Size, x.Response.Size = 100, 300
	return x
}
