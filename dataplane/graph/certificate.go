package graph

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"

	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

// certificateNode is a certificate entity: one or two pairs, of different key types.
type certificateNode struct {
	certs []*tls.Certificate
}

// authorityNode is a CA certificate entity.
type authorityNode struct {
	certs []*x509.Certificate
}

// sniNode is an SNI entity.
type sniNode struct {
	name        string // lower case
	certificate string
}

func takeCertificate(e *edit, c *Change) {
	if _, ok := e.certificates.Get(c.ID); !ok {
		return
	}
	e.certificates.Delete(c.ID)
	e.staleCertificate(c.ID)
}

func putCertificate(e *edit, c *Change) {
	m := &entityv1.Certificate{}
	if !e.decode(c, m) {
		return
	}
	n := &certificateNode{}
	pair, err := tls.X509KeyPair([]byte(m.GetCert()), []byte(m.GetKey()))
	if err != nil {
		e.refuse(c.Kind, c.ID, "cert", reason(err))
		return
	}
	n.certs = append(n.certs, &pair)
	if m.CertAlt != nil {
		alt, err := tls.X509KeyPair([]byte(m.GetCertAlt()), []byte(m.GetKeyAlt()))
		if err != nil {
			e.refuse(c.Kind, c.ID, "cert_alt", reason(err))
			return
		}
		n.certs = append(n.certs, &alt)
	}
	e.certificates.Set(c.ID, n)
	e.staleCertificate(c.ID)
}

// reason drops the package's name from the front of an error's text.
func reason(err error) string { return strings.TrimPrefix(err.Error(), "tls: ") }

// staleCertificate marks the services that show a certificate to their upstreams.
func (e *edit) staleCertificate(id string) {
	e.staleLinked(servicesOfCert, id)
	for u := range e.linked(upstreamsOfCert, id) {
		e.staleBalancer(u)
	}
}

func takeAuthority(e *edit, c *Change) {
	if _, ok := e.authorities.Get(c.ID); !ok {
		return
	}
	e.authorities.Delete(c.ID)
	e.staleLinked(servicesOfAuthority, c.ID)
}

func putAuthority(e *edit, c *Change) {
	m := &entityv1.CaCertificate{}
	if !e.decode(c, m) {
		return
	}
	certs, err := parsePEM(m.GetCert())
	if err != nil {
		e.refuse(c.Kind, c.ID, "cert", err.Error())
		return
	}
	e.authorities.Set(c.ID, &authorityNode{certs: certs})
	e.staleLinked(servicesOfAuthority, c.ID)
}

func parsePEM(text string) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("invalid certificate: " + strings.TrimPrefix(err.Error(), "x509: "))
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("invalid certificate: no PEM block of a certificate")
	}
	return certs, nil
}

func takeSNI(e *edit, c *Change) {
	old, ok := e.snis.Get(c.ID)
	if !ok {
		return
	}
	e.snis.Delete(c.ID)
	e.release("snis", "name", old.name)
}

func putSNI(e *edit, c *Change) {
	m := &entityv1.Sni{}
	if !e.decode(c, m) {
		return
	}
	n := &sniNode{name: strings.ToLower(m.GetName()), certificate: m.GetCertificate()}
	if n.name == "" {
		e.refuse(c.Kind, c.ID, "name", "required field missing")
		return
	}
	if e.claim("snis", c.ID, "name", n.name) {
		e.snis.Set(c.ID, n)
	}
}

// Certificate returns the certificate for a server name, or nil for the default one.
func (g *Graph) Certificate(serverName string) *tls.Certificate {
	if all := g.Certificates(serverName); len(all) > 0 {
		return all[0]
	}
	return nil
}

// Certificates returns all pairs for a server name: the certificate and its alternative of
// another key type, if it has one. As in Kong 3.9.1, an exact name goes before "*.x", that
// before "x.*", and each star is one label; "*" itself is the last resort.
func (g *Graph) Certificates(serverName string) []*tls.Certificate {
	if g == nil || g.snis.Len() == 0 {
		return nil
	}
	name := strings.TrimSuffix(strings.ToLower(serverName), ".")
	if c := g.certificateOf(name); c != nil {
		return c.certs
	}
	if dot := strings.IndexByte(name, '.'); dot > 0 {
		if c := g.certificateOf("*" + name[dot:]); c != nil {
			return c.certs
		}
		last := strings.LastIndexByte(name, '.')
		if c := g.certificateOf(name[:last+1] + "*"); c != nil {
			return c.certs
		}
	}
	if c := g.certificateOf("*"); c != nil {
		return c.certs
	}
	return nil
}

func (g *Graph) certificateOf(name string) *certificateNode {
	id, ok := g.unique.Get(uniqueKey("snis", "name", name))
	if !ok {
		return nil
	}
	sni, _ := g.snis.Get(id)
	c, _ := g.certificates.Get(sni.certificate)
	return c
}
