package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/test/stack"
)

// testCA signs certificates and writes them as files.
type testCA struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
	n    int64
}

func newCA(t *testing.T, name string) *testCA {
	t.Helper()
	ca := &testCA{t: t, dir: t.TempDir()}
	ca.key = ca.newKey()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, ca.key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	ca.file = filepath.Join(ca.dir, "ca.pem")
	ca.pem(ca.file, "CERTIFICATE", der)
	return ca
}

func (ca *testCA) newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		ca.t.Fatal(err)
	}
	return key
}

func (ca *testCA) pem(path, kind string, der []byte) {
	ca.t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		ca.t.Fatal(err)
	}
}

// issue writes a certificate and its key, over those of the same name.
func (ca *testCA) issue(name string, until time.Duration) (cert, key string) {
	ca.t.Helper()
	ca.n++
	k := ca.newKey()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(100 + ca.n), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(until), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, ca.cert, k.Public(), ca.key)
	if err != nil {
		ca.t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		ca.t.Fatal(err)
	}
	cert, key = filepath.Join(ca.dir, name+".pem"), filepath.Join(ca.dir, name+".key")
	ca.pem(key, "PRIVATE KEY", raw)
	ca.pem(cert, "CERTIFICATE", der)
	return cert, key
}

// client trusts the authority, and shows a certificate if it has one.
func (ca *testCA) client(cert, key string) *http.Client {
	ca.t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	c := &tls.Config{RootCAs: pool}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			ca.t.Fatal(err)
		}
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	tr := &http.Transport{TLSClientConfig: c, DisableKeepAlives: true}
	ca.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// TestAdminTLS guards REST and gRPC by TLS: who is known by a token, who by a certificate, and a
