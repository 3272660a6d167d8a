//lint:file-ignore SA1019 net/http hides the stream; gRPC needs trailers and frames as they come

package upstream

//lint:file-ignore SA1019 net/http has no way yet to serve or dial one connection of ours

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/http2"
)

// DialError is a failure before anything of a request was sent.
type DialError struct{ Err error }

func (e *DialError) Error() string { return e.Err.Error() }

func (e *DialError) Unwrap() error { return e.Err }

var errNoH2 = errors.New("server does not speak http/2")

// transport is HTTP/2 to one peer under one TLS identity. It keeps and bounds its connections
// itself.
type transport struct {
	*http2.Transport
	used time.Time // under the Network's lock
}

// RoundTrip sends a request over HTTP/2: in TLS, or with prior knowledge on a plain connection.
// A *DialError may be tried again at another peer.
func (u *Upstream) RoundTrip(n *Network, peer *Peer, sni string, q *http.Request) (*http.Response, error) {
	k := poolKey{addr: peer.Addr}
	if u.tls != nil {
		k.sni, k.secure, k.tls = sni, true, *u.tls
	}
	return n.transport(u, k).RoundTrip(q)
}

func (n *Network) transport(u *Upstream, k poolKey) *transport {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := n.transports[k]
	if t == nil {
		k.sni = strings.Clone(k.sni)
		t = &transport{Transport: &http2.Transport{
			AllowHTTP:          true,
			DisableCompression: true,
			IdleConnTimeout:    idleTimeout,
			DialTLSContext: func(ctx context.Context, _, _ string, _ *tls.Config) (net.Conn, error) {
				return u.dialH2(ctx, n, k)
			},
		}}
		n.transports[k] = t
	}
	t.used = n.now()
	return t
}

func (u *Upstream) dialH2(ctx context.Context, n *Network, k poolKey) (net.Conn, error) {
	c, cancel := context.WithTimeout(ctx, u.Spec.ConnectTimeout)
	defer cancel()
	raw, err := n.dial(c, "tcp", k.addr.String())
	if err != nil {
		return nil, &DialError{fmt.Errorf("connect to %s: %w", k.addr, err)}
	}
	if !k.secure {
		return raw, nil
	}
	t := tls.Client(raw, u.tlsConfig(k.sni, []string{"h2"}))
	err = t.HandshakeContext(c)
	if err == nil && t.ConnectionState().NegotiatedProtocol != "h2" {
		err = errNoH2
	}
	if err != nil {
		raw.Close()
		return nil, &DialError{fmt.Errorf("connect to %s: %w", k.addr, err)}
	}
	return t, nil
}

// sweepTransports forgets those that nobody has used since before that time. What they still
// carry goes on; idle connections end by their own timeout. It is called under the lock.
func (n *Network) sweepTransports(before time.Time) {
	for k, t := range n.transports {
		if t.used.Before(before) {
			t.CloseIdleConnections()
			delete(n.transports, k)
		}
	}
}
