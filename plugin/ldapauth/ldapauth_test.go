package ldapauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"io"
	"math/big"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jimlambrt/gldap"
	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

const base = "ou=scientists,dc=ldap,dc=mashape,dc=com"

// ldapServer is a server that knows a few passwords by distinguished name.
type ldapServer struct {
	port  int64
	stop  func()
	binds atomic.Int64
	conns sync.Map // ids of connections that asked
}

func serve(t *testing.T, secure *tls.Config, ldaps bool) *ldapServer {
	t.Helper()
	users := map[string]string{"uid=einstein," + base: "pass:word", `uid=o\,hara,` + base: "x"}
	s := &ldapServer{}
	mux, err := gldap.NewMux()
	if err != nil {
		t.Fatal(err)
	}
	bind := func(w *gldap.ResponseWriter, r *gldap.Request) {
		s.binds.Add(1)
		s.conns.Store(r.ConnectionID(), true)
		answer := r.NewBindResponse(gldap.WithResponseCode(gldap.ResultInvalidCredentials))
		if m, err := r.GetSimpleBindMessage(); err == nil && users[m.UserName] == string(m.Password) && m.Password != "" {
			answer.SetResultCode(gldap.ResultSuccess)
		}
		_ = w.Write(answer) // the client tells what it missed
	}
	if err := mux.Bind(bind); err != nil {
		t.Fatal(err)
	}
	start := func(w *gldap.ResponseWriter, r *gldap.Request) {
		answer := r.NewExtendedResponse(gldap.WithResponseCode(gldap.ResultSuccess))
		answer.SetResponseName(gldap.ExtendedOperationStartTLS)
		_ = w.Write(answer)
		if err := r.StartTLS(secure); err != nil {
			t.Logf("start TLS: %v", err)
		}
	}
	if err := mux.ExtendedOperation(start, gldap.ExtendedOperationStartTLS); err != nil {
		t.Fatal(err)
	}
	srv, err := gldap.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Router(mux); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	s.port = int64(l.Addr().(*net.TCPAddr).Port)
	if err := l.Close(); err != nil { // the server opens it anew
		t.Fatal(err)
	}
	var options []gldap.Option
	if ldaps {
		options = append(options, gldap.WithTLSConfig(secure))
	}
	done := make(chan error, 1)
	go func() { done <- srv.Run(addr, options...) }()
	for !srv.Ready() {
		select {
		case err := <-done:
			t.Fatalf("run LDAP server: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	s.stop = sync.OnceFunc(func() {
		_ = srv.Stop() // a connection that is closed already is no matter
		<-done
	})
	t.Cleanup(s.stop)
	return s
}

func build(t *testing.T, s *ldapServer, change func(*Config)) *filter {
	t.Helper()
	c := &Config{
		LdapHost: proto.String("127.0.0.1"), LdapPort: &s.port, BaseDn: proto.String(base), Attribute: proto.String("uid"),
		CacheTtl: proto.Float64(60), Timeout: proto.Float64(10000), Keepalive: proto.Float64(60000), HeaderType: proto.String("ldap"),
	}
	if change != nil {
		change(c)
	}
	f, err := New(c, plugintest.NewHost())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // what rests would keep the server from its end
		for conn := f.(*filter).server.wake(); conn != nil; conn = f.(*filter).server.wake() {
			_ = conn.Close()
		}
	})
	return f.(*filter)
}

func credentials(kind, pair string) string {
	return kind + " " + base64.StdEncoding.EncodeToString([]byte(pair))
}

