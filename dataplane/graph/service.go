package graph

import (
	"crypto/tls"
	"crypto/x509"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/upstream"
	"github.com/sekifuda/sekifuda/plugin"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

// serviceNode is a service entity with what filters know of it and the way to it.
type serviceNode struct {
	entity   *entityv1.Service
	enabled  bool
	service  *plugin.Service
	upstream *upstream.Upstream
	chain    *Chain // of its routes that have no plugins of their own; nil: not made yet
}

func takeService(e *edit, c *Change) {
	old, ok := e.services.Get(c.ID)
	if !ok {
		return
	}
	e.unlinkService(c.ID, old.entity)
	e.services.Delete(c.ID)
	e.staleServices[c.ID] = true
}

func putService(e *edit, c *Change) {
	m := &entityv1.Service{}
	if !e.decode(c, m) {
		return
	}
	n := &serviceNode{
		entity:  m,
		enabled: or(m.Enabled, true),
		service: &plugin.Service{ID: c.ID, Name: m.GetName(), Host: m.GetHost(), JSON: serviceJSON(m), Tags: m.Tags},
	}
	e.services.Set(c.ID, n)
	e.staleServices[c.ID] = true
	e.linkService(c.ID, m)
}

func (e *edit) linkService(id string, m *entityv1.Service) {
	e.link(servicesOfHost, m.GetHost(), id)
	if m.ClientCertificate != nil {
		e.link(servicesOfCert, *m.ClientCertificate, id)
	}
	for _, ca := range m.CaCertificates {
		e.link(servicesOfAuthority, ca, id)
	}
}

func (e *edit) unlinkService(id string, m *entityv1.Service) {
	e.unlink(servicesOfHost, m.GetHost(), id)
	if m.ClientCertificate != nil {
		e.unlink(servicesOfCert, *m.ClientCertificate, id)
	}
	for _, ca := range m.CaCertificates {
		e.unlink(servicesOfAuthority, ca, id)
	}
}

// staleLinked marks the services that depend on something.
func (e *edit) staleLinked(relation, to string) {
	for id := range e.linked(relation, to) {
		e.staleServices[id] = true
	}
}

// checkServices refuses services that cannot be reached as they say, and marks their routes.
func (e *edit) checkServices() {
	for id := range e.staleServices {
		for route := range e.linked(routesOfService, id) {
			e.staleRoutes[route] = true
		}
		n, ok := e.services.Get(id)
		if !ok {
			continue
		}
		if n.entity.GetHost() == "" {
			e.refuse("services", id, "host", "required field missing")
		}
		if p := or(n.entity.Port, 80); p < 0 || p > 65535 {
			e.refuse("services", id, "port", "value should be between 0 and 65535")
		}
		for _, ca := range n.entity.CaCertificates {
			if _, ok := e.authorities.Get(ca); !ok {
				e.refuse("services", id, "ca_certificates", "ca_certificates/"+ca+" does not exist")
			}
		}
	}
}

// resolveServices makes the ways to stale services.
func (e *edit) resolveServices() {
	for _, id := range sorted(e.staleServices) {
		n, ok := e.services.Get(id)
		if !ok {
			continue
		}
		next := *n
		next.upstream = e.way(id, n.entity)
		e.services.Set(id, &next)
	}
}

func (e *edit) way(id string, m *entityv1.Service) *upstream.Upstream {
	s := &upstream.Spec{
		ID:             id,
		Protocol:       or(m.Protocol, "http"),
		Host:           m.GetHost(),
		Port:           int(or(m.Port, 80)),
		Retries:        int(or(m.Retries, 5)),
		ConnectTimeout: milliseconds(m.ConnectTimeout),
		WriteTimeout:   milliseconds(m.WriteTimeout),
		ReadTimeout:    milliseconds(m.ReadTimeout),
		TLSVerify:      m.GetTlsVerify(),
		TLSVerifyDepth: int(or(m.TlsVerifyDepth, 1)),
		RootCAs:        e.rootCAs(m.CaCertificates),
		ClientCert:     e.clientCert(m.ClientCertificate),
	}
	balancer, ok := e.unique.Get(uniqueKey("upstreams", "name", m.GetHost()))
	if !ok {
		return upstream.Join(s, nil)
	}
	b, _ := e.upstreams.Get(balancer)
	if s.ClientCert == nil {
		s.ClientCert = e.clientCert(b.entity.ClientCertificate)
	}
	return upstream.Join(s, b.balancer)
}

// milliseconds reads a timeout of a service; Kong's default is a minute.
func milliseconds(ms *int64) time.Duration {
	return time.Duration(or(ms, 60_000)) * time.Millisecond
}

// rootCAs returns nil, the system's, for a service that names none.
func (e *edit) rootCAs(ids []string) *x509.CertPool {
	if len(ids) == 0 {
		return nil
	}
	pool := x509.NewCertPool()
	for _, id := range ids {
		if a, ok := e.authorities.Get(id); ok {
			for _, cert := range a.certs {
				pool.AddCert(cert)
			}
		}
	}
	return pool
}

// clientCert may miss the certificate it is asked for: certificates follow head, while the
// service may be of an older revision. The connection is then tried without.
func (e *edit) clientCert(id *string) *tls.Certificate {
	if id == nil {
		return nil
	}
	if n, ok := e.certificates.Get(*id); ok {
		return n.certs[0]
	}
	return nil
}
