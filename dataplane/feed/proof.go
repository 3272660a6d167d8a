package feed

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
)

// Credentials are the node's: TLS 1.3 with its certificate as it is at the time, to a control
// plane that proves itself by an authority the node knows.
func (i *Identity) Credentials() credentials.TransportCredentials {
	return &tracked{TransportCredentials: credentials.NewTLS(i.config(i.judge)), conns: &i.conns}
}

// pinned are the credentials for enrolling: the authority is known by its digest alone.
func (i *Identity) pinned(digest string, v *verdict) credentials.TransportCredentials {
	return credentials.NewTLS(i.config(func(chain []*x509.Certificate) error {
		for _, c := range chain {
			if d := sha256.Sum256(c.Raw); hex.EncodeToString(d[:]) == digest {
				return v.set(i.proven(chain, []*x509.Certificate{c}))
			}
		}
		return v.set(errors.New("the control plane's authority is not that of the join token: the token is of another cluster, " +
			"or something stands between"))
	}))
}

func (i *Identity) config(judge func(chain []*x509.Certificate) error) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// Names of hosts prove nothing here: VerifyConnection asks for the cluster's control plane.
		InsecureSkipVerify: true,
		VerifyConnection:   func(s tls.ConnectionState) error { return judge(s.PeerCertificates) },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			i.mu.RLock()
			defer i.mu.RUnlock()
			if i.certificate == nil {
				return &tls.Certificate{}, nil
			}
			return &tls.Certificate{Certificate: [][]byte{i.certificate.Raw}, PrivateKey: i.key, Leaf: i.certificate}, nil
		},
	}
}

func (i *Identity) judge(chain []*x509.Certificate) error {
	i.mu.RLock()
	authorities := i.authorities
	i.mu.RUnlock()
	return i.proven(chain, authorities)
}

// proven tells whether a chain is a control plane's by one of the authorities.
func (i *Identity) proven(chain, authorities []*x509.Certificate) error {
	if len(chain) == 0 {
		return errors.New("the control plane shows no certificate")
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, c := range authorities {
		roots.AddCert(c)
	}
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	leaf, now := chain[0], i.clock.Now()
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("the control plane's certificate is valid from %s to %s, and the clock here says %s: one of the clocks is wrong",
			leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	case err != nil:
		return errors.New("the control plane's certificate was issued by an authority that this node does not know: " +
			"it is another cluster's, or the authority was replaced while the node was away; remove " + i.dir + " and enrol with a new join token")
	case len(leaf.URIs) != 1 || leaf.URIs[0].Path != "/controlplane":
		return errors.New("the certificate at the other end is not a control plane's")
	}
	return nil
}

// conns are the connections that stand, so that a new certificate can be shown on new ones.
type conns struct {
	mu  sync.Mutex
	all map[net.Conn]struct{}
}

// drop closes the connections; gRPC makes new ones.
func (c *conns) drop() {
	c.mu.Lock()
	all := slices.Collect(maps.Keys(c.all))
	c.mu.Unlock()
	for _, conn := range all {
		_ = conn.Close() // its reader finds out
	}
}

// tracked are credentials whose connections are remembered.
type tracked struct {
	credentials.TransportCredentials
	conns *conns
}

func (t *tracked) Clone() credentials.TransportCredentials {
	return &tracked{TransportCredentials: t.TransportCredentials.Clone(), conns: t.conns}
}

func (t *tracked) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := t.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil {
		return nil, nil, err
	}
	n := &trackedConn{Conn: conn, of: t.conns}
	t.conns.mu.Lock()
	defer t.conns.mu.Unlock()
	if t.conns.all == nil {
		t.conns.all = map[net.Conn]struct{}{}
	}
	t.conns.all[n] = struct{}{}
	return n, info, nil
}

type trackedConn struct {
	net.Conn
	of *conns
}

// Close implements net.Conn.
func (n *trackedConn) Close() error {
	n.of.mu.Lock()
	delete(n.of.all, n)
	n.of.mu.Unlock()
	return n.Conn.Close()
}
