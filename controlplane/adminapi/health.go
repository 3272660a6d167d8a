package adminapi

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sekifuda/sekifuda/model/schema"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// Health tells what nodes know of targets, and changes it.
type Health interface {
	// Upstream is how an upstream's targets are, joined over the nodes; nil when none knows it.
	Upstream(ctx context.Context, id string) *feedv1.UpstreamHealth
	// Set sets the health of a target on every node; nil when none knows its upstream. Only
	// Checked of the answer counts.
	Set(ctx context.Context, o *feedv1.HealthOrder) *feedv1.UpstreamHealth
}

// Kong's words for health.
const (
	healthy   = "HEALTHY"
	unhealthy = "UNHEALTHY"
	checksOff = "HEALTHCHECKS_OFF"
	dnsError  = "DNS_ERROR"
)

func (t *targetPaths) health(q *request) error {
	up, err := q.owner(t.upstreams, t.field)
	if err != nil {
		return err
	}
	nodeID := q.Node.Info()["node_id"]
	known := q.Health.Upstream(q.r.Context(), up.ID)
	q.unheard()
	if q.r.URL.Query().Get("balancer_health") == "1" {
		body := map[string]any{"next": nil, "node_id": nodeID}
		if known != nil {
			body["data"] = balancerHealth(up.ID, known)
		}
		q.json(http.StatusOK, body)
		return nil
	}
	page, err := t.page(q, up)
	if err != nil {
		return err
	}
	seen := map[string]*feedv1.TargetHealth{}
	for _, h := range known.GetTargets() {
		seen[h.GetId()] = h
	}
	for _, row := range page.rows {
		id, _ := row["id"].(string)
		row["health"] = checksOff // no node: nobody checks
		if known == nil {
			continue
		}
		row["health"] = dnsError
		if h := seen[id]; h != nil {
			row["health"], row["data"] = healthOf(h, known.GetChecked()), targetData(h, func(a *feedv1.AddressHealth) (string, any) {
				return "health", word(known.GetChecked() && h.GetWeight() > 0, a.GetUp())
			})
		}
	}
	body := page.body(q.path())
	body["node_id"] = nodeID
	q.json(http.StatusOK, body)
	return nil
}

// word is Kong's for one address.
func word(checked, up bool) string {
	switch {
	case !checked:
		return checksOff
	case up:
		return healthy
	}
	return unhealthy
}

// healthOf is a target's: one address that works is enough.
func healthOf(h *feedv1.TargetHealth, checked bool) string {
	if len(h.GetAddresses()) == 0 {
		return dnsError
	}
	up := false
	for _, a := range h.GetAddresses() {
		up = up || a.GetUp()
	}
	return word(checked && h.GetWeight() > 0, up)
}

// targetData is the "data" of a target, or one of the "hosts" of an upstream; last names what
// is told of each address beside where it is.
func targetData(h *feedv1.TargetHealth, last func(*feedv1.AddressHealth) (string, any)) schema.Body {
	var total, available uint32
	list := make([]any, 0, len(h.GetAddresses()))
	for _, a := range h.GetAddresses() {
		total += a.GetWeight()
		if a.GetUp() {
			available += a.GetWeight()
		}
		name, value := last(a)
		list = append(list, schema.Body{"ip": bracketed(a.GetIp()), "port": a.GetPort(), "weight": a.GetWeight(), name: value})
	}
	return schema.Body{
		"host": bracketed(h.GetHost()), "port": h.GetPort(), "dns": h.GetRecord(), "nodeWeight": h.GetWeight(),
		"weight": weights(total, available), "addresses": orObject(list),
	}
}

func weights(total, available uint32) schema.Body {
	return schema.Body{"total": total, "available": available, "unavailable": total - available}
}

// orObject shows an empty list as Kong does here: as {}.
func orObject(list []any) any {
	if len(list) == 0 {
		return schema.Body{}
	}
	return list
}

func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

func balancerHealth(id string, known *feedv1.UpstreamHealth) schema.Body {
	hosts := make([]any, 0, len(known.GetTargets()))
	var total, available uint32
	for _, t := range known.GetTargets() {
		hosts = append(hosts, targetData(t, func(a *feedv1.AddressHealth) (string, any) { return "healthy", a.GetUp() }))
		for _, a := range t.GetAddresses() {
			total += a.GetWeight()
			if a.GetUp() {
				available += a.GetWeight()
			}
		}
	}
	balancer := word(true, known.GetHealthy())
	return schema.Body{
		"id": id, "health": word(known.GetChecked(), known.GetHealthy()), "balancer_health": balancer,
		"details": schema.Body{"healthy": known.GetHealthy(), "weight": weights(total, available), "hosts": orObject(hosts)},
	}
}

// set answers PUT .../targets/{target}/healthy and its like; with an address in the path, only
// that one of the target's is set.
func (t *targetPaths) set(up bool) handler {
	return func(q *request) error {
		under, err := q.owner(t.upstreams, t.field)
		if err != nil {
			return err
		}
		e, err := q.Config.Get(q.r.Context(), t.targets, q.wild[1], under)
		if err != nil {
			return bareNotFound(err)
		}
		host, port, _ := net.SplitHostPort(e.Message.(*entityv1.Target).GetTarget())
		n, _ := strconv.ParseUint(port, 10, 16) // stored targets have one
		o := &feedv1.HealthOrder{UpstreamId: under.ID, Host: host, Port: uint32(n), Healthy: up}
		if len(q.wild) > 2 {
			if o.Address, err = oneAddress(q.wild[2]); err != nil {
				return err
			}
		}
		return q.setHealth(o)
	}
}

func (q *request) setHealth(o *feedv1.HealthOrder) error {
	parent, err := q.Config.Get(q.r.Context(), q.Config.Schema().Table("upstreams"), o.GetUpstreamId(), nil)
	if err != nil {
		return bareNotFound(err)
	}
	name := parent.Message.(*entityv1.Upstream).GetName()
	known := q.Health.Set(q.r.Context(), o)
	q.unheard()
	switch {
	case known == nil:
		return &answered{http.StatusBadRequest, "Upstream " + name + " has no balancer"}
	case !known.GetChecked():
		return &answered{http.StatusBadRequest, "no healthchecker found for " + name}
	}
	q.noContent()
	return nil
}

// oneAddress reads the address in a path, which Kong gives the port 8000 when it has none. A
// name stands for all addresses of the target.
func oneAddress(s string) (string, error) {
	if a, err := netip.ParseAddrPort(s); err == nil {
		return a.String(), nil
	}
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return netip.AddrPortFrom(a, 8000).String(), nil
	}
	if host, _, err := net.SplitHostPort(s); err == nil && host == "" || strings.ContainsAny(s, " /?#") {
		return "", &answered{http.StatusBadRequest, "invalid address '" + s + "'"}
	}
	return "", nil
}
