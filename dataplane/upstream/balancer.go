package upstream

import (
	"cmp"
	"context"
	"hash/maphash"
	"math"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// refreshEvery is how often a balancer looks whether its targets' names lead elsewhere; the
// answers themselves come from the Network's cache.
const refreshEvery = time.Second

// Balancer chooses among the targets of one upstream entity, for all services that name it. It
// is safe for concurrent use.
type Balancer struct {
	spec  *BalancerSpec
	named bool // a target is a name

	mu        sync.Mutex
	addrs     []*address
	known     map[addressKey]*address // also those whose name just does not lead there
	refreshed time.Time
	busy      bool // somebody looks up names
}

type addressKey struct {
	host string
	addr netip.AddrPort
}

// address is one IP address of one target, with what was learnt of it.
type address struct {
	key       addressKey
	target    string // id
	authority string // of key
	hash      uint64 // of key.addr
	weight    int
	credit    int // of the smooth weighted round-robin, under the balancer's lock
	active    atomic.Int64
	ewma      atomic.Uint64 // float64 bits: seconds
	health    *health
}

func newAddress(k addressKey, h *health) *address {
	return &address{key: k, authority: authority(k.host, int(k.addr.Port())), hash: mix(maphash.Comparable(hashSeed, k.addr)), health: h}
}

// NewBalancer makes the balancer of an upstream entity. prev is the one of the graph before, or
// nil: what it learnt of addresses is kept where it still applies. It does no I/O.
func NewBalancer(spec *BalancerSpec, prev *Balancer) *Balancer {
	b := &Balancer{spec: spec, known: map[addressKey]*address{}}
	for i := range spec.Targets {
		if _, ok := parseLiteral(spec.Targets[i].Host); !ok {
			b.named = true
		}
	}
	if prev == nil || prev.spec.ID != spec.ID {
		return b
	}
	prev.mu.Lock()
	defer prev.mu.Unlock()
	for k, a := range prev.known {
		n := newAddress(k, a.health.carry(&spec.Health))
		n.weight = a.weight
		n.ewma.Store(a.ewma.Load())
		b.known[k] = n
	}
	return b
}

func (b *Balancer) next(ctx func() context.Context, n *Network, p *Pick, now time.Time) (Peer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refresh(ctx, n, now)
	if !b.enough() {
		return Peer{}, ErrNoPeer
	}
	a := b.choose(p, true)
	if a == nil { // all have failed in this exchange: begin again
		a = b.choose(p, false)
	}
	if a == nil { // the last one went down just now
		return Peer{}, ErrNoPeer
	}
	return Peer{Addr: a.key.addr, Host: a.key.host, Port: int(a.key.addr.Port()), Authority: a.authority, target: a}, nil
}

// enough reports whether as much weight is up as the threshold asks for. It is called under
// the lock.
func (b *Balancer) enough() bool {
	usable, total := 0, 0
	for _, a := range b.addrs {
		total += a.weight
		if a.usable() {
			usable += a.weight
		}
	}
	return usable > 0 && float64(usable)*100/float64(total) > b.spec.Health.Threshold
}

func (a *address) usable() bool { return a.weight > 0 && a.health.up() }

func (b *Balancer) choose(p *Pick, avoid bool) *address {
	switch b.spec.Algorithm {
	case "least-connections":
		return b.best(p, avoid, func(a *address) float64 {
			return float64(a.active.Load()+1) / float64(a.weight)
		})
	case "latency":
		return b.best(p, avoid, func(a *address) float64 {
			// A target that nobody measured yet is tried first.
			return math.Float64frombits(a.ewma.Load()) * float64(a.active.Load()+1) / float64(a.weight)
		})
	case "consistent-hashing":
		if p.Key != "" {
			key := maphash.String(hashSeed, p.Key)
			return b.best(p, avoid, func(a *address) float64 { return distance(key, a) })
		}
	}
	return b.roundRobin(p, avoid)
}

// best returns the usable address with the smallest score, or nil.
func (b *Balancer) best(p *Pick, avoid bool, score func(*address) float64) *address {
	var best *address
	low := math.Inf(1)
	start := rand.IntN(len(b.addrs)) // equals take turns
	for i := range b.addrs {
		a := b.addrs[(start+i)%len(b.addrs)]
		if !a.usable() || avoid && p.avoids(a.key.addr) {
			continue
		}
		if s := score(a); best == nil || s < low {
			best, low = a, s
		}
	}
	return best
}

// hashSeed is one for the process: nodes need not agree on where a key goes, only stay with it.
var hashSeed = maphash.MakeSeed()

// distance is weighted rendezvous hashing: each key has its own order of all targets, so a
// target that comes or goes moves only its own keys.
func distance(key uint64, a *address) float64 {
	u := (float64(mix(key^a.hash)>>11) + 0.5) / (1 << 53)
	return -math.Log(u) / float64(a.weight)
}

// mix spreads the bits of x (the finalizer of SplitMix64): the hash itself must not relate the
// scores of two targets for the same key.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// roundRobin is the smooth weighted kind: heavy targets are spread among the light ones.
func (b *Balancer) roundRobin(p *Pick, avoid bool) *address {
	var best *address
	sum := 0
	for _, a := range b.addrs {
		if !a.usable() || avoid && p.avoids(a.key.addr) {
			continue
		}
		sum += a.weight
		a.credit += a.weight
		if best == nil || a.credit > best.credit {
			best = a
		}
	}
	if best != nil {
		best.credit -= sum
	}
	return best
}

// refresh brings the addresses up to date with the names. It is called under the lock, which it
// gives away while it waits for DNS.
func (b *Balancer) refresh(ctx func() context.Context, n *Network, now time.Time) {
	if b.addrs != nil && (b.busy || !b.named || now.Sub(b.refreshed) < refreshEvery) {
		return
	}
	b.busy = true
	b.mu.Unlock()
	found := make([][]Place, len(b.spec.Targets))
	var wg sync.WaitGroup
	for i := range b.spec.Targets {
		t := &b.spec.Targets[i]
		if a, ok := parseLiteral(t.Host); ok {
			found[i] = []Place{{Addr: a}}
			continue
		}
		wg.Go(func() { found[i], _ = n.names.lookup(ctx, t.Host, now) })
	}
	wg.Wait()
	b.mu.Lock()
	b.busy, b.refreshed = false, now
	b.install(found)
}

func (b *Balancer) install(found [][]Place) {
	addrs := make([]*address, 0, len(b.addrs)+1)
	seen := make(map[addressKey]*address, len(b.known))
	for i := range b.spec.Targets {
		t := &b.spec.Targets[i]
		for _, p := range found[i] {
			k := addressKey{t.Host, netip.AddrPortFrom(p.Addr, cmp.Or(p.Port, uint16(t.Port)))}
			a := b.known[k]
			if a == nil {
				a = newAddress(k, newHealth(&b.spec.Health))
			}
			a.target, a.weight = t.ID, t.Weight
			if p.Weight > 0 && t.Weight > 0 { // a target of weight 0 takes nothing, whatever its name says
				a.weight = p.Weight
			}
			if seen[k] == nil {
				addrs = append(addrs, a)
			}
			seen[k] = a
		}
	}
	b.addrs, b.known = addrs, seen
}
