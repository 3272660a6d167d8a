package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
)

// Upstream is the way to one service as a graph holds it. What is learnt at run time about its
// targets (health, load) is carried from the one before it; connections and DNS answers belong
// to the Network, which outlives graphs. It is safe for concurrent use.
type Upstream struct {
	Spec *Spec

	literal   netip.Addr // Host, when it is an address
	authority string     // of that host
	secure    bool
	tls       *tlsIdentity
	balancer  *Balancer // nil without an upstream entity
	turn      atomic.Uint32
	pool      atomic.Pointer[pool] // the last one used: mostly the only one
}

// New makes the way to a service that shares its balancer, if it has one, with no other. prev
// is the one that served the same service before, or nil: what it learnt is kept where it
// still applies. New does no I/O.
func New(spec *Spec, prev *Upstream) *Upstream {
	if spec.Balancer == nil {
		return Join(spec, nil)
	}
	var before *Balancer
	if prev != nil {
		before = prev.balancer
	}
	return Join(spec, NewBalancer(spec.Balancer, before))
}

// Join makes the way to a service whose host is an upstream entity: b is what all services of
// that host share. Without b it is New for a host that is resolved, or is an address.
func Join(spec *Spec, b *Balancer) *Upstream {
	u := &Upstream{Spec: spec, balancer: b}
	if b != nil {
		spec.Balancer = b.spec
	}
	u.literal, _ = parseLiteral(spec.Host)
	u.authority = authority(spec.Host, spec.Port)
	u.secure = spec.Protocol == "https" || spec.Protocol == "grpcs" || spec.Protocol == "tls"
	if u.secure {
		u.tls = newTLSIdentity(spec)
	}
	return u
}

func authority(host string, port int) string { return Bracketed(host) + ":" + strconv.Itoa(port) }

// Bracketed is a host as it stands in URIs and in Host: with brackets around an IPv6 address.
func Bracketed(host string) string {
	if strings.IndexByte(host, ':') >= 0 && host[0] != '[' {
		return "[" + host + "]"
	}
	return host
}

// parseLiteral reads an address as a host field holds it, with or without brackets.
func parseLiteral(host string) (netip.Addr, bool) {
	if n := len(host); n > 2 && host[0] == '[' && host[n-1] == ']' {
		host = host[1 : n-1]
	}
	a, err := netip.ParseAddr(host)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}

// Secure reports whether the way is over TLS.
func (u *Upstream) Secure() bool { return u.secure }

// The reasons why there is nobody to connect to.
var (
	// ErrNoPeer says that an upstream entity has no target that may be used.
	ErrNoPeer = errors.New("failure to get a peer from the ring-balancer")
	// ErrNoName says that the host does not exist or has no address.
	ErrNoName = errors.New("name resolution failed")
)

// ResolveError is any other failure to find an address.
type ResolveError struct {
	Host string
	Err  error
}

func (e *ResolveError) Error() string {
	return fmt.Sprintf("failed the initial dns/balancer resolve for '%s' with: %v", e.Host, e.Err)
}

func (e *ResolveError) Unwrap() error { return e.Err }

// tlsIdentity is what connections over TLS must have in common to be shared. It is compared
// by its fields.
type tlsIdentity struct {
	verify bool
	depth  int
	roots  *x509.CertPool
	cert   *tls.Certificate
}

func newTLSIdentity(s *Spec) *tlsIdentity {
	return &tlsIdentity{verify: s.TLSVerify, depth: s.TLSVerifyDepth, roots: s.RootCAs, cert: s.ClientCert}
}