// certificate and a file of tokens that are replaced while the process runs.
func TestAdminTLS(t *testing.T) {
	t.Parallel()
	ca, foreign := newCA(t, "ours"), newCA(t, "theirs")
	cert, key := ca.issue("server", time.Hour)
	tokens := filepath.Join(t.TempDir(), "tokens")
	const viewer, editor = "token-of-the-viewer-01", "token-of-the-editor-01"
	writeFile(t, tokens, "vera viewer "+viewer+"\nops.test admin cert:ops.test\n")
	if err := os.Chmod(tokens, 0o600); err != nil {
		t.Fatal(err)
	}
	a := stack.FreePorts(t, 2)
	p := stack.Start(t, "controlplane", "--data-dir", t.TempDir(), "--admin-listen", a[0], "--grpc-listen", a[1], "--console-listen", "off",
		"--status-listen", "off", "--feed-listen", "off", "--admin-token-file", tokens, "--admin-tls-cert", cert, "--admin-tls-key", key, "--admin-client-ca", ca.file)
	if !strings.HasPrefix(p.URLs["admin"], "https://") {
		t.Fatalf("the Admin API is said to be at %s", p.URLs["admin"])
	}
	do := func(c *http.Client, method, path, token string) (int, string, *tls.ConnectionState) {
		t.Helper()
		req, err := http.NewRequest(method, p.URLs["admin"]+path, strings.NewReader(`{"host":"h.test"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := c.Do(req)
		if err != nil {
			return 0, err.Error(), nil
		}
		defer res.Body.Close()
		raw, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(raw), res.TLS
	}
	opsCert, opsKey := ca.issue("ops.test", time.Hour)
	guestCert, guestKey := ca.issue("guest.test", time.Hour)
	oldCert, oldKey := ca.issue("old.test", -time.Minute)
	evilCert, evilKey := foreign.issue("ops.test", time.Hour)
	plain, ops := ca.client("", ""), ca.client(opsCert, opsKey)
	for _, c := range []struct {
		name          string
		client        *http.Client
		method, token string
		want          int
		has           string
	}{
		{"a certificate", ops, "PUT", "", 200, ""},
		{"a token", plain, "GET", viewer, 200, ""},
		{"a token that may not", plain, "PUT", viewer, 403, "vera may not do this"},
		{"nothing", plain, "GET", "", 401, "Unauthorized"},
		{"a token wins over a certificate", ops, "PUT", viewer, 403, "vera"},
		{"a certificate of nobody", ca.client(guestCert, guestKey), "GET", "", 401, ""},
		{"an expired certificate", ca.client(oldCert, oldKey), "GET", "", 0, "expired"},
		{"a certificate of another authority", ca.client(evilCert, evilKey), "GET", "", 0, "certificate"},
		{"who trusts another authority", foreign.client("", ""), "GET", viewer, 0, "unknown authority"},
	} {
		if code, out, _ := do(c.client, c.method, "/services/a", c.token); code != c.want || !strings.Contains(out, c.has) {
			t.Errorf("%s: %d %s, want %d %s", c.name, code, out, c.want, c.has)
		}
	}
	if res, err := http.Get(strings.Replace(p.URLs["admin"], "https:", "http:", 1) + "/"); err == nil {
		res.Body.Close()
		if res.StatusCode != http.StatusBadRequest {
			t.Errorf("without TLS: %d", res.StatusCode)
		}
	}
	seki := func(line, want string, code int, env ...string) {
		t.Helper()
		out, got := stack.Shell(t, append(env, "SEKI_SERVER="+p.Addr("admin gRPC"), "SEKI_ADMIN="+p.URLs["admin"]), stack.Binary(t)+" "+line)
		if got != code || !strings.Contains(out, want) {
			t.Errorf("seki %s: exit code %d\n%s\nwant %d %q", line, got, out, code, want)
		}
	}
	byCert := []string{"SEKI_TLS_CA=" + ca.file, "SEKI_TLS_CERT=" + opsCert, "SEKI_TLS_KEY=" + opsKey}
	seki("get services", "h.test", 0, byCert...)
	seki("token create", "", 0, byCert...)
	seki("window list", "0 windows", 0, byCert...)
	seki("get services", "h.test", 0, "SEKI_TLS_CA="+ca.file, "SEKI_TOKEN="+viewer)
	seki("window list", "0 windows", 0, "SEKI_TLS_CA="+ca.file, "SEKI_TOKEN="+viewer)
	seki("token create", "vera may not do this", 1, "SEKI_TLS_CA="+ca.file, "SEKI_TOKEN="+viewer)
	seki("get services", "is needed", 1, "SEKI_TLS_CA="+ca.file)
	seki("get services", "certificate", 1, "SEKI_TLS_CA="+foreign.file, "SEKI_TOKEN="+viewer)
	seki("get services", "--tls-ca", 1, "SEKI_TLS_CERT="+opsCert)
	seki("audit", "ops.test", 0, byCert...)

	// Replaced on disk: the next connections see it, and a bad one changes nothing.
	serial := func() *big.Int {
		_, _, s := do(plain, "GET", "/", viewer)
		if s == nil {
			return nil
		}
		return s.PeerCertificates[0].SerialNumber
	}
	before := serial()
	ca.issue("server", time.Hour)
	stack.Eventually(t, func() error {
		if now := serial(); now == nil || now.Cmp(before) == 0 {
			return fmt.Errorf("the certificate shown is %v still", now)
		}
		return nil
	})
	renewed := serial()
	writeFile(t, key, "no key")
	p.Signal(syscall.SIGHUP)
	stack.Eventually(t, func() error {
		if raw, err := os.ReadFile(p.Log); err != nil || !strings.Contains(string(raw), "the certificate of the Admin API stays as it was") {
			return fmt.Errorf("a bad key is not said: %v", err)
		}
		return nil
	})
	if now := serial(); now == nil || now.Cmp(renewed) != 0 {
		t.Errorf("with a bad key on disk %v is shown, want %v", now, renewed)
	}
	writeFile(t, tokens, "ed editor "+editor+"\n")
	p.Signal(syscall.SIGHUP)
	stack.Eventually(t, func() error {
		if code, out, _ := do(plain, "PUT", "/services/a", editor); code != 200 {
			return fmt.Errorf("the new token: %d %s", code, out)
		}
		return nil
	})
	if code, _, _ := do(plain, "GET", "/services", viewer); code != 401 {
		t.Errorf("a token that was taken out of the file: %d", code)
	}
}

// TestAdminTLSRefusals starts with settings that cannot be meant.
func TestAdminTLSRefusals(t *testing.T) {
	t.Parallel()
	ca := newCA(t, "ours")
	cert, key := ca.issue("server", time.Hour)
	_, other := ca.issue("other", time.Hour)
	tokens := filepath.Join(t.TempDir(), "tokens")
	writeFile(t, tokens, "ops admin cert:ops.test\n")
	if err := os.Chmod(tokens, 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"--admin-tls-cert " + cert:                                                               "one is nothing without the other",
		"--admin-client-ca " + ca.file:                                                           "are shown over TLS",
		"--admin-tls-cert " + cert + " --admin-tls-key " + other:                                 "--admin-tls-cert",
		"--admin-tls-cert /nowhere --admin-tls-key " + key:                                       "/nowhere",
		"--admin-token-file " + tokens:                                                           "needs --admin-client-ca",
		"--admin-oidc-issuer http://issuer.test":                                                 "expected an https URL",
		"--admin-oidc-issuer https://issuer.test":                                                "an audience is needed",
		"--admin-oidc-audience a":                                                                "without --admin-oidc-issuer",
		"--admin-open --admin-oidc-issuer https://a.test":                                        "say one of them",
		"--admin-oidc-issuer https://a.test --admin-oidc-roles ab":                               "expected VALUE=ROLE",
		"--admin-tls-cert " + cert + " --admin-tls-key " + key + " --admin-client-ca " + ca.file: "NAME ROLE cert:NAME",
		"--admin-tls-cert " + cert + " --admin-tls-key " + key + " --admin-client-ca " + key + " --admin-token-file " + tokens: "holds no certificate",
	} {
		out, code := stack.Shell(t, nil, stack.Binary(t)+" controlplane --status-listen off --admin-listen 127.0.0.1:0 --grpc-listen 127.0.0.1:0 "+
			"--console-listen off --feed-listen off --data-dir "+t.TempDir()+" "+line)
		if code == 0 || !strings.Contains(out, want) {
			t.Errorf("seki controlplane %s: exit code %d\n%s\nwant %q", line, code, out, want)
		}
	}
}