func ask(f *filter, lines ...string) (*plugin.Exchange, plugin.Verdict) {
	x := plugintest.Request{Lines: lines}.Exchange()
	x.Directory = plugintest.NewDirectory()
	x.Directory.(*plugintest.Directory).AddConsumer(&plugin.Consumer{ID: "a", Username: "anon"})
	return x, f.OnRequest(x)
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, false)
	good := credentials("ldap", "einstein:pass:word")
	for _, tt := range []struct {
		name  string
		lines []string
		user  string // "": 401
	}{
		{"none", nil, ""},
		{"right", []string{"Authorization: " + good}, "einstein"},
		{"upper case", []string{"Authorization: " + credentials("LDAP", "einstein:pass:word")}, "einstein"},
		{"proxy", []string{"Proxy-Authorization: " + good}, "einstein"},
		{"proxy is wrong", []string{"Proxy-Authorization: " + credentials("ldap", "einstein:x"), "Authorization: " + good}, "einstein"},
		{"wrong", []string{"Authorization: " + credentials("ldap", "einstein:wrong")}, ""},
		{"unknown", []string{"Authorization: " + credentials("ldap", "newton:pass:word")}, ""},
		{"no password", []string{"Authorization: " + credentials("ldap", "einstein:")}, ""},
		{"no colon", []string{"Authorization: " + credentials("ldap", "einstein")}, ""},
		{"other scheme", []string{"Authorization: " + credentials("Basic", "einstein:pass:word")}, ""},
		{"no space", []string{"Authorization: ldap" + good[5:]}, ""},
		{"no Base64", []string{"Authorization: ldap !!!"}, ""},
		{"a name that is a part of a distinguished name", []string{"Authorization: " + credentials("ldap", "o,hara:x")}, "o,hara"},
		{"a name that leads elsewhere", []string{"Authorization: " + credentials("ldap", "einstein,"+base+"+cn=x:pass:word")}, ""},
	} {
		f := build(t, s, nil)
		x, v := ask(f, append(tt.lines, "X-Consumer-ID: forged", "X-Anonymous-Consumer: true")...)
		if tt.user == "" {
			if v.Status() != 401 || v.Message() != "Unauthorized" || x.Early.Get("WWW-Authenticate") != "LDAP" || x.Credential != nil {
				t.Errorf("%s: %d %q, challenge %q", tt.name, v.Status(), v.Message(), x.Early.Get("WWW-Authenticate"))
			}
			continue
		}
		h := &x.Request.Header
		if v.Done() || x.Credential == nil || x.Consumer != nil || h.Get("X-Credential-Identifier") != tt.user ||
			h.Count("X-Consumer-ID") != 0 || h.Count("X-Anonymous-Consumer") != 0 {
			t.Errorf("%s: %d, upstream is told %v", tt.name, v.Status(), h.Fields())
		}
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, false)
	f := build(t, s, func(c *Config) { c.HeaderType, c.Realm = proto.String("Basic"), proto.String("r") })
	x, v := ask(f)
	if v.Status() != 401 || x.Early.Get("WWW-Authenticate") != `Basic realm="r"` {
		t.Errorf("challenge = %q", x.Early.Get("WWW-Authenticate"))
	}
	if _, v := ask(f, "Authorization: "+credentials("basic", "einstein:pass:word")); v.Done() {
		t.Errorf("the other type: %d", v.Status())
	}
	f = build(t, s, func(c *Config) { c.HideCredentials = proto.Bool(true) })
	x, _ = ask(f, "Proxy-Authorization: "+credentials("ldap", "einstein:pass:word"), "Authorization: Bearer x")
	if h := &x.Request.Header; h.Count("Authorization") != 0 || h.Count("Proxy-Authorization") != 0 || x.Credential == nil {
		t.Errorf("upstream gets %v", h.Fields())
	}
	f = build(t, s, func(c *Config) { c.Anonymous = proto.String("anon") })
	if x, v := ask(f, "Authorization: "+credentials("ldap", "einstein:x")); v.Done() || x.Consumer.Username != "anon" || x.Credential != nil {
		t.Errorf("anonymous: %d, %v", v.Status(), x.Consumer)
	}
	x = plugintest.Request{}.Exchange()
	x.Credential = &plugin.Credential{ID: "key"}
	if v := f.OnRequest(x); v.Done() || x.Credential.ID != "key" {
		t.Error("who is known already is not left alone")
	}
}

