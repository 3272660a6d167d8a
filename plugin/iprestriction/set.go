package iprestriction

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"
)

// set is a sorted list of ranges that neither touch nor overlap, so that one binary search
// answers. Addresses of both families are in it: IPv4 sorts before IPv6.
type set []span

type span struct{ first, last netip.Addr }

func compile(entries []string) (set, error) {
	spans := make(set, 0, len(entries))
	for _, e := range entries {
		s, err := parse(e)
		if err != nil {
			return nil, err
		}
		spans = append(spans, s)
	}
	slices.SortFunc(spans, func(a, b span) int { return a.first.Compare(b.first) })
	merged := spans[:0]
	for _, s := range spans {
		if n := len(merged); n > 0 && touches(merged[n-1], s) {
			if merged[n-1].last.Less(s.last) {
				merged[n-1].last = s.last
			}
			continue
		}
		merged = append(merged, s)
	}
	return merged, nil
}

// touches reports whether b, which does not begin before a, begins in a or right behind it.
func touches(a, b span) bool {
	if a.last.BitLen() != b.first.BitLen() {
		return false
	}
	next := a.last.Next()
	return !next.IsValid() || b.first.Compare(next) <= 0
}

func parse(entry string) (span, error) {
	if strings.Contains(entry, "/") {
		p, err := netip.ParsePrefix(entry)
		if err != nil {
			return span{}, fmt.Errorf("invalid ip or cidr range: '%s'", entry)
		}
		return prefixSpan(p), nil
	}
	a, err := netip.ParseAddr(entry)
	if err != nil || a.Zone() != "" {
		return span{}, fmt.Errorf("invalid ip or cidr range: '%s'", entry)
	}
	a = a.Unmap()
	return span{a, a}, nil
}

func prefixSpan(p netip.Prefix) span {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	p = p.Masked()
	last := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(last)*8; bit++ {
		last[bit/8] |= 1 << (7 - bit%8)
	}
	end, _ := netip.AddrFromSlice(last)
	return span{p.Addr(), end}
}

func (s set) empty() bool { return len(s) == 0 }

func (s set) contains(a netip.Addr) bool {
	i := sort.Search(len(s), func(i int) bool { return a.Less(s[i].first) })
	return i > 0 && !s[i-1].last.Less(a)
}
