package basicauth

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/model/password"
	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

var (
	bob  = &plugin.Consumer{ID: "11111111-1111-4111-8111-000000003001", Username: "bob", CustomID: "cb"}
	anon = &plugin.Consumer{ID: "11111111-1111-4111-8111-000000003002", Username: "anon"}
)

func build(t testing.TB, c *Config) plugin.RequestFilter {
	t.Helper()
	f, err := New(c, plugintest.NewHost())
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return f.(plugin.RequestFilter)
}

// credential makes one as a gate would: of the older stored form, or of the newer one too.
func credential(t testing.TB, name, pass string, slow bool) *plugin.Credential {
	t.Helper()
	sum := sha1.Sum([]byte(pass + bob.ID))
	m := &entityv1.BasicauthCredential{Username: &name, Consumer: &bob.ID, Password: proto.String(hex.EncodeToString(sum[:]))}
	if slow {
		m.PasswordHash = proto.String(password.New(pass))
	}
	key, secret, err := plugin.CredentialOf(plugin.BasicCredentials, m)
	if err != nil {
		t.Fatal(err)
	}
	return &plugin.Credential{ID: "id-of-" + name, Kind: plugin.BasicCredentials, Consumer: bob, Key: key, Secret: secret}
}

func directory(credentials ...*plugin.Credential) *plugintest.Directory {
	d := plugintest.NewDirectory(credentials...)
	d.AddConsumer(anon)
	return d
}

func basic(pair string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(pair)) }

// TestHeaders begins with what was recorded of a live Kong 3.9.1 (transcript 13).
func TestHeaders(t *testing.T) {
	t.Parallel()
	d := directory(credential(t, "bob", "s3cret", false), credential(t, "colon", "a:b", false), credential(t, "none", "", false))
	tests := []struct {
		name   string
		lines  []string
		status int
		user   string
	}{
		{"ba8 bad pw", []string{"Authorization: Basic Ym9iOng="}, 401, ""},
		{"ba9 none", nil, 401, ""},
		{"ba9 ok", []string{"Authorization: Basic Ym9iOnMzY3JldA=="}, 0, "bob"},
		{"ba9 bad user", []string{"Authorization: Basic emVkOng="}, 401, ""},
		{"ba garbage", []string{"Authorization: Basic !!!"}, 401, ""},
		{"ba lower", []string{"Authorization: basic Ym9iOnMzY3JldA=="}, 0, "bob"},
		{"ba proxy-authorization", []string{"Proxy-Authorization: Basic Ym9iOnMzY3JldA=="}, 0, "bob"},
		{"no padding", []string{"Authorization: Basic Ym9iOnMzY3JldA"}, 0, "bob"},
		{"more and no space", []string{"Authorization: Basic   Ym9iOnMzY3JldA=="}, 0, "bob"},
		{"no space", []string{"Authorization: BasicYm9iOnMzY3JldA=="}, 0, "bob"},
		{"upper scheme", []string{"Authorization: BASIC Ym9iOnMzY3JldA=="}, 401, ""},
		{"other scheme", []string{"Authorization: Bearer Ym9iOnMzY3JldA=="}, 401, ""},
		{"scheme alone", []string{"Authorization: Basic"}, 401, ""},
		{"colon in password", []string{"Authorization: " + basic("colon:a:b")}, 0, "colon"},
		{"empty password", []string{"Authorization: " + basic("none:")}, 0, "none"},
		{"no colon", []string{"Authorization: " + basic("bob")}, 401, ""},
		{"no name", []string{"Authorization: " + basic(":s3cret")}, 401, ""},
		{"case of the name", []string{"Authorization: " + basic("Bob:s3cret")}, 401, ""},
		{"proxy names nobody", []string{"Proxy-Authorization: " + basic("zed:x"), "Authorization: " + basic("bob:s3cret")}, 0, "bob"},
		{"proxy is unreadable", []string{"Proxy-Authorization: Negotiate x", "Authorization: " + basic("bob:s3cret")}, 0, "bob"},
		{"proxy has a wrong password", []string{"Proxy-Authorization: " + basic("bob:x"), "Authorization: " + basic("bob:s3cret")}, 401, ""},
		{"long", []string{"Authorization: " + basic("bob:"+strings.Repeat("x", 5000))}, 401, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x := plugintest.Request{Lines: append([]string{"X-Consumer-ID: forged", "X-Anonymous-Consumer: true"}, tt.lines...)}.Exchange()
			x.Directory = d
			v := build(t, &Config{}).OnRequest(x)
			if v.Status() != tt.status {
				t.Fatalf("OnRequest = %d %q, want %d", v.Status(), v.Message(), tt.status)
			}
			h := &x.Request.Header
			if tt.status == 401 {
				if v.Message() != "Unauthorized" || x.Early.Get("WWW-Authenticate") != `Basic realm="service"` || x.Credential != nil {
					t.Errorf("refusal %q with %q", v.Message(), x.Early.Get("WWW-Authenticate"))
				}
				return
			}
			if x.Consumer != bob || x.Credential == nil || h.Get("X-Consumer-ID") != bob.ID || h.Get("X-Consumer-Custom-ID") != "cb" ||
				h.Get("X-Consumer-Username") != "bob" || h.Get("X-Credential-Identifier") != tt.user || h.Count("X-Anonymous-Consumer") != 0 {
				t.Errorf("upstream is told %v", h.Fields())
			}
		})
	}
}

