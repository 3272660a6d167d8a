package upstream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Resolver finds addresses. *net.Resolver is one; it knows /etc/hosts.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// How long answers are used. The system's resolver does not tell a record's own time to live.
const (
	nameTTL     = 30 * time.Second
	nameStale   = time.Hour // an old answer serves while a new one is sought or refused
	noNameTTL   = 30 * time.Second
	nameFailTTL = time.Second
	nameTimeout = 10 * time.Second
)

// maxNames bounds the cache: configuration names the hosts, so this is far above any use.
const maxNames = 10000

// names caches what names lead to. It is safe for concurrent use.
type names struct {
	resolver Resolver

	mu      sync.Mutex
	entries map[string]*nameEntry
}

type nameEntry struct {
	addrs   []netip.Addr
	err     error
	until   time.Time     // fresh before that
	stale   time.Time     // usable before that
	pending chan struct{} // closed when the look-up under way ends; nil: none
}

func newNames(r Resolver) *names {
	if r == nil {
		r = net.DefaultResolver
	}
	return &names{resolver: r, entries: map[string]*nameEntry{}}
}

// lookup returns the addresses of host: at least one, or an error that is ErrNoName or a
// *ResolveError. It waits only when nothing usable is known.
func (n *names) lookup(ctx func() context.Context, host string, now time.Time) ([]netip.Addr, error) {
	n.mu.Lock()
	e := n.entries[host]
	if e == nil {
		e = n.add(host)
	}
	if now.Before(e.until) {
		addrs, err := e.addrs, e.err
		n.mu.Unlock()
		return addrs, err
	}
	if e.pending == nil {
		e.pending = make(chan struct{})
		// A look-up is for all who wait: it does not end with the one who asked first.
		go n.resolve(host, e, now)
	}
	if e.addrs != nil && now.Before(e.stale) {
		addrs := e.addrs
		n.mu.Unlock()
		return addrs, nil
	}
	pending := e.pending
	n.mu.Unlock()
	wait := ctx()
	select {
	case <-pending:
	case <-wait.Done():
		return nil, &ResolveError{host, wait.Err()}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return e.addrs, e.err
}

// add makes room for a host, under the lock.
func (n *names) add(host string) *nameEntry {
	if len(n.entries) >= maxNames {
		for k, e := range n.entries { // any that nobody waits for
			if e.pending == nil {
				delete(n.entries, k)
				break
			}
		}
	}
	e := &nameEntry{}
	n.entries[host] = e
	return e
}

func (n *names) resolve(host string, e *nameEntry, now time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), nameTimeout)
	defer cancel()
	addrs, err := n.resolver.LookupNetIP(ctx, "ip", host)
	n.mu.Lock()
	defer n.mu.Unlock()
	e.settle(host, addrs, err, now)
	close(e.pending)
	e.pending = nil
}

func (e *nameEntry) settle(host string, addrs []netip.Addr, err error, now time.Time) {
	var dns *net.DNSError
	switch {
	case err == nil && len(addrs) > 0:
		e.addrs, e.err = prefer4(addrs), nil
		e.until, e.stale = now.Add(nameTTL), now.Add(nameStale)
	case err == nil || errors.As(err, &dns) && dns.IsNotFound:
		e.addrs, e.err, e.until = nil, ErrNoName, now.Add(noNameTTL)
	case e.addrs != nil && now.Before(e.stale):
		e.until = now.Add(nameFailTTL)
	default:
		e.addrs, e.err, e.until = nil, &ResolveError{host, err}, now.Add(nameFailTTL)
	}
}

// prefer4 leaves only the IPv4 addresses when there are some, as Kong's default dns_order
// does: it asks for A and not for AAAA.
func prefer4(addrs []netip.Addr) []netip.Addr {
	out := make([]netip.Addr, 0, len(addrs))
	for _, a := range addrs {
		if a = a.Unmap(); a.Is4() && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	if len(out) > 0 {
		return out
	}
	return addrs
}
