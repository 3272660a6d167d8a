// Package udplog sends a datagram of JSON for every exchange to a UDP server.
//
// It knows one socket; what a datagram says is package logentry's. Enter at Definition.
package udplog

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/logentry"
)

// Definition is inert; plugin.Load reads its options at start.
var Definition = plugin.Define(New)

const defaultTimeoutMS = 10000

// resolveEvery is how long a name's address is used: a server that moves is followed.
const resolveEvery = time.Minute

// New reads the address. Nothing is resolved.
func New(c *Config, h plugin.Host) (plugin.Filter, error) {
	addr, err := logentry.Address(c.GetHost(), c.GetPort())
	if err != nil {
		return nil, err
	}
	sender, err := logentry.NewSender("udp-log", c.GetCustomFieldsByLua(), 1, h)
	if err != nil {
		return nil, err
	}
	timeout := float64(defaultTimeoutMS)
	if c.Timeout != nil {
		timeout = c.GetTimeout()
	}
	return &filter{sender: sender, socket: socket{
		addr: addr, timeout: time.Duration(timeout * float64(time.Millisecond)), now: time.Now,
	}}, nil
}

type filter struct {
	sender *logentry.Sender
	socket socket
}

var (
	_ plugin.LogFilter = (*filter)(nil)
	_ plugin.Runner    = (*filter)(nil)
)

// OnLog queues the exchange's datagram.
func (f *filter) OnLog(x *plugin.Exchange) { f.sender.Add(x, nil, "") }

// Run sends what is queued until ctx ends, and then what is left.
func (f *filter) Run(ctx context.Context) error {
	defer f.socket.close()
	f.sender.Run(ctx, f.socket.send)
	return nil
}

// socket sends to the server. Its owner is the queue's loop.
type socket struct {
	addr    string
	timeout time.Duration
	now     func() time.Time

	conn net.Conn
	made time.Time
}

func (s *socket) send(ctx context.Context, batch [][]byte) error {
	if s.conn != nil && s.now().Sub(s.made) >= resolveEvery {
		s.close()
	}
	if s.conn == nil {
		if err := s.open(ctx); err != nil {
			return fmt.Errorf("find log server: %w", err)
		}
	}
	for _, entry := range batch {
		if err := s.conn.SetWriteDeadline(time.Now().Add(s.timeout)); err != nil {
			return fmt.Errorf("send log entry: %w", err)
		}
		if _, err := s.conn.Write(entry); err != nil {
			s.close()
			return fmt.Errorf("send log entry of %d bytes: %w", len(entry), err)
		}
	}
	return nil
}

func (s *socket) open(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var d net.Dialer
	s.conn, err = d.DialContext(ctx, "udp", s.addr)
	s.made = s.now()
	return err
}

func (s *socket) close() {
	if s.conn != nil {
		_ = s.conn.Close() // a datagram that was sent is not held by it
		s.conn = nil
	}
}