// TestAnswersAreRemembered: right and wrong ones, for their time; connections are used again.
func TestAnswersAreRemembered(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, false)
	f := build(t, s, nil)
	clock := plugintest.NewClock(time.Unix(1000, 0))
	f.known.now = clock.Now
	ask3 := func() {
		for range 3 {
			if _, v := ask(f, "Authorization: "+credentials("ldap", "einstein:pass:word")); v.Done() {
				t.Errorf("right: %d", v.Status())
			}
			if _, v := ask(f, "Authorization: "+credentials("ldap", "einstein:x")); v.Status() != 401 {
				t.Errorf("wrong: %d", v.Status())
			}
		}
	}
	ask3()
	if n := s.binds.Load(); n != 2 {
		t.Errorf("the server was asked %d times, want 2", n)
	}
	clock.Advance(time.Minute)
	ask3()
	if n := s.binds.Load(); n != 4 {
		t.Errorf("after its time the server was asked %d times, want 4", n)
	}
	n := 0
	s.conns.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	for i := range places + 10 {
		f.known.keep(f.known.digest("u", string(rune(i))), true)
	}
	if n := len(f.known.said); n > places {
		t.Errorf("%d answers are remembered, want %d at most", n, places)
	}
}

// relay is a way to a server that can be cut.
type relay struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func newRelay(t *testing.T, to int64) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: l}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.FormatInt(to, 10)))
			if err != nil {
				_ = in.Close() // which is what a server that is away does
				continue
			}
			r.mu.Lock()
			r.conns = append(r.conns, in, out)
			r.mu.Unlock()
			go func() { _, _ = io.Copy(out, in) }() // until it is cut
			go func() { _, _ = io.Copy(in, out) }()
		}
	}()
	t.Cleanup(func() { r.cut(); _ = l.Close() })
	return r
}

func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		_ = c.Close() // twice at the end
	}
}

func TestServerAway(t *testing.T) {
	t.Parallel()
	r := newRelay(t, serve(t, nil, false).port)
	port := int64(r.Addr().(*net.TCPAddr).Port)
	f := build(t, &ldapServer{port: port}, func(c *Config) { c.CacheTtl, c.Anonymous = proto.Float64(0), proto.String("anon") })
	good := "Authorization: " + credentials("ldap", "einstein:pass:word")
	for range 2 { // the connection that rests is closed the second time: another is made
		if x, v := ask(f, good); v.Done() || x.Credential == nil {
			t.Fatalf("OnRequest = %d, %v", v.Status(), x.Consumer)
		}
		r.cut()
	}
	_ = r.Close()
	if x, v := ask(f, good); v.Status() != 500 || x.Credential != nil || x.Consumer != nil {
		t.Errorf("with the server away: %d, %v", v.Status(), x.Consumer)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ldap"}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secure := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	for name, set := range map[string]func(*Config){
		"from the start": func(c *Config) { c.Ldaps = proto.Bool(true) },
		"StartTLS":       func(c *Config) { c.StartTls = proto.Bool(true) },
	} {
		s := serve(t, secure, name == "from the start")
		if _, v := ask(build(t, s, set), "Authorization: "+credentials("ldap", "einstein:pass:word")); v.Done() {
			t.Errorf("%s: %d", name, v.Status())
		}
		verified := build(t, s, func(c *Config) { set(c); c.VerifyLdapHost = proto.Bool(true) })
		if _, v := ask(verified, "Authorization: "+credentials("ldap", "einstein:pass:word")); v.Status() != 500 {
			t.Errorf("%s: a certificate that nobody knows: %d", name, v.Status())
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("ldap ZWluc3RlaW46cGFzc3dvcmQ=")
	f.Add("LDAP")
	f.Add("ldap ZWluc3RlaW46")
	f.Fuzz(func(t *testing.T, value string) {
		fl := &filter{kind: "ldap"}
		if _, password, ok := fl.parse(value); ok && password == "" {
			t.Errorf("parse(%q) gives an empty password", value)
		}
	})
}
