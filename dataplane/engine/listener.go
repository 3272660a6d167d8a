package engine

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/socket"
)

// tracked is a connection as the engine keeps it: for counting, watching and draining.
type tracked interface {
	// state returns what the connection does and how many requests it has carried.
	state() (phase, uint64)
	// drain closes the connection when it is idle, and has it close after the exchange that
	// is under way.
	drain()
	// kill closes it at once.
	kill()
	// look notices a client that has gone while its answer is being made.
	look(now time.Time)
}

type listening struct{ l net.Listener }

// Serve accepts plain connections (HTTP/1.1, and HTTP/2 with prior knowledge) until Shutdown
// or an error; after Shutdown it returns nil. It closes l.
func (e *Engine) Serve(l net.Listener) error {
	return e.accept(l, func(c net.Conn, claim netip.AddrPort) { e.handle(c, claim, nil) })
}

// ServeTLS accepts TLS connections; the graph chooses the certificate by server name.
func (e *Engine) ServeTLS(l net.Listener) error {
	secure := e.tlsConfig("h2", "http/1.1")
	return e.accept(l, func(c net.Conn, claim netip.AddrPort) { e.handle(c, claim, secure) })
}

// tlsConfig is how the gate speaks TLS with clients.
func (e *Engine) tlsConfig(protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: protocols,
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if c := e.current.Load().Certificate(h.ServerName); c != nil {
				return c, nil
			}
			return e.fallback, nil
		},
	}
}

// accept has serve lead each connection to its end.
func (e *Engine) accept(l net.Listener, serve func(c net.Conn, claim netip.AddrPort)) error {
	defer l.Close()
	_, announced := l.(Announced)
	entry := &listening{l}
	if !e.listen(entry) {
		return nil
	}
	var pause time.Duration
	for {
		c, err := l.Accept()
		if err == nil {
			pause = 0
			e.counts.accepted.Add(1)
			go e.lead(c, announced, serve)
			continue
		}
		if e.isClosing() || e.leaving.Load() {
			return nil
		}
		var temporary net.Error
		if !errors.As(err, &temporary) || errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("accept: %w", err)
		}
		// Out of descriptors: try again a little later, as net/http does.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		time.Sleep(pause)
	}
}

func (e *Engine) listen(l *listening) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closing {
		e.listeners[l] = struct{}{}
	}
	return !e.closing
}

func (e *Engine) isClosing() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closing
}

// add keeps a connection; false: the gate is shutting down.
func (e *Engine) add(t tracked) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing {
		e.counts.refused.Add(1)
		return false
	}
	e.conns[t] = struct{}{}
	return true
}

func (e *Engine) remove(t tracked) {
	_, n := t.state()
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.conns, t)
	e.counts.requests.Add(n)
	if e.closing && len(e.conns) == 0 {
		close(e.empty)
	}
}

// lead hears who a connection is of, where that is announced, and gives it to who serves it: they
// close it.
func (e *Engine) lead(c net.Conn, announced bool, serve func(c net.Conn, claim netip.AddrPort)) {
	var claim netip.AddrPort
	if announced {
		var ok bool
		if claim, ok = e.announced(c); !ok {
			c.Close()
			return
		}
	}
	serve(c, claim)
}

// handle serves one accepted connection that carries HTTP.
func (e *Engine) handle(raw net.Conn, claim netip.AddrPort, secure *tls.Config) {
	raw = socket.Wrap(raw)
	tcp, _ := raw.(socket.Conn)
	if secure == nil {
		newConn(e, raw, tcp, nil).claimed(claim).run()
		return
	}
	defer raw.Close()
	t := tls.Server(raw, secure)
	ctx, cancel := context.WithTimeout(context.Background(), e.opt.HeaderTimeout)
	err := t.HandshakeContext(ctx)
	cancel()
	if err != nil {
		return // the peer has its alert
	}
	state := t.ConnectionState()
	if state.NegotiatedProtocol == "h2" {
		e.h2.serve(t, claim, &state)
		return
	}
	newConn(e, t, tcp, &state).claimed(claim).run()
}

// Run keeps the engine's own watch until ctx ends: over clients that go away while their
// answer is being made, and over idle upstream connections.
func (e *Engine) Run(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- e.opt.Network.Run(ctx) }()
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			e.watch()
		case <-ctx.Done():
			return <-done
		}
	}
}

// Shutdown stops accepting, closes idle connections, and returns when the exchanges under way
// are over. When ctx ends first it closes what is left and returns ctx's error.
func (e *Engine) Shutdown(ctx context.Context) error {
	e.mu.Lock()
	if !e.closing {
		e.closing = true
		for l := range e.listeners {
			l.l.Close()
		}
		if len(e.conns) == 0 {
			close(e.empty)
		}
	}
	for t := range e.conns {
		t.drain()
	}
	e.mu.Unlock()
	e.h2.drain()
	select {
	case <-e.empty:
		return nil
	case <-ctx.Done():
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for t := range e.conns {
		t.kill()
	}
	return ctx.Err()
}

// HandOver stops accepting because another process accepts from the same sockets. A connection
// lives on until an answer has told its client to close it, for grace at most: a client that
// finds its connection closed may have sent a request into it, one that was told has not. Then
// it goes on as Shutdown does.
func (e *Engine) HandOver(ctx context.Context, grace time.Duration) error {
	e.leaving.Store(true)
	e.mu.Lock()
	for l := range e.listeners {
		l.l.Close()
	}
	e.mu.Unlock()
	e.h2.drain()
	over := time.NewTimer(grace)
	defer over.Stop()
	look := time.NewTicker(quiesceEvery)
	defer look.Stop()
	for e.connected() {
		select {
		case <-look.C:
			continue
		case <-over.C:
		case <-ctx.Done():
		}
		break
	}
	return e.Shutdown(ctx)
}

func (e *Engine) connected() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.conns) > 0
}

// selfSigned makes the certificate for names that configuration has none for.
func selfSigned(now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "localhost"},
		DNSNames:     []string{"localhost"},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.AddDate(10, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
