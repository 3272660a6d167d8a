package hmacauth

import (
	"crypto/hmac"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

var (
	bob  = &plugin.Consumer{ID: "11111111-1111-4111-8111-000000003001", Username: "bob"}
	now  = time.Unix(1700000000, 500_000_000)
	date = "Date: " + at(0)
)

func at(d time.Duration) string { return now.Add(d).UTC().Format(http.TimeFormat) }

func build(t testing.TB, c *Config) plugin.RequestFilter {
	t.Helper()
	f, err := New(c, plugintest.NewHost())
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return f.(plugin.RequestFilter)
}

func directory(t testing.TB) *plugintest.Directory {
	t.Helper()
	var all []*plugin.Credential
	for name, pass := range map[string]string{"hbob": "hsecret", "empty": ""} {
		key, secret, err := plugin.CredentialOf(plugin.HMACCredentials, &entityv1.HmacauthCredential{Username: &name, Secret: &pass})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, &plugin.Credential{ID: "id", Kind: plugin.HMACCredentials, Consumer: bob, Key: key, Secret: secret})
	}
	return plugintest.NewDirectory(all...)
}

// signed makes an authorization over text, which covers the named headers.
func signed(user, alg, headers, text, secret string) string {
	hash := algorithms[alg]
	if hash == nil {
		hash = algorithms["hmac-sha1"]
	}
	mac := hmac.New(hash, []byte(secret))
	mac.Write([]byte(text))
	return fmt.Sprintf(`hmac username="%s", algorithm="%s", headers="%s", signature="%s"`,
		user, alg, headers, base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

func ask(t testing.TB, f plugin.RequestFilter, r plugintest.Request) (plugin.Verdict, *plugin.Exchange) {
	t.Helper()
	x := r.Exchange()
	x.Directory, x.Times.Start = directory(t), now
	return f.OnRequest(x), x
}

// TestRecorded replays what a live Kong 3.9.1 answered on the routes of transcript 13.
func TestRecorded(t *testing.T) {
	t.Parallel()
	routes := map[string]plugin.RequestFilter{
		"/q13": build(t, &Config{}),
		"/q21": build(t, &Config{EnforceHeaders: []string{"date", "request-line"}, ValidateRequestBody: proto.Bool(true)}),
	}
	all := plugintest.Transcript(t, "13-proxy-auth", "hmac")
	if len(all) != 3 {
		t.Errorf("%d recorded requests, want 3", len(all))
	}
	for _, r := range all {
		v, x := ask(t, routes[r.Request.Path], r.AsRequest())
		if v.Status() != r.Response.Status || !strings.Contains(r.Response.Text, `"`+v.Message()+`"`) {
			t.Errorf("%s: %d %q, want %d %s", r.Name, v.Status(), v.Message(), r.Response.Status, r.Response.Text)
		}
		if got := x.Early.Get("WWW-Authenticate"); got != r.Header("www-authenticate") {
			t.Errorf("%s: challenge = %q, want %q", r.Name, got, r.Header("www-authenticate"))
		}
	}
}

func TestSignatures(t *testing.T) {
	t.Parallel()
	overDate := func(user, alg, secret string) string { return signed(user, alg, "date", "date: "+at(0), secret) }
	enforce := &Config{EnforceHeaders: []string{"date", "request-line"}}
	line := "date: " + at(0) + "\nGET /a?b=c HTTP/1.1"
	tests := []struct {
		name    string
		config  *Config
		target  string
		lines   []string
		message string
	}{
		{"sha1", &Config{}, "/", []string{date, "Authorization: " + overDate("hbob", "hmac-sha1", "hsecret")}, ""},
		{"sha256", &Config{}, "/", []string{date, "Authorization: " + overDate("hbob", "hmac-sha256", "hsecret")}, ""},
		{"sha384", &Config{}, "/", []string{date, "Authorization: " + overDate("hbob", "hmac-sha384", "hsecret")}, ""},
		{"sha512", &Config{}, "/", []string{date, "Authorization: " + overDate("hbob", "hmac-sha512", "hsecret")}, ""},
		{"upper scheme", &Config{}, "/", []string{date, "Authorization: H" + overDate("hbob", "hmac-sha1", "hsecret")[1:]}, ""},
		{"proxy first", &Config{}, "/", []string{date, "Proxy-Authorization: " + overDate("hbob", "hmac-sha1", "hsecret"), "Authorization: Basic x"}, ""},
		{"unreadable proxy", &Config{}, "/", []string{date, "Proxy-Authorization: Basic x", "Authorization: " + overDate("hbob", "hmac-sha1", "hsecret")}, ""},
		{"unreadable", &Config{}, "/", []string{date, "Authorization: Basic x"}, unverified},
		{"wrong secret", &Config{}, "/", []string{date, "Authorization: " + overDate("hbob", "hmac-sha1", "x")}, different},
		{"unknown name", &Config{}, "/", []string{date, "Authorization: " + overDate("zed", "hmac-sha1", "hsecret")}, unverified},
		{"empty secret", &Config{}, "/", []string{date, "Authorization: " + overDate("empty", "hmac-sha1", "")}, unverified},
		{"unknown algorithm", &Config{}, "/", []string{date, "Authorization: " + overDate("hbob", "hmac-md5", "hsecret")}, unverified},
		{"algorithm not allowed", &Config{Algorithms: []string{"hmac-sha256"}}, "/", []string{date, "Authorization: " + overDate("hbob", "hmac-sha1", "hsecret")}, unverified},
		{"signature is no base64", &Config{}, "/", []string{date, `Authorization: hmac username="hbob", algorithm="hmac-sha1", headers="date", signature="!"`}, different},
		{"request line", enforce, "/a?b=c", []string{date, "Authorization: " + signed("hbob", "hmac-sha256", "date request-line", line, "hsecret")}, ""},
		{"another request line", enforce, "/a?b=d", []string{date, "Authorization: " + signed("hbob", "hmac-sha256", "date request-line", line, "hsecret")}, different},
		{"enforced header is missing", enforce, "/", []string{date, "Authorization: " + overDate("hbob", "hmac-sha1", "hsecret")}, unverified},
		{"request target", &Config{}, "/a?b=c", []string{date, "Authorization: " + signed("hbob", "hmac-sha1", "@request-target x-none X-Two", "@request-target: get /a?b=c\nx-none:\nX-Two: 2", "hsecret"), "x-two: 2"}, ""},
		{"x-date", &Config{}, "/", []string{"X-Date: " + at(-300*time.Second), "Authorization: " + signed("hbob", "hmac-sha1", "x-date", "x-date: "+at(-300*time.Second), "hsecret")}, ""},
		{"old x-date, good date", &Config{}, "/", []string{"X-Date: " + at(-time.Hour), date, "Authorization: " + overDate("hbob", "hmac-sha1", "hsecret")}, ""},
		{"early", &Config{}, "/", []string{"Date: " + at(301*time.Second), "Authorization: x"}, noDate},
		{"late", &Config{}, "/", []string{"Date: " + at(-301*time.Second), "Authorization: x"}, noDate},
		{"late for another skew", &Config{ClockSkew: proto.Float64(1.5)}, "/", []string{"Date: " + at(-2*time.Second), "Authorization: x"}, noDate},
		{"no date", &Config{}, "/", []string{"Date: yesterday", "Authorization: x"}, noDate},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v, x := ask(t, build(t, tt.config), plugintest.Request{Target: tt.target, Lines: tt.lines})
			if v.Message() != tt.message || v.Done() != (tt.message != "") {
				t.Fatalf("OnRequest = %d %q, want %q", v.Status(), v.Message(), tt.message)
			}
			if tt.message == "" && (x.Consumer != bob || x.Request.Header.Get("X-Credential-Identifier") != "hbob") {
				t.Errorf("consumer %v, upstream is told %v", x.Consumer, x.Request.Header.Fields())
			}
		})
	}
}

