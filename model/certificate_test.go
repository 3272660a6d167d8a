package model_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // the form that Kong shows
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/model/fault"
	"github.com/sekifuda/sekifuda/model/schema"
)

// pair is a certificate and its key, in PEM.
type pair struct {
	cert, key, public string
	der               []byte
}

func newPair(t testing.TB, key crypto.Signer, ca bool, notAfter time.Time) pair {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a.test"},
		NotBefore: time.Unix(0, 0), NotAfter: notAfter, IsCA: ca, BasicConstraintsValid: ca,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pair{cert: toPEM("CERTIFICATE", der), key: toPEM("PRIVATE KEY", private), public: toPEM("PUBLIC KEY", public), der: der}
}

func toPEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func newECDSA(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var farOff = insertTime.AddDate(20, 0, 0)

func refusal(t *testing.T, kind string, body schema.Body) string {
	t.Helper()
	_, err := all.Table(kind).Insert(body, insertTime)
	if err == nil {
		return ""
	}
	if !fault.Is(err, fault.SchemaViolation) {
		t.Fatalf("%v is no schema violation", err)
	}
	return err.Error()
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	ec := newPair(t, newECDSA(t), false, farOff)
	ec2 := newPair(t, newECDSA(t), false, farOff)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	alt := newPair(t, rsaKey, false, farOff)
	pkcs1 := toPEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey))
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	ed := newPair(t, edKey, false, farOff)

	for _, c := range []struct {
		name string
		body schema.Body
		want string
	}{
		{"a pair", schema.Body{"cert": ec.cert, "key": ec.key}, ""},
		{"an Ed25519 pair", schema.Body{"cert": ed.cert, "key": ed.key}, ""},
		{"a PKCS 1 key", schema.Body{"cert": alt.cert, "key": pkcs1}, ""},
		{"two pairs", schema.Body{"cert": ec.cert, "key": ec.key, "cert_alt": alt.cert, "key_alt": alt.key}, ""},
		{"references", schema.Body{"cert": "{vault://env/cert}", "key": "{vault://env/key}"}, ""},
		{"another key", schema.Body{"cert": ec.cert, "key": ec2.key}, "schema violation (certificate does not match key)"},
		{"two of a type", schema.Body{"cert": ec.cert, "key": ec.key, "cert_alt": ec2.cert, "key_alt": ec2.key},
			"schema violation (certificate and alternative certificate need to have different type (e.g. RSA and ECDSA), the provided certificates were both of the same type)"},
		{"alternative without key", schema.Body{"cert": ec.cert, "key": ec.key, "cert_alt": alt.cert},
			"schema violation (all or none of these fields must be set: 'cert_alt', 'key_alt')"},
		{"alternative of another key", schema.Body{"cert": ec.cert, "key": ec.key, "cert_alt": alt.cert, "key_alt": ed.key},
			"schema violation (alternative certificate does not match key)"},
		{"names said twice", schema.Body{"cert": ec.cert, "key": ec.key, "snis": []any{"b", "a", "b"}},
			"schema violation (snis: b is duplicated)"},
		{"no certificate", schema.Body{"cert": "x", "key": ec.key}, "schema violation (cert: invalid certificate: no PEM certificate)"},
		{"no key", schema.Body{"cert": ec.cert, "key": ec.cert}, "schema violation (key: invalid key: no private key but a PEM CERTIFICATE)"},
	} {
		if got := refusal(t, "certificates", c.body); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}

	table := all.Table("certificates")
	m, err := table.Insert(schema.Body{"cert": ec.cert, "key": ec.key, "snis": []any{"b", "a"}}, insertTime)
	if err != nil {
		t.Fatal(err)
	}
	if got := jsonText(table.Render(m, insertTime)["snis"]); got != `["a","b"]` {
		t.Errorf("snis = %s, want them sorted", got)
	}
	m, err = table.Insert(schema.Body{"cert": ec.cert, "key": ec.key}, insertTime)
	if err != nil {
		t.Fatal(err)
	}
	if got := jsonText(table.Render(m, insertTime)["snis"]); got != `[]` {
		t.Errorf("snis of none = %s, want []", got)
	}
}

