package upstream

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Network is what all upstreams of a gate share and what outlives graphs: idle connections and
// the answers of DNS. It is safe for concurrent use.
type Network struct {
	names *names
	dial  func(ctx context.Context, network, address string) (net.Conn, error)
	now   func() time.Time

	mu         sync.RWMutex
	pools      map[poolKey]*pool
	transports map[poolKey]*transport
}

// NetworkOptions are what may be replaced, mostly for tests. The zero value is the system's.
type NetworkOptions struct {
	Resolver Resolver
	Now      func() time.Time
	Dial     func(ctx context.Context, network, address string) (net.Conn, error)
}

// NewNetwork makes a network. It starts nothing: Run does.
func NewNetwork(o NetworkOptions) *Network {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Dial == nil {
		// nginx sets no keep-alive probes on upstream connections; idle ones are closed by
		// Sweep long before a probe would be due.
		o.Dial = (&net.Dialer{KeepAlive: -1}).DialContext
	}
	return &Network{
		names:      newNames(o.Resolver),
		now:        o.Now,
		pools:      map[poolKey]*pool{},
		transports: map[poolKey]*transport{},
		dial:       o.Dial,
	}
}

// sweepEvery is how often idle connections are looked through.
const sweepEvery = 5 * time.Second

// Run closes connections that were idle for too long, until ctx ends; then it closes all.
func (n *Network) Run(ctx context.Context) error {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			n.Sweep(n.now().Add(-idleTimeout))
		case <-ctx.Done():
			n.Sweep(n.now().Add(time.Hour))
			return nil
		}
	}
}

// Sweep closes the connections that are idle since before that time.
func (n *Network) Sweep(before time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for k, p := range n.pools {
		if p.sweep(before) {
			delete(n.pools, k)
		}
	}
	n.sweepTransports(before)
}

func (n *Network) pool(k poolKey) *pool {
	n.mu.RLock()
	p := n.pools[k]
	n.mu.RUnlock()
	if p != nil {
		return p
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if p = n.pools[k]; p == nil {
		k.sni = strings.Clone(k.sni) // the caller's may be in a buffer that is used again
		p = &pool{key: k}
		n.pools[k] = p
	}
	return p
}

// Connect returns a connection to peer, from the pool or, if fresh says so, new. sni is the name
// for TLS. ctx is only called for a new connection. The caller owns the connection and ends with
// Release or Close.
//
// A kept connection on which the peer closed its end, or said anything since its last answer, is
// not used: what it said would be taken for the answer to another client's request. noticed says
// that all which came before the request did was noticed (socket.Conn's Woken): then that is
// enough to know, and the connection need not be asked.
func (u *Upstream) Connect(ctx func() context.Context, n *Network, peer *Peer, sni string, fresh, noticed bool, now time.Time) (*Conn, error) {
	p := u.poolOf(n, peer.Addr, sni)
	for !fresh {
		c := p.take(now)
		if c == nil {
			break
		}
		if !c.Alive(noticed) {
			c.Close()
			continue
		}
		c.Reused = true
		return c, nil
	}
	return u.dial(ctx, n, p, now)
}

func (u *Upstream) poolOf(n *Network, a netip.AddrPort, sni string) *pool {
	p := u.pool.Load()
	if u.tls == nil && p != nil && p.key.addr == a && !p.dead.Load() {
		return p
	}
	k := poolKey{addr: a}
	if u.tls != nil {
		k.sni, k.secure, k.tls = sni, true, *u.tls
	}
	if p != nil && p.key == k && !p.dead.Load() {
		return p
	}
	p = n.pool(k)
	u.pool.Store(p)
	return p
}