func TestDigests(t *testing.T) {
	t.Parallel()
	f := build(t, &Config{ValidateRequestBody: proto.Bool(true), Realm: proto.String("x")})
	const hello = "SHA-256=LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=" // of "hello"
	auth := "Authorization: " + signed("hbob", "hmac-sha256", "date", "date: "+at(0), "hsecret")
	for _, tt := range []struct {
		body, digest string
		ok           bool
	}{
		{"hello", hello, true}, {"hellO", hello, false}, {"", hello, false}, {"", "", true}, {"hello", "", false}, {"hello", "SHA-256=", false},
	} {
		lines := []string{date, auth}
		if tt.digest != "" {
			lines = append(lines, "Digest: "+tt.digest)
		}
		v, x := ask(t, f, plugintest.Request{Body: tt.body, Lines: lines})
		if v.Done() == tt.ok || !tt.ok && (v.Message() != different || x.Early.Get("WWW-Authenticate") != `hmac realm="x"`) {
			t.Errorf("body %q with digest %q: %d %q", tt.body, tt.digest, v.Status(), v.Message())
		}
	}
}

func TestHideCredentialsAfterTheyWereChecked(t *testing.T) {
	t.Parallel()
	f := build(t, &Config{HideCredentials: proto.Bool(true)})
	v, x := ask(t, f, plugintest.Request{Lines: []string{date, "Authorization: " + signed("hbob", "hmac-sha1", "date", "date: "+at(0), "hsecret")}})
	if v.Done() || x.Request.Header.Count("Authorization") != 0 {
		t.Errorf("OnRequest = %d, upstream gets %v", v.Status(), x.Request.Header.Fields())
	}
}

func TestAnonymous(t *testing.T) {
	t.Parallel()
	f := build(t, &Config{Anonymous: proto.String("bob")})
	if v, x := ask(t, f, plugintest.Request{}); v.Done() || x.Consumer != bob || x.Credential != nil || x.Early.Len() != 0 {
		t.Errorf("OnRequest = %d, consumer %v", v.Status(), x.Consumer)
	}
}

func TestNewRefusesUnknownAlgorithms(t *testing.T) {
	t.Parallel()
	if _, err := New(&Config{Algorithms: []string{"hmac-md5"}}, plugintest.NewHost()); err == nil || !strings.Contains(err.Error(), "config.algorithms") {
		t.Errorf("New = %v, want a complaint of config.algorithms", err)
	}
}

// FuzzAuthorization has any text stand for an authorization: nobody gets in by it.
func FuzzAuthorization(f *testing.F) {
	f.Add(`hmac username="hbob", algorithm="hmac-sha256", headers="date", signature="x"`)
	f.Add(`hmac username="a",algorithm="b",headers="",signature=""`)
	f.Add("hmac")
	g := build(f, &Config{})
	f.Fuzz(func(t *testing.T, text string) {
		if v, _ := ask(t, g, plugintest.Request{Lines: []string{date, "Authorization: " + text}}); v.Status() != 401 {
			t.Errorf("OnRequest(%q) = %d", text, v.Status())
		}
	})
}
