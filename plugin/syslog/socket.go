package syslog

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// paths are where syslogs listen: Linux, macOS, the BSDs.
var paths = []string{"/dev/log", "/var/run/syslog", "/var/run/log"}

// timeout bounds one message: a syslog that takes none must not hold the end of the process.
const timeout = 5 * time.Second

var pid = strconv.Itoa(os.Getpid())

// appendHead appends what stands before a message of the local socket: priority, time of the
// machine, Kong's tag.
func appendHead(b []byte, priority int, at time.Time) []byte {
	b = strconv.AppendInt(append(b, '<'), int64(priority), 10)
	b = at.Local().AppendFormat(append(b, '>'), time.Stamp)
	return append(append(append(b, " kong["...), pid...), "]: "...)
}

// socket is the way to the syslog. Its owner is the queue's loop.
type socket struct {
	paths []string
	conn  net.Conn
}

// send sends messages. A syslog that was started anew has a new socket: then that is tried.
func (s *socket) send(ctx context.Context, batch [][]byte) error {
	for _, message := range batch {
		if s.conn != nil && s.write(message) == nil {
			continue
		}
		s.close()
		if err := s.open(ctx); err != nil {
			return fmt.Errorf("find syslog: %w", err)
		}
		if err := s.write(message); err != nil {
			s.close()
			return fmt.Errorf("send to syslog: %w", err)
		}
	}
	return nil
}

func (s *socket) open(ctx context.Context) error {
	var d net.Dialer
	var first error
	for _, path := range s.paths {
		conn, err := d.DialContext(ctx, "unixgram", path)
		if err == nil {
			s.conn = conn
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

func (s *socket) write(message []byte) error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	_, err := s.conn.Write(message)
	return err
}

func (s *socket) close() {
	if s.conn != nil {
		_ = s.conn.Close() // a message that was sent is not held by it
		s.conn = nil
	}
}
