package upstream

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net/netip"
	"time"
)

// Peer is where one try goes.
type Peer struct {
	Addr netip.AddrPort
	// Host is the name that led there, without port: what Host and SNI say unless the route
	// preserves the client's.
	Host string
	Port int
	// Authority is both, for lines that say it; "" where nobody has written it yet.
	Authority string

	target *address // nil without an upstream entity
}

// Pick is how one exchange chooses among peers. Its memory is kept by Reset.
type Pick struct {
	// Key is what a consistent hash is taken of.
	Key string

	failed []netip.AddrPort
}

// Reset begins another exchange.
func (p *Pick) Reset() { p.Key, p.failed = "", p.failed[:0] }

func (p *Pick) avoids(a netip.AddrPort) bool {
	for _, f := range p.failed {
		if f == a {
			return true
		}
	}
	return false
}

// Next chooses the peer of the next try. It may wait for DNS, no longer than ctx() allows; ctx
// is only called then. The error is ErrNoPeer, ErrNoName or a *ResolveError.
func (u *Upstream) Next(ctx func() context.Context, n *Network, p *Pick, now time.Time) (Peer, error) {
	if u.balancer != nil {
		return u.balancer.next(ctx, n, p, now)
	}
	s := u.Spec
	if u.literal.IsValid() {
		return Peer{Addr: netip.AddrPortFrom(u.literal, uint16(s.Port)), Host: s.Host, Port: s.Port, Authority: u.authority}, nil
	}
	places, err := n.names.lookup(ctx, s.Host, now)
	if err != nil {
		return Peer{}, err
	}
	at := turnOf(places, int(u.turn.Add(1)-1))
	port := cmp.Or(at.Port, uint16(s.Port))
	return Peer{Addr: netip.AddrPortFrom(at.Addr, port), Host: s.Host, Port: int(port)}, nil
}

// turnOf is the place whose turn it is: one after the other, or where there are weights each
// as often as its own says.
func turnOf(places []Place, turn int) *Place {
	sum := 0
	for i := range places {
		sum += places[i].Weight
	}
	if sum == 0 {
		return &places[turn%len(places)]
	}
	at := rand.IntN(sum)
	for i := range places {
		if at -= places[i].Weight; at < 0 {
			return &places[i]
		}
	}
	return &places[0]
}

// Outcome is how a try ended, for the health of its target.
type Outcome uint8

// The outcomes of a try.
const (
	Answered Outcome = iota
	Refused          // no connection, or it broke
	TimedOut
)

// Begin counts the try among those under way at its target.
func (p *Peer) Begin() {
	if p.target != nil {
		p.target.active.Add(1)
	}
}

// Cancel ends what Begin counted without a word on how it went: the client left.
func (p *Peer) Cancel() {
	if p.target != nil {
		p.target.active.Add(-1)
	}
}

// End reports how the try that Begin counted went. status is that of the answer, when there
// was one; took is the time until its head.
func (p *Peer) End(pick *Pick, o Outcome, status int, took time.Duration) {
	if o != Answered {
		pick.failed = append(pick.failed, p.Addr)
	}
	if p.target != nil {
		p.target.active.Add(-1)
		p.target.observe(o, status, took)
	}
}