func TestRealm(t *testing.T) {
	t.Parallel()
	x := plugintest.Request{}.Exchange()
	build(t, &Config{Realm: proto.String("b")}).OnRequest(x)
	if got := x.Early.Get("WWW-Authenticate"); got != `Basic realm="b"` {
		t.Errorf("challenge = %q", got)
	}
}

func TestHideCredentialsRemovesWhatWasRead(t *testing.T) {
	t.Parallel()
	d := directory(credential(t, "bob", "s3cret", false))
	f := build(t, &Config{HideCredentials: proto.Bool(true)})
	x := plugintest.Request{Lines: []string{"Proxy-Authorization: " + basic("bob:s3cret"), "Authorization: Bearer x"}}.Exchange()
	x.Directory = d
	if v := f.OnRequest(x); v.Done() || x.Request.Header.Count("Proxy-Authorization") != 0 || x.Request.Header.Get("Authorization") != "Bearer x" {
		t.Errorf("upstream gets %v", x.Request.Header.Fields())
	}
	x = plugintest.Request{Lines: []string{"Authorization: " + basic("bob:s3cret")}}.Exchange()
	x.Directory = d
	if v := f.OnRequest(x); v.Done() || x.Request.Header.Count("Authorization") != 0 {
		t.Errorf("upstream gets %v", x.Request.Header.Fields())
	}
}

// TestAnonymous holds "multi none" and "multi key" of transcript 13, and an unknown consumer.
func TestAnonymous(t *testing.T) {
	t.Parallel()
	d := directory(credential(t, "bob", "s3cret", false))
	f := build(t, &Config{Anonymous: proto.String("anon")})
	x := plugintest.Request{Lines: []string{"Authorization: " + basic("bob:x"), "X-Credential-Identifier: forged"}}.Exchange()
	x.Directory = d
	v := f.OnRequest(x)
	h := &x.Request.Header
	if v.Done() || x.Consumer != anon || x.Credential != nil || h.Get("X-Anonymous-Consumer") != "true" ||
		h.Get("X-Consumer-Username") != "anon" || h.Count("X-Credential-Identifier") != 0 || x.Early.Len() != 0 {
		t.Errorf("anonymous: %d, upstream is told %v", v.Status(), h.Fields())
	}
	// Someone whom an earlier filter knows stays who he is.
	x = plugintest.Request{}.Exchange()
	x.Directory, x.Consumer, x.Credential = d, bob, &plugin.Credential{ID: "key", Consumer: bob}
	if v := f.OnRequest(x); v.Done() || x.Consumer != bob || x.Credential.ID != "key" {
		t.Errorf("an earlier consumer became %v", x.Consumer)
	}
	x = plugintest.Request{}.Exchange()
	x.Directory = plugintest.NewDirectory()
	if v := f.OnRequest(x); v.Status() != 500 || v.Message() != "" {
		t.Errorf("unknown anonymous consumer: %d %q, want 500", v.Status(), v.Message())
	}
}

