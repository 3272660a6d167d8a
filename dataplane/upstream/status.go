package upstream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Status is how an upstream entity is, as this node sees it.
type Status struct {
	Checked bool // whether anything judges the targets
	Healthy bool // whether enough weight is up for requests to be sent at all
	Targets []TargetStatus
}

// TargetStatus is one target.
type TargetStatus struct {
	TargetSpec
	Record    string // type of the DNS record that led to the addresses, or why none did
	Addresses []AddressStatus
}

// Name is the target as configuration writes it.
func (t *TargetSpec) Name() string {
	return net.JoinHostPort(strings.Trim(t.Host, "[]"), strconv.Itoa(t.Port))
}

// AddressStatus is one address of a target.
type AddressStatus struct {
	Addr   netip.AddrPort
	Weight int
	Up     bool
}

// Spec is what configuration says of the upstream entity.
func (b *Balancer) Spec() *BalancerSpec { return b.spec }

// Status tells how the targets are. It waits for names that were never looked up, no longer
// than ctx allows.
func (b *Balancer) Status(ctx context.Context, n *Network) Status {
	s := b.status(ctx, n)
	for i := range s.Targets {
		t := &s.Targets[i]
		t.Record = n.record(ctx, t.Host, t.Addresses)
	}
	return s
}

func (b *Balancer) status(ctx context.Context, n *Network) Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refresh(func() context.Context { return ctx }, n, n.now())
	s := Status{Checked: b.Checks(), Healthy: b.enough(), Targets: make([]TargetStatus, len(b.spec.Targets))}
	for i, t := range b.spec.Targets {
		s.Targets[i].TargetSpec = t
		for _, a := range b.addrs {
			if a.target == t.ID {
				s.Targets[i].Addresses = append(s.Targets[i].Addresses, AddressStatus{a.key.addr, a.weight, a.health.up()})
			}
		}
	}
	return s
}

// record names the kind of answer that a target's addresses came from.
func (n *Network) record(ctx context.Context, host string, found []AddressStatus) string {
	if len(found) > 0 {
		if found[0].Addr.Addr().Is4() {
			return "A"
		}
		return "AAAA"
	}
	_, err := n.names.lookup(func() context.Context { return ctx }, host, n.now())
	var failed *ResolveError
	switch {
	case errors.Is(err, ErrNoName):
		return "dns server error: 3 name error"
	case errors.As(err, &failed):
		return failed.Err.Error()
	}
	return "unknown"
}

// Checks reports whether anything judges the targets: otherwise all are taken to work, and
// nobody may say otherwise.
func (b *Balancer) Checks() bool {
	return b.spec.Health.Active.counts() || b.spec.Health.Passive.counts()
}

// SetHealth sets the health of a target by hand, as PUT .../healthy does; addr is the zero
// value for all its addresses. It reports whether there is such an address; without checks,
// all targets are taken to work and nothing is set.
func (b *Balancer) SetHealth(ctx context.Context, n *Network, host string, port int, addr netip.AddrPort, up bool) bool {
	if !b.Checks() {
		return false
	}
	found := false
	for _, a := range b.current(ctx, n, n.now()) {
		named := a.key.host == host && int(a.key.addr.Port()) == port
		if addr.IsValid() {
			named = a.key.host == host && a.key.addr == addr
		}
		if named {
			a.health.set(up)
			found = true
		}
	}
	return found
}

func (h *health) set(up bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = !up
	h.successes, h.httpFailures, h.tcpFailures, h.timeouts = 0, 0, 0, 0
}
