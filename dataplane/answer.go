package dataplane

import (
	"context"
	"net/netip"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/telemetry"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// answerAtMost bounds how long an answer to the control plane waits for DNS. It is shorter
// than the desk waits for nodes.
const answerAtMost = 800 * time.Millisecond

// scrapeAtMost bounds how long a scrape waits for names that were never looked up.
const scrapeAtMost = 50 * time.Millisecond

// answer tells the control plane what only this node knows.
func (d *DataPlane) answer(ctx context.Context, q *feedv1.Question) *feedv1.Answer {
	ctx, cancel := context.WithTimeout(ctx, answerAtMost)
	defer cancel()
	switch ask := q.GetAsk().(type) {
	case *feedv1.Question_TargetsOf:
		if b := d.served.Load().Balancer(ask.TargetsOf); b != nil {
			return &feedv1.Answer{Known: true, Health: upstreamHealth(b.Status(ctx, d.network))}
		}
	case *feedv1.Question_SetHealth:
		return d.setHealth(ctx, ask.SetHealth)
	case *feedv1.Question_Cache:
		if d.Cache != nil {
			return cached(d.Cache, ask.Cache)
		}
	case *feedv1.Question_Limits:
		return d.limitUse(ctx, ask.Limits)
	case *feedv1.Question_Refusals:
		return d.refused(ask.Refusals)
	case *feedv1.Question_LogLevel:
		return &feedv1.Answer{Known: d.SetLogLevel != nil && d.SetLogLevel(ask.LogLevel.GetLevel(), ask.LogLevel.GetFor().AsDuration()) == nil}
	}
	return &feedv1.Answer{}
}

// Cache is what this node keeps of answers, for who administers it.
type Cache interface {
	Cached(key string) []byte // in Kong's JSON; nil: nothing
	Purge(key string) bool
	Flush()
}

func cached(c Cache, o *feedv1.CacheOrder) *feedv1.Answer {
	switch o.GetWhat() {
	case feedv1.CacheOrder_WHAT_LOOK:
		raw := c.Cached(o.GetKey())
		return &feedv1.Answer{Known: raw != nil, Cached: raw}
	case feedv1.CacheOrder_WHAT_PURGE:
		return &feedv1.Answer{Known: c.Purge(o.GetKey())}
	case feedv1.CacheOrder_WHAT_FLUSH:
		c.Flush()
		return &feedv1.Answer{Known: true}
	}
	return &feedv1.Answer{}
}

func (d *DataPlane) setHealth(ctx context.Context, o *feedv1.HealthOrder) *feedv1.Answer {
	b := d.served.Load().Balancer(o.GetUpstreamId())
	if b == nil {
		return &feedv1.Answer{}
	}
	var addr netip.AddrPort // the zero value: all addresses
	if o.GetAddress() != "" {
		var err error
		if addr, err = netip.ParseAddrPort(o.GetAddress()); err != nil {
			return &feedv1.Answer{} // the desk sends none such
		}
	}
	b.SetHealth(ctx, d.network, o.GetHost(), int(o.GetPort()), addr, o.GetHealthy())
	return &feedv1.Answer{Known: true, Health: &feedv1.UpstreamHealth{Checked: b.Checks()}}
}

func upstreamHealth(s upstream.Status) *feedv1.UpstreamHealth {
	h := &feedv1.UpstreamHealth{Checked: s.Checked, Healthy: s.Healthy}
	for _, t := range s.Targets {
		th := &feedv1.TargetHealth{Id: t.ID, Host: t.Host, Port: uint32(t.Port), Weight: uint32(t.Weight), Record: t.Record}
		for _, a := range t.Addresses {
			th.Addresses = append(th.Addresses, &feedv1.AddressHealth{
				Ip: a.Addr.Addr().String(), Port: uint32(a.Addr.Port()), Weight: uint32(a.Weight), Up: a.Up,
			})
		}
		h.Targets = append(h.Targets, th)
	}
	return h
}

// targets introduces the health of all upstreams to the metrics.
func (d *DataPlane) targets() (all []telemetry.Target) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeAtMost)
	defer cancel()
	for b := range d.served.Load().Balancers() {
		s := b.Status(ctx, d.network)
		for _, t := range s.Targets {
			row := telemetry.Target{Upstream: b.Spec().Name, Target: t.Name()}
			for _, a := range t.Addresses {
				row.Address, row.State = a.Addr.String(), state(s.Checked && t.Weight > 0, a.Up)
				all = append(all, row)
			}
			if len(t.Addresses) == 0 {
				row.State = "dns_error"
				all = append(all, row)
			}
		}
	}
	return all
}

func state(checked, up bool) string {
	switch {
	case !checked:
		return "healthchecks_off"
	case up:
		return "healthy"
	}
	return "unhealthy"
}

// reachable reports whether the source of configuration answers: what was given, or else the
// stream from the control plane.
func (d *DataPlane) reachable() bool {
	if d.Reachable != nil {
		return d.Reachable()
	}
	return d.following.connected()
}

// state introduces how the node stands to the metrics.
func (d *DataPlane) state() telemetry.State {
	at := d.following.status()
	s := telemetry.State{
		Staged: at.Running.Staged, Live: at.Running.Live, Connected: at.Connected, Refusing: at.Refusal != nil, OnDisk: at.OnDisk,
	}
	if d.Identity != nil {
		s.Certificate = d.Identity.Expires()
	}
	return s
}