func TestCACertificates(t *testing.T) {
	t.Parallel()
	key := newECDSA(t)
	ca := newPair(t, key, true, farOff)
	leaf := newPair(t, key, false, farOff)
	old := newPair(t, key, true, insertTime.Add(-time.Second))
	for _, c := range []struct{ name, cert, want string }{
		{"a CA", ca.cert, ""},
		{"a leaf", leaf.cert, `schema violation (certificate does not appear to be a CA because it is missing the "CA" basic constraint)`},
		{"an expired one", old.cert, `schema violation (certificate expired, "Not After" time is in the past)`},
		{"two", ca.cert + ca.cert, "schema violation (please submit only one certificate at a time)"},
	} {
		if got := refusal(t, "ca_certificates", schema.Body{"cert": c.cert}); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	table := all.Table("ca_certificates")
	m, err := table.Insert(schema.Body{"cert": ca.cert, "cert_digest": "of a client"}, insertTime)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(ca.der)
	if keys := table.Keys(m); len(keys) != 1 || keys[0].Value != hex.EncodeToString(sum[:]) {
		t.Errorf("Keys = %v, want the digest %x", keys, sum)
	}
}

func TestKeyMaterial(t *testing.T) {
	t.Parallel()
	key := newECDSA(t)
	one, other := newPair(t, key, false, farOff), newPair(t, newECDSA(t), false, farOff)
	point, err := key.PublicKey.ECDH()
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	xy := point.Bytes()[1:]
	jwk := func(y []byte) string {
		data, _ := json.Marshal(map[string]string{"kid": "1", "kty": "EC", "crv": "P-256", "x": b64(xy[:32]), "y": b64(y)})
		return string(data)
	}
	wrong := append([]byte{xy[32] ^ 1}, xy[33:]...)
	for _, c := range []struct {
		name string
		body schema.Body
		want string
	}{
		{"jwk", schema.Body{"kid": "1", "jwk": jwk(xy[32:])}, ""},
		{"jwk off its curve", schema.Body{"kid": "1", "jwk": jwk(wrong)}, "schema violation (could not load JWK, likely not a valid key)"},
		{"pem", schema.Body{"kid": "1", "pem": schema.Body{"public_key": one.public, "private_key": one.key}}, ""},
		{"pem of two keys", schema.Body{"kid": "1", "pem": schema.Body{"public_key": other.public, "private_key": one.key}},
			"schema violation (pem: public key does not match private key)"},
		{"pem by reference", schema.Body{"kid": "1", "pem": schema.Body{"private_key": "{vault://env/k}"}}, ""},
		{"both", schema.Body{"kid": "1", "jwk": jwk(xy[32:]), "pem": schema.Body{"public_key": one.public}},
			"schema violation (only one or none of these fields must be set: 'jwk', 'pem')"},
	} {
		if got := refusal(t, "keys", c.body); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	owner := schema.Body{"id": someID}
	if got := refusal(t, "jwt_secrets", schema.Body{"consumer": owner, "algorithm": "RS256", "rsa_public_key": one.public}); got != "" {
		t.Errorf("jwt with a public key: %s", got)
	}
}

func TestBasicAuthPasswords(t *testing.T) {
	t.Parallel()
	table := all.Table("basicauth_credentials")
	m := insert(t, table.Kind, `{"username":"u","password":"p","consumer":{"id":"`+someID+`"}}`)
	sum := sha1.Sum([]byte("p" + someID)) //nolint:gosec // see above
	want := hex.EncodeToString(sum[:])
	if got := table.Render(m, insertTime)["password"]; got != want {
		t.Errorf("password = %v, want %s", got, want)
	}
	kept, err := table.Update(m, schema.Body{"tags": []any{"x"}, "consumer": schema.Body{"id": someID}}, updateTime)
	if err != nil || table.Render(kept, updateTime)["password"] != want {
		t.Errorf("a PATCH without a password changed it: %v, %v", kept, err)
	}
	_, err = table.Update(m, schema.Body{"consumer": schema.Body{"id": otherID}}, updateTime)
	if err == nil || !strings.Contains(err.Error(), "all or none of these fields must be set: 'password', 'consumer.id'") {
		t.Errorf("a new owner without a password: %v", err)
	}
}
