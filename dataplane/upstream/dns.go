package upstream

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Resolver finds what a name leads to. A name that is not there is a *net.DNSError with
// IsNotFound. It is safe for concurrent use.
type Resolver interface {
	Resolve(ctx context.Context, host string) (Answer, error)
}

// Answer is where a name leads, and for how long that may be believed.
type Answer struct {
	Places []Place
	TTL    time.Duration
}

// Place is one server that a name leads to. Port and Weight are of an SRV record, 0 where the
// name has none.
type Place struct {
	Addr   netip.Addr
	Port   uint16
	Weight int
}

// DNS asks name servers, in Kong's order: SRV before A, and AAAA where there is nothing else.
// What it must know of this machine it reads anew for every question: answers are cached.
type DNS struct {
	Servers    []string // addresses with ports; nil: those of ResolvConf
	ResolvConf string   // "": /etc/resolv.conf
	Hosts      string   // "": /etc/hosts
}

var errNotFound = &net.DNSError{Err: "no such host", IsNotFound: true}

func isNotFound(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}

// Resolve implements Resolver.
func (d *DNS) Resolve(ctx context.Context, host string) (Answer, error) {
	if places := readHosts(cmp.Or(d.Hosts, "/etc/hosts"), host); len(places) > 0 {
		return Answer{places, nameTTL}, nil
	}
	conf := readResolvConf(cmp.Or(d.ResolvConf, "/etc/resolv.conf"))
	if d.Servers != nil {
		conf.servers = d.Servers
	}
	for _, name := range conf.names(host) {
		a, err := d.ask(ctx, conf, name)
		if !isNotFound(err) {
			return a, err
		}
	}
	return Answer{}, errNotFound
}

// srvPatience is how long an answer is held back for the sake of an SRV record that may come:
// some servers never answer for types that they do not know.
const srvPatience = time.Second

// ask looks for SRV and A records of one name at once.
func (d *DNS) ask(ctx context.Context, conf *resolvConf, name string) (Answer, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		a   Answer
		err error
	}
	found := make(chan result, 1)
	go func() {
		a, err := conf.services(ctx, name)
		found <- result{a, err}
	}()
	plain, err := conf.addresses(ctx, name)
	patience := time.NewTimer(srvPatience)
	defer patience.Stop()
	select {
	case r := <-found:
		if r.err == nil {
			return r.a, nil
		}
	case <-patience.C:
	case <-ctx.Done():
	}
	return plain, err
}

// addresses asks for A records and, where there are none, for AAAA.
func (c *resolvConf) addresses(ctx context.Context, name string) (Answer, error) {
	a, err := c.places(ctx, name, dnsmessage.TypeA)
	if isNotFound(err) {
		return c.places(ctx, name, dnsmessage.TypeAAAA)
	}
	return a, err
}

func (c *resolvConf) places(ctx context.Context, name string, t dnsmessage.Type) (Answer, error) {
	m, err := c.query(ctx, name, t)
	if err != nil {
		return Answer{}, err
	}
	a := Answer{TTL: ttlOf(m)}
	for i := range m.Answers {
		var addr netip.Addr
		switch r := m.Answers[i].Body.(type) {
		case *dnsmessage.AResource:
			addr = netip.AddrFrom4(r.A)
		case *dnsmessage.AAAAResource:
			addr = netip.AddrFrom16(r.AAAA)
		default:
			continue
		}
		if p := (Place{Addr: addr.Unmap()}); !slices.Contains(a.Places, p) {
			a.Places = append(a.Places, p)
		}
	}
	if len(a.Places) == 0 {
		return Answer{}, errNotFound
	}
	return a, nil
}

// leastWeight stands for an SRV weight of 0, which is to be hit rarely, not never.
const leastWeight = 1

// maxServices bounds the servers of one name, each of which is a question of its own.
const maxServices = 64

// services asks for SRV records and for the addresses of their targets. Only the most
// preferred ones count, as in Kong.
func (c *resolvConf) services(ctx context.Context, name string) (Answer, error) {
	m, err := c.query(ctx, name, dnsmessage.TypeSRV)
	if err != nil {
		return Answer{}, err
	}
	var records []*dnsmessage.SRVResource
	for i := range m.Answers {
		if r, ok := m.Answers[i].Body.(*dnsmessage.SRVResource); ok {
			records = append(records, r)
		}
	}
	slices.SortStableFunc(records, func(a, b *dnsmessage.SRVResource) int { return cmp.Compare(a.Priority, b.Priority) })
	a := Answer{TTL: ttlOf(m)}
	for i, r := range records {
		if r.Priority != records[0].Priority || i == maxServices {
			break
		}
		at, err := c.addresses(ctx, r.Target.String())
		if err != nil {
			continue // the others may still serve
		}
		a.TTL = min(a.TTL, at.TTL)
		for _, p := range at.Places {
			a.Places = append(a.Places, Place{p.Addr, r.Port, max(int(r.Weight), leastWeight)})
		}
	}
	if len(a.Places) == 0 {
		return Answer{}, errNotFound
	}
	return a, nil
}

func ttlOf(m *dnsmessage.Message) time.Duration {
	ttl := ^uint32(0)
	for i := range m.Answers {
		ttl = min(ttl, m.Answers[i].Header.TTL)
	}
	return time.Duration(ttl) * time.Second
}
