package upstream

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Kong's bounds of the upstream keep-alive pool.
const (
	maxIdle     = 512 // per peer and TLS identity
	idleTimeout = 60 * time.Second
	maxUses     = 10000 // requests over one connection
)

// poolKey is what connections must have in common to stand in for each other.
type poolKey struct {
	addr   netip.AddrPort
	secure bool
	sni    string
	tls    tlsIdentity
}

// pool holds idle connections; the one used last is taken first, so that the others can age.
type pool struct {
	key  poolKey
	dead atomic.Bool // swept away: nobody sweeps it any more

	mu   sync.Mutex
	idle []*Conn
}

func (p *pool) take(now time.Time) *Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := len(p.idle); n > 0; n = len(p.idle) {
		c := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		if now.Sub(c.idleSince) < idleTimeout {
			return c
		}
		c.Close()
	}
	return nil
}

func (p *pool) put(c *Conn, now time.Time) {
	c.idleSince = now
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead.Load() || len(p.idle) == maxIdle {
		c.Close()
		return
	}
	p.idle = append(p.idle, c)
}

// sweep closes what is idle since before that time and reports whether the pool is empty and
// dead now.
func (p *pool) sweep(before time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.idle) && p.idle[n].idleSince.Before(before) {
		p.idle[n].Close()
		n++
	}
	if n > 0 {
		kept := copy(p.idle, p.idle[n:])
		clear(p.idle[kept:])
		p.idle = p.idle[:kept]
	}
	if len(p.idle) == 0 {
		p.dead.Store(true)
	}
	return p.dead.Load()
}
