package block

import (
	"context"
	"net/netip"
	"slices"
	"strings"
)

// kinds are what can be blocked.
var kinds = []string{"consumer", "key", "route", "service", "cidr"}

// target finds what an order means, and by what name it is shown.
func (d *Desk) target(ctx context.Context, o Order) (id, name string, err error) {
	switch {
	case !slices.Contains(kinds, o.Kind):
		return "", "", refuse("kind: %q is none of %s", o.Kind, strings.Join(kinds, ", "))
	case o.Target == "":
		return "", "", refuse("target: say which %s", o.Kind)
	case o.Kind == "cidr":
		p, err := addresses(o.Target)
		if err == nil && !o.Force {
			err = spared(p, o.From)
		}
		return p.String(), p.String(), err
	}
	return d.Find(ctx, o.Kind, o.Target)
}

// addresses reads a cidr, or one address.
func addresses(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, refuse("target: %q is no address and no cidr such as 192.0.2.0/24", text)
	}
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

// spared refuses to block this machine, from which probes and the Admin API behind the gateway
// come, and who asks. Blocks never touch the Admin API itself, so a block that was a mistake can
// always be taken back; this is about not making it.
func spared(p netip.Prefix, from string) error {
	for _, a := range []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()} {
		if p.Contains(a) {
			return refuse("target: %s holds loopback, %s, from where this machine's own probes and tools come; force it if you mean it", p, a)
		}
	}
	if a, err := netip.ParseAddr(from); err == nil && p.Contains(a.Unmap()) {
		return refuse("target: %s holds your own address, %s; force it if you mean it", p, a.Unmap())
	}
	return nil
}
