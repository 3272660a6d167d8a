package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Probes reports whether the targets are probed: then somebody must run Probe.
func (b *Balancer) Probes() bool { return b.spec.Health.Active.counts() }

// Probe asks the targets how they are, at the intervals of the active checks, until ctx ends.
// It is run once for as long as the balancer serves.
func (b *Balancer) Probe(ctx context.Context, n *Network) error {
	if !b.Probes() {
		return nil
	}
	p := &prober{spec: &b.spec.Health.Active, dial: n.dial}
	due := probeSchedule{}
	t := time.NewTicker(probeTick)
	defer t.Stop()
	for {
		now := n.now()
		p.all(ctx, due.pick(b.current(ctx, n, now), p.spec, now))
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// probeTick is how exactly intervals are kept; Kong's are whole seconds mostly.
const probeTick = 100 * time.Millisecond

// current returns the addresses as of now.
func (b *Balancer) current(ctx context.Context, n *Network, now time.Time) []*address {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refresh(func() context.Context { return ctx }, n, now)
	return slices.Clone(b.addrs)
}

// probeSchedule holds when each address was probed.
type probeSchedule map[*address]time.Time

// pick returns the addresses whose next probe is due and notes it.
func (s probeSchedule) pick(addrs []*address, spec *ActiveSpec, now time.Time) []*address {
	var due []*address
	for a := range s {
		if !slices.Contains(addrs, a) {
			delete(s, a)
		}
	}
	for _, a := range addrs {
		every := spec.HealthyInterval
		if !a.health.up() {
			every = spec.UnhealthyInterval
		}
		if last, ok := s[a]; every > 0 && a.weight > 0 && (!ok || now.Sub(last) >= every) {
			s[a] = now
			due = append(due, a)
		}
	}
	return due
}

type prober struct {
	spec *ActiveSpec
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// all probes at most Concurrency addresses at a time.
func (p *prober) all(ctx context.Context, addrs []*address) {
	var wg sync.WaitGroup
	room := make(chan struct{}, max(p.spec.Concurrency, 1))
	for _, a := range addrs {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			status, err := p.one(ctx, a)
			if ctx.Err() == nil {
				a.health.probed(status, err)
			}
		})
	}
	wg.Wait()
}

// probed counts what a probe saw, by the active rules. status 0 is that of a connection that
// was all that was asked for.
func (h *health) probed(status int, err error) {
	s := &h.spec.Active
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err != nil && IsTimeout(err):
		h.fail(&h.timeouts, s.Timeouts)
	case err != nil:
		h.fail(&h.tcpFailures, s.TCPFailures)
	case status == 0 || slices.Contains(s.Healthy, status):
		h.succeed(s.Successes)
	case slices.Contains(s.Unhealthy, status):
		h.fail(&h.httpFailures, s.HTTPFailures)
	}
}

// one probes an address. gRPC targets are probed by their connection alone.
func (p *prober) one(ctx context.Context, a *address) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.spec.Timeout)
	defer cancel()
	c, err := p.dial(ctx, "tcp", a.key.addr.String())
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if d, ok := ctx.Deadline(); ok {
		c.SetDeadline(d)
	}
	if p.spec.Type == "https" || p.spec.Type == "grpcs" {
		name := orName(p.spec.SNI, a.key.host)
		t := tls.Client(c, &tls.Config{ServerName: name, InsecureSkipVerify: !p.spec.VerifyCert}) //nolint:gosec // as configured
		if err := t.HandshakeContext(ctx); err != nil {
			return 0, err
		}
		c = t
	}
	if p.spec.Type != "http" && p.spec.Type != "https" {
		return 0, nil
	}
	return p.ask(ctx, c, a)
}

func orName(first, second string) string {
	if first != "" {
		return first
	}
	return second
}

var errProbed = errors.New("probe has its one connection")

// ask sends one GET over the connection.
func (p *prober) ask(ctx context.Context, c net.Conn, a *address) (int, error) {
	given := false
	rt := &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		if given {
			return nil, errProbed
		}
		given = true
		return c, nil
	}}
	path := p.spec.Path
	if path == "" {
		path = "/"
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.key.addr.String()+path, nil)
	if err != nil {
		return 0, fmt.Errorf("make probe: %w", err)
	}
	q.Host = net.JoinHostPort(a.key.host, fmt.Sprint(a.key.addr.Port()))
	for name, values := range p.spec.Headers {
		for _, v := range values {
			q.Header.Add(name, v)
		}
	}
	resp, err := rt.RoundTrip(q)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10) // enough for any health page
	return resp.StatusCode, nil
}
