package tcplog

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// line is the connection to the server. Its owner is the queue's loop.
type line struct {
	addr      string
	timeout   time.Duration // to connect, and to send
	keepalive time.Duration // that an idle connection is good for
	tls       bool
	name      string // of the TLS handshake
	now       func() time.Time

	conn net.Conn
	used time.Time
}

// send writes a batch. A connection that was kept may have been closed by the server
// meanwhile: then a new one is tried.
func (l *line) send(ctx context.Context, batch [][]byte) error {
	data := bytes.Join(batch, nil)
	if l.conn != nil && l.now().Sub(l.used) >= l.keepalive {
		l.close()
	}
	if l.conn != nil && !l.hungUp() {
		if err := l.write(ctx, data); err == nil {
			return nil
		}
	}
	l.close()
	if err := l.dial(ctx); err != nil {
		return fmt.Errorf("connect to log server: %w", err)
	}
	if err := l.write(ctx, data); err != nil {
		l.close()
		return fmt.Errorf("send log entries: %w", err)
	}
	return nil
}

func (l *line) dial(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", l.addr)
	if err != nil {
		return err
	}
	if l.tls {
		secure := tls.Client(conn, &tls.Config{ServerName: l.name, InsecureSkipVerify: true}) //nolint:gosec // Kong 3.9.1 does not verify either
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close() // the handshake's error tells more
			return err
		}
		conn = secure
	}
	l.conn = conn
	return nil
}

// hungUp looks whether the server has closed a connection that was kept: what is written to
// such a one is lost without an error. It takes a millisecond, once for a batch.
func (l *line) hungUp() bool {
	var b [1]byte
	if err := l.conn.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		return true
	}
	_, err := l.conn.Read(b[:])
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	return err != nil // a byte that the server sent says that it is there
}

func (l *line) write(ctx context.Context, data []byte) error {
	// A deadline in the past wakes a write that waits when the queue's time is over.
	stop := context.AfterFunc(ctx, func() { _ = l.conn.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := l.conn.SetWriteDeadline(time.Now().Add(l.timeout)); err != nil {
		return err
	}
	_, err := l.conn.Write(data)
	l.used = l.now()
	return err
}

func (l *line) close() {
	if l.conn != nil {
		_ = l.conn.Close() // nothing is lost by it that was not before
		l.conn = nil
	}
}
