package authority

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// Proof is who is at the other end of a connection, by its certificate.
type Proof struct {
	Node        string
	Group       string
	Certificate *x509.Certificate
}

// From returns who speaks on a call's connection; false when the connection proves nothing:
// one within the process, or on loopback where that is allowed. A call that Intercept let
// through is of an admitted node.
func From(ctx context.Context) (node, group string, ok bool) {
	info := infoOf(ctx)
	if info == nil || info.trusted {
		return "", "", false
	}
	p := info.proof.Load()
	if p == nil {
		return "", "", false
	}
	return p.Node, p.Group, true
}

// authInfo is what is known of a connection.
type authInfo struct {
	credentials.TLSInfo
	trusted bool
	line    *line
	proof   atomic.Pointer[Proof] // nil until a call needed it and it was good
}

// AuthType implements credentials.AuthInfo.
func (*authInfo) AuthType() string { return "sekifuda" }

func infoOf(ctx context.Context) *authInfo {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	info, _ := p.AuthInfo.(*authInfo)
	return info
}

// Trusted marks a listener's connections as needing no proof: those within the process, or on
// loopback where that is allowed.
func Trusted(l net.Listener) net.Listener { return trustedListener{l} }

type trustedListener struct{ net.Listener }

type trustedConn struct{ net.Conn }

func (l trustedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return trustedConn{c}, nil
}

// Credentials are the feed server's: TLS 1.3 that asks for a certificate. What is wrong with
// one is not said by the handshake, whose alerts explain nothing, but in the answer to the
// call.
func (a *Authority) Credentials() credentials.TransportCredentials {
	return &transport{TransportCredentials: credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequestClientCert, NextProtos: []string{"h2"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return a.serverCertificate() },
		// A resumed session would be judged by the certificate of long ago.
		SessionTicketsDisabled: true,
	}), authority: a}
}

type transport struct {
	credentials.TransportCredentials
	authority *Authority
}

func (t *transport) Clone() credentials.TransportCredentials {
	return &transport{TransportCredentials: t.TransportCredentials.Clone(), authority: t.authority}
}

func (t *transport) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if _, ok := raw.(trustedConn); ok {
		return raw, &authInfo{trusted: true}, nil
	}
	conn, info, err := t.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	out := &authInfo{TLSInfo: info.(credentials.TLSInfo), line: t.authority.lines.open(conn)}
	return out.line, out, nil
}

// proven reads whose connection it is. A certificate that was not good is looked at again by
// the next call: another replica may have made a new authority just now.
func (a *Authority) proven(info *authInfo) (Proof, error) {
	if p := info.proof.Load(); p != nil {
		return *p, nil
	}
	p, err := a.prove(info.State.PeerCertificates)
	if err != nil {
		return p, err
	}
	a.lines.name(info.line, p.Node)
	info.proof.Store(&p)
	return p, nil
}

// errNoCertificate is the answer to a node that did not enrol.
var errNoCertificate = refuse("no certificate: a node joins with a token (seki token create, seki dataplane --join-token)")

// prove reads whose certificate it is. Whether it has run out is asked at each call.
func (a *Authority) prove(chain []*x509.Certificate) (Proof, error) {
	if len(chain) == 0 {
		return Proof{}, errNoCertificate
	}
	leaf := chain[0]
	if _, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok {
		return Proof{}, errForeign
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: a.current().roots(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, CurrentTime: leaf.NotAfter,
	})
	if err != nil {
		return Proof{}, errForeign
	}
	node, group, err := a.nodeOf(leaf)
	if err != nil {
		return Proof{}, refuse("certificate: %v", err)
	}
	return Proof{Node: node, Group: group, Certificate: leaf}, nil
}

var errForeign = refuse("certificate: was issued by another authority than this cluster's: " +
	"the node is of another cluster, or the authority was replaced; remove its folder identity and enrol it with a new join token")

// admit tells whether a node may be served now. Renewal takes what expired a while ago.
func (a *Authority) admit(p Proof, renewal bool) error {
	if d, ok := a.denial(p.Node); ok {
		return d.refusal(p.Node)
	}
	// A forgotten authority's certificates are worthless on connections that stand, too.
	if _, err := a.prove([]*x509.Certificate{p.Certificate}); err != nil {
		return err
	}
	now, c := a.Now(), p.Certificate
	ago := now.Sub(c.NotAfter).Round(time.Second)
	switch {
	case now.Before(c.NotBefore):
		return refuse("node %s: its certificate is valid from %s, and the clock here says %s: one of the clocks is wrong",
			p.Node, c.NotBefore.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	case ago > Grace:
		return refuse("node %s: its certificate expired %s ago, which is too long to renew it; enrol it with a new join token", p.Node, ago)
	case ago > 0 && !renewal:
		return refuse("node %s: its certificate expired %s ago; it has to be renewed first", p.Node, ago)
	}
	return nil
}

// Intercept lets only admitted nodes call. Enrolling needs no certificate; renewing judges for
// itself.
func (a *Authority) Intercept() []grpc.ServerOption {
	check := func(ctx context.Context, method string) error {
		info := infoOf(ctx)
		switch {
		case method == feedv1.BootstrapService_Enroll_FullMethodName:
			return nil
		case info == nil:
			return refuse("the connection says nothing of who is there")
		case info.trusted:
			return nil // the service itself asks for the cluster's secret, where that matters
		case forReplicas(method):
			return a.admitReplica(info)
		}
		p, err := a.proven(info)
		if err != nil || method == feedv1.BootstrapService_Renew_FullMethodName {
			return err
		}
		return a.admit(p, false)
	}
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if err := check(ctx, info.FullMethod); err != nil {
				return nil, err
			}
			return next(ctx, req)
		}),
		grpc.ChainStreamInterceptor(func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			if err := check(ss.Context(), info.FullMethod); err != nil {
				return err
			}
			return next(srv, ss)
		}),
	}
}

// serverCertificate is this control plane's own, made anew at two thirds of its life and when
// the authority changed.
func (a *Authority) serverCertificate() (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.server != nil && a.Now().Before(a.server.Leaf.NotAfter.Add(-Lifetime/3)) {
		return a.server, nil
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	der, err := a.sign(a.bundle, a.uri(controlPlane), &key.PublicKey, x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	a.server = &tls.Certificate{Certificate: append([][]byte{der}, a.bundle.chain()...), PrivateKey: key, Leaf: leaf}
	return a.server, nil
}
