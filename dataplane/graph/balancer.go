package graph

import (
	"cmp"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/upstream"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

// balancerNode is an upstream entity: the name that services reach through targets.
type balancerNode struct {
	entity   *entityv1.Upstream
	balancer *upstream.Balancer // shared by all services of that host
}

// targetNode is a target entity.
type targetNode struct {
	upstream  string
	createdAt float64
	spec      upstream.TargetSpec
}

func takeBalancer(e *edit, c *Change) {
	old, ok := e.upstreams.Get(c.ID)
	if !ok {
		return
	}
	e.release("upstreams", "name", old.entity.GetName())
	if old.entity.ClientCertificate != nil {
		e.unlink(upstreamsOfCert, *old.entity.ClientCertificate, c.ID)
	}
	e.upstreams.Delete(c.ID)
	e.staleBalancers[c.ID] = true
	e.staleLinked(servicesOfHost, old.entity.GetName())
}

func putBalancer(e *edit, c *Change) {
	m := &entityv1.Upstream{}
	if !e.decode(c, m) {
		return
	}
	if m.GetName() == "" {
		e.refuse(c.Kind, c.ID, "name", "required field missing")
		return
	}
	if !e.claim("upstreams", c.ID, "name", m.GetName()) {
		return
	}
	e.upstreams.Set(c.ID, &balancerNode{entity: m})
	if m.ClientCertificate != nil {
		e.link(upstreamsOfCert, *m.ClientCertificate, c.ID)
	}
	e.staleBalancers[c.ID] = true
	e.staleLinked(servicesOfHost, m.GetName())
}

func takeTarget(e *edit, c *Change) {
	old, ok := e.targets.Get(c.ID)
	if !ok {
		return
	}
	e.unlink(targetsOfUpstream, old.upstream, c.ID)
	e.targets.Delete(c.ID)
	e.staleBalancer(old.upstream)
}

func putTarget(e *edit, c *Change) {
	m := &entityv1.Target{}
	if !e.decode(c, m) {
		return
	}
	host, port, err := splitTarget(m.GetTarget())
	if err != nil {
		e.refuse(c.Kind, c.ID, "target", err.Error())
		return
	}
	e.targets.Set(c.ID, &targetNode{
		upstream:  m.GetUpstream(),
		createdAt: m.GetCreatedAt(),
		spec:      upstream.TargetSpec{ID: c.ID, Host: host, Port: port, Weight: int(or(m.Weight, 100))},
	})
	e.link(targetsOfUpstream, m.GetUpstream(), c.ID)
	e.staleBalancer(m.GetUpstream())
}

// staleBalancer marks an upstream and the services before it. One that is not there is no error:
// targets follow head, while the upstream may not be released yet; and one that comes later
// in the same edit marks them itself.
func (e *edit) staleBalancer(id string) {
	if b, ok := e.upstreams.Get(id); ok {
		e.staleBalancers[id] = true
		e.staleLinked(servicesOfHost, b.entity.GetName())
	}
}

// splitTarget reads "host:port"; the port is 8000 when none is said.
func splitTarget(text string) (string, int, error) {
	if text == "" {
		return "", 0, errors.New("required field missing")
	}
	host, number, err := net.SplitHostPort(text)
	if err != nil {
		return strings.Trim(text, "[]"), 8000, nil
	}
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil || host == "" {
		return "", 0, errors.New("Invalid target ('" + text + "'); not a valid hostname or ip address")
	}
	return host, int(port), nil
}

// resolveBalancers makes stale balancers. What the one before learnt is carried over.
func (e *edit) resolveBalancers() {
	for _, id := range sorted(e.staleBalancers) {
		n, ok := e.upstreams.Get(id)
		if !ok {
			continue
		}
		var before *upstream.Balancer
		if old, ok := e.prev.upstreams.Get(id); ok {
			before = old.balancer
		}
		e.upstreams.Set(id, &balancerNode{n.entity, upstream.NewBalancer(e.balancer(id, n.entity), before)})
	}
}

func (e *edit) balancer(id string, m *entityv1.Upstream) *upstream.BalancerSpec {
	return &upstream.BalancerSpec{
		ID:         id,
		Name:       m.GetName(),
		Algorithm:  or(m.Algorithm, "round-robin"),
		HostHeader: m.GetHostHeader(),
		Slots:      int(or(m.Slots, 10_000)),
		Hash: [2]upstream.HashSpec{
			hashSpec(m.GetHashOn(), m.GetHashOnHeader(), m.GetHashOnCookie(), m.GetHashOnQueryArg(), m.GetHashOnUriCapture()),
			hashSpec(m.GetHashFallback(), m.GetHashFallbackHeader(), m.GetHashOnCookie(), m.GetHashFallbackQueryArg(), m.GetHashFallbackUriCapture()),
		},
		CookiePath: or(m.HashOnCookiePath, "/"),
		Targets:    e.targetsOf(id),
		Health:     healthSpec(m.GetHealthchecks()),
	}
}

func hashSpec(on, header, cookie, queryArg, capture string) upstream.HashSpec {
	s := upstream.HashSpec{On: cmp.Or(on, "none")}
	switch on {
	case "header":
		s.Name = header
	case "cookie":
		s.Name = cookie
	case "query_arg":
		s.Name = queryArg
	case "uri_capture":
		s.Name = capture
	}
	return s
}

// targetsOf returns an upstream's targets in the order in which they were made.
func (e *edit) targetsOf(id string) []upstream.TargetSpec {
	var nodes []*targetNode
	for t := range e.linked(targetsOfUpstream, id) {
		n, _ := e.targets.Get(t)
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, func(a, b *targetNode) int {
		return cmp.Or(cmp.Compare(a.createdAt, b.createdAt), cmp.Compare(a.spec.ID, b.spec.ID))
	})
	specs := make([]upstream.TargetSpec, len(nodes))
	for i, n := range nodes {
		specs[i] = n.spec
	}
	return specs
}

func healthSpec(m *entityv1.Upstream_Healthchecks) upstream.HealthSpec {
	a, p := m.GetActive(), m.GetPassive()
	return upstream.HealthSpec{
		Threshold: m.GetThreshold(),
		Active: upstream.ActiveSpec{
			Type:              cmp.Or(a.GetType(), "http"),
			Path:              cmp.Or(a.GetHttpPath(), "/"),
			Timeout:           seconds(a.GetTimeout(), 1),
			Concurrency:       int(cmp.Or(a.GetConcurrency(), 10)),
			Headers:           stringsOf(a.GetHeaders()),
			VerifyCert:        a == nil || or(a.HttpsVerifyCertificate, true),
			SNI:               a.GetHttpsSni(),
			HealthyInterval:   seconds(a.GetHealthy().GetInterval(), 0),
			UnhealthyInterval: seconds(a.GetUnhealthy().GetInterval(), 0),
			Healthy:           ints(a.GetHealthy().GetHttpStatuses()),
			Unhealthy:         ints(a.GetUnhealthy().GetHttpStatuses()),
			Successes:         int(a.GetHealthy().GetSuccesses()),
			HTTPFailures:      int(a.GetUnhealthy().GetHttpFailures()),
			TCPFailures:       int(a.GetUnhealthy().GetTcpFailures()),
			Timeouts:          int(a.GetUnhealthy().GetTimeouts()),
		},
		Passive: upstream.PassiveSpec{
			Type:         cmp.Or(p.GetType(), "http"),
			Healthy:      ints(p.GetHealthy().GetHttpStatuses()),
			Unhealthy:    ints(p.GetUnhealthy().GetHttpStatuses()),
			Successes:    int(p.GetHealthy().GetSuccesses()),
			HTTPFailures: int(p.GetUnhealthy().GetHttpFailures()),
			TCPFailures:  int(p.GetUnhealthy().GetTcpFailures()),
			Timeouts:     int(p.GetUnhealthy().GetTimeouts()),
		},
	}
}

func seconds(s, byDefault float64) time.Duration {
	return time.Duration(cmp.Or(s, byDefault) * float64(time.Second))
}

func stringsOf(m map[string]*entityv1.Strings) map[string][]string {
	if len(m) == 0 {
		return nil
	}
	out := make(map[string][]string, len(m))
	for name, values := range m {
		out[name] = values.GetValues()
	}
	return out
}

func ints(list []int64) []int {
	out := make([]int, len(list))
	for i, n := range list {
		out[i] = int(n)
	}
	return out
}
