package graph

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

// selfSigned makes a certificate and its key, as PEM.
func selfSigned(t *testing.T, name string, useRSA bool) (cert, key string) {
	t.Helper()
	var signer crypto.Signer
	var err error
	if useRSA {
		signer, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

func certificate(t *testing.T, id string) Change {
	cert, key := selfSigned(t, id, false)
	return put("certificates", id, &entityv1.Certificate{Cert: &cert, Key: &key})
}

func sni(id, name, certificate string) Change {
	return put("snis", id, &entityv1.Sni{Name: &name, Certificate: &certificate})
}

func TestCertificateByServerName(t *testing.T) {
	t.Parallel()
	c := compiler(t)
	g := mustApply(t, c, nil, certificate(t, "exact"), certificate(t, "left"), certificate(t, "right"),
		sni("1", "A.example.com", "exact"), sni("2", "*.example.com", "left"), sni("3", "a.b.*", "right"), sni("4", "lost.com", "missing"))
	check := func(g *Graph, name, want string) {
		t.Helper()
		got := ""
		if cert := g.Certificate(name); cert != nil {
			got = cert.Leaf.Subject.CommonName
		}
		if got != want {
			t.Errorf("Certificate(%q) = %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{
		"a.example.com": "exact", "a.EXAMPLE.com.": "exact", "b.example.com": "left", "b.c.example.com": "", "example.com": "",
		"a.b.org": "right", "a.b.c.org": "", "lost.com": "", "": "", ".": "", "localhost": "",
	} {
		check(g, name, want)
	}
	g = mustApply(t, c, g, sni("9", "*", "right"), gone("snis", "1"))
	check(g, "localhost", "right")
	check(g, "a.example.com", "left")
	g = mustApply(t, c, g, gone("certificates", "left"))
	check(g, "a.example.com", "right")
}

func TestCertificateAlternative(t *testing.T) {
	t.Parallel()
	cert, key := selfSigned(t, "main", true)
	alt, altKey := selfSigned(t, "alt", false)
	g := mustApply(t, compiler(t), nil, sni("1", "a.com", "c"),
		put("certificates", "c", &entityv1.Certificate{Cert: &cert, Key: &key, CertAlt: &alt, KeyAlt: &altKey}))
	if all := g.Certificates("a.com"); len(all) != 2 || all[1].Leaf.Subject.CommonName != "alt" || all[0] != g.Certificate("a.com") {
		t.Errorf("Certificates = %v, want both pairs", all)
	}
}

func TestServiceCertificates(t *testing.T) {
	t.Parallel()
	c := compiler(t)
	ca, _ := selfSigned(t, "ca", false)
	g := mustApply(t, c, nil, route("r", "s", "/"), put("ca_certificates", "ca", &entityv1.CaCertificate{Cert: &ca}),
		put("services", "s", &entityv1.Service{Host: proto.String("h"), Protocol: proto.String("https"), TlsVerify: proto.Bool(true),
			ClientCertificate: proto.String("client"), CaCertificates: []string{"ca"}}))
	spec := match(g, "/").Upstream.Spec
	if spec.ClientCert != nil || spec.RootCAs == nil || !spec.TLSVerify {
		t.Errorf("spec = %+v, want the CA, and no client certificate as there is none yet", spec)
	}
	g = mustApply(t, c, g, certificate(t, "client"))
	if cert := match(g, "/").Upstream.Spec.ClientCert; cert == nil || cert.Leaf.Subject.CommonName != "client" {
		t.Errorf("client certificate = %v after it came", cert)
	}
	if _, err := c.Apply(g, []Change{gone("ca_certificates", "ca")}, 9); err == nil {
		t.Error("a CA certificate that a service needs can be removed")
	}
	g = mustApply(t, c, g, service("s", "pool"), put("upstreams", "u", &entityv1.Upstream{Name: proto.String("pool"), ClientCertificate: proto.String("client")}))
	if match(g, "/").Upstream.Spec.ClientCert == nil {
		t.Error("the client certificate of the upstream is not used")
	}
	g = mustApply(t, c, g, gone("certificates", "client"))
	if match(g, "/").Upstream.Spec.ClientCert != nil {
		t.Error("a removed client certificate is still used")
	}
}
