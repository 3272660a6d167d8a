package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/socket"
)

// Conn is a connection to a peer. It belongs to one exchange at a time.
type Conn struct {
	Reused bool // it has served before, so the peer may have closed it meanwhile

	net   net.Conn
	tcp   socket.Conn // below TLS; nil when there is none
	pool  *pool
	uses  int
	read  Deadline
	write Deadline

	idleSince time.Time
}

// dial makes a new connection within the service's connect timeout, TLS included.
func (u *Upstream) dial(ctx func() context.Context, n *Network, p *pool, now time.Time) (*Conn, error) {
	c, cancel := context.WithTimeout(ctx(), u.Spec.ConnectTimeout)
	defer cancel()
	raw, err := n.dial(c, "tcp", p.key.addr.String())
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", p.key.addr, err)
	}
	raw = socket.Wrap(raw)
	conn := &Conn{net: raw, pool: p}
	conn.tcp, _ = raw.(socket.Conn)
	if u.tls != nil {
		t := tls.Client(raw, u.tlsConfig(p.key.sni, nil))
		if err := t.HandshakeContext(c); err != nil {
			raw.Close()
			return nil, fmt.Errorf("connect to %s: %w", p.key.addr, err)
		}
		conn.net = t
	}
	return conn, nil
}

// tlsConfig is how this service speaks TLS with a server of that name.
func (u *Upstream) tlsConfig(sni string, protocols []string) *tls.Config {
	c := &tls.Config{
		ServerName: sni,
		NextProtos: protocols,
		// Kong verifies only where the service says so; verification is then ours, because
		// its depth can be bounded.
		InsecureSkipVerify: true, //nolint:gosec // Kong 3.9.1's default, tls_verify turns it on
	}
	if u.tls.cert != nil {
		c.Certificates = []tls.Certificate{*u.tls.cert}
	}
	if u.tls.verify {
		c.VerifyConnection = func(s tls.ConnectionState) error { return u.tls.check(s, sni) }
	}
	return c
}

// check verifies a server's chain and name, with at most depth certificates between the
// server's and the root, as OpenSSL counts.
func (t *tlsIdentity) check(s tls.ConnectionState, name string) error {
	o := x509.VerifyOptions{Roots: t.roots, DNSName: name, Intermediates: x509.NewCertPool()}
	for _, c := range s.PeerCertificates[1:] {
		o.Intermediates.AddCert(c)
	}
	chains, err := s.PeerCertificates[0].Verify(o)
	if err != nil {
		return fmt.Errorf("verify certificate: %w", err)
	}
	for _, chain := range chains {
		if len(chain)-2 <= t.depth {
			return nil
		}
	}
	return fmt.Errorf("verify certificate: chain is longer than tls_verify_depth %d", t.depth)
}

// Deadline arms a connection's deadline rarely: it is set a little later than asked, and set
// again only when what is armed would come too early. It is the owner's.
type Deadline struct{ armed time.Time }

// deadlineSlack is by how much a timeout may be late: a sixteenth of it, at most two seconds,
// nothing below two seconds.
func deadlineSlack(timeout time.Duration) time.Duration {
	if timeout < 2*time.Second {
		return 0
	}
	return min(timeout/16, 2*time.Second)
}

// Arm makes set's deadline come between timeout and its slack from now.
func (d *Deadline) Arm(set func(time.Time) error, now time.Time, timeout time.Duration) error {
	slack := deadlineSlack(timeout)
	if left := d.armed.Sub(now); slack > 0 && left >= timeout && left <= timeout+slack {
		return nil
	}
	d.armed = now.Add(timeout + slack)
	return set(d.armed)
}

// Forget makes the next Arm set the deadline whatever was armed.
func (d *Deadline) Forget() { d.armed = time.Time{} }

// Read reads within timeout.
func (c *Conn) Read(b []byte, now time.Time, timeout time.Duration) (int, error) {
	if err := c.read.Arm(c.net.SetReadDeadline, now, timeout); err != nil {
		return 0, err
	}
	return c.net.Read(b)
}

// Write writes all of b within timeout.
func (c *Conn) Write(b []byte, now time.Time, timeout time.Duration) (int, error) {
	if err := c.write.Arm(c.net.SetWriteDeadline, now, timeout); err != nil {
		return 0, err
	}
	return c.net.Write(b)
}

// Abort makes reads and writes under way fail. It may be called from another goroutine; the
// owner must then Close.
func (c *Conn) Abort() { c.net.SetDeadline(time.Unix(1, 0)) }

// Net returns the connection for what is no longer HTTP. Its deadlines are taken off.
func (c *Conn) Net() net.Conn {
	c.net.SetDeadline(time.Time{})
	c.read.Forget()
	c.write.Forget()
	return c.net
}

// Alive reports whether the peer has kept its end open and sent nothing unasked. What was noticed
// of it is enough where noticed says so.
func (c *Conn) Alive(noticed bool) bool {
	return c.tcp == nil || noticed && c.tcp.Quiet() || !c.tcp.Readable()
}

// Release gives the connection back when a whole answer was read from it.
func (c *Conn) Release(now time.Time) {
	if c.uses++; c.uses >= maxUses {
		c.Close()
		return
	}
	c.pool.put(c, now)
}

// Close ends the connection.
func (c *Conn) Close() error { return c.net.Close() }

// IsTimeout reports whether an error is that of a timeout.
func IsTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}