func TestSlowHashesAreRemembered(t *testing.T) {
	t.Parallel()
	v := newVerifier(2)
	c := credential(t, "bob", "s3cret", true)
	secret := c.Secret.(*plugin.BasicSecret)
	x := plugintest.Request{}.Exchange()
	for range 2 {
		if !v.matches(x, secret, "s3cret") || v.matches(x, secret, "wrong") {
			t.Fatal("a password is taken for another")
		}
	}
	for pass, want := range map[string]bool{"s3cret": true, "wrong": false} {
		d := v.digest(secret, pass)
		if right, known := v.lookup(&d); !known || right != want {
			t.Errorf("lookup(%q) = %v, %v, want it known as %v", pass, right, known, want)
		}
	}
	// The same password set again, and another one, are not what was remembered.
	for _, pass := range []string{"s3cret", "newer"} {
		d := v.digest(credential(t, "bob", pass, true).Secret.(*plugin.BasicSecret), "s3cret")
		if _, known := v.lookup(&d); known {
			t.Error("a password that was set again is known already")
		}
	}
}

// TestManyAtOnce has many clients present few passwords; no more are made at once than may.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	f := build(t, &Config{}).(*filter)
	f.verifier = newVerifier(1)
	d := directory(credential(t, "bob", "s3cret", true))
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			pass, status := "s3cret", 0
			if i%2 == 1 {
				pass, status = "wrong", 401
			}
			x := plugintest.Request{Lines: []string{"Authorization: " + basic("bob:"+pass)}}.Exchange()
			x.Directory = d
			if v := f.OnRequest(x); v.Status() != status {
				t.Errorf("OnRequest(%q) = %d, want %d", pass, v.Status(), status)
			}
		})
	}
	wg.Wait()
}

func TestOnRequestDoesNotAllocateWhenWarm(t *testing.T) {
	for _, slow := range []bool{false, true} {
		f := build(t, &Config{HideCredentials: proto.Bool(true)})
		d := directory(credential(t, "bob", "s3cret", slow))
		r, e := plugintest.Request{}, plugintest.Engine("")
		header := basic("bob:s3cret")
		x := r.Exchange()
		run := func() {
			r.Again(x, e)
			x.Directory = d
			x.Request.Header.Append("Authorization", header)
			if v := f.OnRequest(x); v.Done() {
				t.Fatalf("OnRequest = %d", v.Status())
			}
		}
		run()
		base := testing.AllocsPerRun(50, func() { r.Again(x, e) })
		if n := testing.AllocsPerRun(50, run) - base; n != 0 {
			t.Errorf("slow %v: OnRequest allocates %v times, want 0", slow, n)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("Basic Ym9iOnMzY3JldA==")
	f.Add("basicbasic :")
	f.Add("Basic \xff")
	f.Fuzz(func(t *testing.T, header string) {
		x := plugintest.Request{}.Exchange()
		name, pass, ok := parse(x, header)
		if !ok {
			return
		}
		if name == "" || strings.Contains(name, ":") {
			t.Errorf("parse(%q) finds the name %q", header, name)
		}
		again, same, ok := parse(x, basic(name+":"+pass))
		if !ok || again != name || same != pass {
			t.Errorf("parse(%q) = %q, %q; once more %q, %q", header, name, pass, again, same)
		}
	})
}

func BenchmarkWarm(b *testing.B) {
	f := build(b, &Config{})
	x := plugintest.Request{Lines: []string{"Authorization: " + basic("bob:s3cret")}}.Exchange()
	x.Directory = directory(credential(b, "bob", "s3cret", true))
	b.ReportAllocs()
	for b.Loop() {
		f.OnRequest(x)
	}
}
