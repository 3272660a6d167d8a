package outbox

import (
	"context"
	"fmt"
	"net"
	"time"
)

// resolveEvery is how long a name's address is used: a server that moves is followed.
const resolveEvery = time.Minute

// Socket sends entries to a server, each in a write of its own: datagrams over "udp". Its owner
// is the queue's loop.
type Socket struct {
	Network string // "udp" or "tcp"
	Addr    string
	Timeout time.Duration
	Now     func() time.Time // nil: time.Now

	conn net.Conn
	made time.Time
}

// Send sends a batch. The socket is made when it is first needed, and anew after a failure.
func (s *Socket) Send(ctx context.Context, batch [][]byte) error {
	if s.conn != nil && s.now().Sub(s.made) >= resolveEvery {
		s.Close()
	}
	if s.conn == nil {
		if err := s.open(ctx); err != nil {
			return fmt.Errorf("find log server: %w", err)
		}
	}
	for _, entry := range batch {
		if err := s.conn.SetWriteDeadline(time.Now().Add(s.Timeout)); err != nil {
			return fmt.Errorf("send log entry: %w", err)
		}
		if _, err := s.conn.Write(entry); err != nil {
			s.Close()
			return fmt.Errorf("send log entry of %d bytes: %w", len(entry), err)
		}
	}
	return nil
}

func (s *Socket) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

func (s *Socket) open(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	var d net.Dialer
	s.conn, err = d.DialContext(ctx, s.Network, s.Addr)
	s.made = s.now()
	return err
}

// Close gives the socket back.
func (s *Socket) Close() {
	if s.conn != nil {
		_ = s.conn.Close() // what was written is not held by it
		s.conn = nil
	}
}

// Milliseconds reads a time in milliseconds; other when nothing is said.
func Milliseconds(n *float64, other float64) time.Duration {
	if n != nil {
		other = *n
	}
	return time.Duration(other * float64(time.Millisecond))
}
