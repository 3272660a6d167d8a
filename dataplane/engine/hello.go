package engine

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"time"
)

// errHeard ends a handshake that was only begun to hear whom the client asks for.
var errHeard = errors.New("client hello was heard")

// hear reads the first message of a TLS handshake and returns the name in it, and all that was
// read, for who is to go on with the handshake. Nothing is sent.
func hear(c net.Conn) (name string, read []byte, err error) {
	l := &listener{from: c}
	err = tls.Server(l, &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			name = h.ServerName
			return nil, errHeard
		},
	}).Handshake()
	if errors.Is(err, errHeard) {
		return strings.TrimSuffix(name, "."), l.heard.Bytes(), nil
	}
	return "", nil, err
}

// listener is a connection of which all that is read is kept and to which nothing is written.
type listener struct {
	net.Conn
	from  io.Reader
	heard bytes.Buffer
}

func (l *listener) Read(b []byte) (int, error) {
	n, err := l.from.Read(b)
	l.heard.Write(b[:n])
	return n, err
}

func (l *listener) Write(b []byte) (int, error)      { return len(b), nil }
func (l *listener) Close() error                     { return nil }
func (l *listener) SetWriteDeadline(time.Time) error { return nil }
