package oauth2

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

var bob = &plugin.Consumer{ID: "11111111-1111-4111-8111-000000003001", Username: "bob", CustomID: "cb"}

// application makes a credential as a gate would.
func application(t testing.TB, id, kind, secret string, hashed bool, redirects ...string) *plugin.Credential {
	t.Helper()
	key, s, err := plugin.CredentialOf(plugin.OAuth2Clients, &entityv1.Oauth2Credential{
		ClientId: &id, ClientSecret: &secret, HashSecret: &hashed, ClientType: &kind, RedirectUris: redirects,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &plugin.Credential{ID: "id-of-" + id, Kind: plugin.OAuth2Clients, Consumer: bob, Key: key, Secret: s}
}

type gate struct {
	t       *testing.T
	f       *filter
	host    *plugintest.Host
	dir     *plugintest.Directory
	service string
}

func newGate(t *testing.T, config string) *gate {
	t.Helper()
	c := &Config{}
	if err := protojson.Unmarshal([]byte(config), c); err != nil {
		t.Fatal(err)
	}
	if c.ProvisionKey == nil {
		c.ProvisionKey = proto.String("provision")
	}
	h := plugintest.NewHost()
	h.In.PluginID = "plugin-1"
	f, err := New(c, h)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{t: t, f: f.(*filter), host: h, service: "service-1"}
	g.f.now = h.Clock.Now
	g.dir = plugintest.NewDirectory(
		application(t, "app", "confidential", "secret", false, "http://google.test/kong", "http://google.test/two?foo=bar"),
		application(t, "pub", "public", "", false, "http://google.test/kong"),
		application(t, "bare", "confidential", "secret", false))
	g.dir.AddConsumer(&plugin.Consumer{ID: "anon-id", Username: "anon"})
	return g
}

// ask sends a request by TLS.
func (g *gate) ask(q plugintest.Request) (*plugin.Exchange, plugin.Verdict) {
	x := q.Exchange()
	x.Request.Scheme, x.Directory, x.Service = "https", g.dir, &plugin.Service{ID: g.service}
	return x, g.f.OnRequest(x)
}

// post sends a form to an endpoint and returns the status and the answer.
func (g *gate) post(path, form string, lines ...string) (int, map[string]any, *plugin.Exchange) {
	g.t.Helper()
	x, v := g.ask(plugintest.Request{
		Method: "POST", Target: path, Body: form, Lines: append(lines, "Content-Type: application/x-www-form-urlencoded"),
	})
	_, body, raw := v.Raw()
	var answer map[string]any
	if !raw || json.Unmarshal([]byte(body), &answer) != nil {
		g.t.Fatalf("%s: %d %q is no JSON", path, v.Status(), body)
	}
	return v.Status(), answer, x
}

func (g *gate) token(form string, lines ...string) (int, map[string]any) {
	status, answer, _ := g.post("/api/oauth2/token", form, lines...)
	return status, answer
}

// in asks with a token and returns the exchange of whom was let in, or nil.
func (g *gate) in(token string) *plugin.Exchange {
	x, v := g.ask(plugintest.Request{Lines: []string{"Authorization: Bearer " + token}})
	if v.Done() {
		return nil
	}
	return x
}

const all = `"enable_authorization_code":true,"enable_implicit_grant":true,"enable_client_credentials":true,"enable_password_grant":true,` +
	`"scopes":["email","profile"]`

const owner = "provision_key=provision&authenticated_userid=u1&client_id=app"

func TestAuthorize(t *testing.T) {
	t.Parallel()
	const verifierChallenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	for _, tt := range []struct {
		name, config, form string
		status             int
		want               string // a pattern of redirect_uri; else "error|error_description"
	}{
		{"no provision key", "", "client_id=app&authenticated_userid=u", 400, "invalid_provision_key|Invalid provision_key"},
		{"no user", "", "provision_key=provision", 400, "invalid_authenticated_userid|Missing authenticated_userid parameter"},
		{"blank user", "", "provision_key=provision&authenticated_userid=+", 400, "invalid_authenticated_userid|Missing authenticated_userid parameter"},
		{"no client", "", "provision_key=provision&authenticated_userid=u", 400, "invalid_client|Invalid client authentication"},
		{"no address", "", "provision_key=provision&authenticated_userid=u&client_id=bare&response_type=code", 400, "invalid_client|Invalid client authentication"},
		{"no scope", `,"mandatory_scope":true`, owner, 400, `^http://google\.test/kong\?error=invalid_scope&error_description=You%20must%20specify%20a%20scope$`},
		{"wrong scope", "", owner + "&scope=wot", 400, `^http://google\.test/kong\?error=invalid_scope&error_description=%22wot%22%20is%20an%20invalid%20scope$`},
		{"no type", "", owner + "&state=some%20state", 400, `^http://google\.test/kong\?error=unsupported_response_type&error_description=Invalid%20response_type&state=some%20state$`},
		{"wrong address", "", owner + "&response_type=code&redirect_uri=http://evil.test/", 400, `^http://google\.test/kong\?error=invalid_request&error_description=Invalid%20redirect_uri%20that%20does%20not%20match%20with%20any%20redirect_uri%20created%20with%20the%20application$`},
		{"code", "", owner + "&response_type=code&state=hello", 200, `^http://google\.test/kong\?code=\w{32}&state=hello$`},
		{"code with arguments", "", owner + "&response_type=code&redirect_uri=" + url.QueryEscape("http://google.test/two?foo=bar"), 200, `^http://google\.test/two\?code=\w{32}&foo=bar$`},
		{"implicit", "", owner + "&response_type=token&state=wot", 200, `^http://google\.test/kong#access_token=\w{32}&expires_in=7200&state=wot&token_type=bearer$`},
		{"challenge method", "", owner + "&response_type=code&code_challenge=x&code_challenge_method=foo", 400, `code_challenge_method%20is%20not%20supported%2c%20must%20be%20S256$`},
		{"method alone", "", owner + "&response_type=code&code_challenge_method=S256", 400, `code_challenge%20is%20required%20when%20code_method%20is%20present$`},
		{"public client", "", "provision_key=provision&authenticated_userid=u&client_id=pub&response_type=code", 400, `code_challenge%20is%20required%20for%20public%20clients$`},
		{"public client, none", `,"pkce":"none"`, "provision_key=provision&authenticated_userid=u&client_id=pub&response_type=code", 200, `\?code=\w{32}$`},
		{"strict", `,"pkce":"strict"`, owner + "&response_type=code", 400, `code_challenge%20is%20required%20for%20confidential%20clients$`},
		{"challenge", `,"pkce":"strict"`, owner + "&response_type=code&code_challenge_method=s256&code_challenge=" + verifierChallenge, 200, `\?code=\w{32}$`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t, "{"+all+tt.config+"}")
			status, answer, x := g.post("/oauth2/authorize/", tt.form)
			if x.Early.Get("Cache-Control") != "no-store" || x.Early.Get("Pragma") != "no-cache" {
				t.Errorf("the answer may be kept: %v", x.Early.Fields())
			}
			if redirect, ok := answer["redirect_uri"].(string); ok {
				if status != tt.status || len(answer) != 1 || !regexp.MustCompile(tt.want).MatchString(redirect) {
					t.Errorf("answer = %d %q, want %d %q", status, redirect, tt.status, tt.want)
				}
				return
			}
			if got, _ := answer["error"].(string); status != tt.status || got+"|"+answer["error_description"].(string) != tt.want {
				t.Errorf("answer = %d %v, want %d %q", status, answer, tt.status, tt.want)
			}
		})
	}
}

func TestEndpointsTakePostByTLS(t *testing.T) {
	t.Parallel()
	g := newGate(t, `{"realm":"r",`+all+`}`)
	for path, name := range map[string]string{"/oauth2/token": "token", "/a/oauth2/authorize/": "authorization"} {
		x, v := g.ask(plugintest.Request{Target: path})
		_, body, _ := v.Raw()
		const says = "The HTTP method GET is invalid for the "
		if v.Status() != 405 || !strings.Contains(body, says+name+" endpoint") ||
			x.Early.Get("WWW-Authenticate") != `Bearer realm="r" error="invalid_method" error_description="`+says+name+` endpoint"` {
			t.Errorf("GET %s = %d %s, %q", path, v.Status(), body, x.Early.Get("WWW-Authenticate"))
		}
	}
	for _, tt := range []struct {
		believe, proto string
		want           string
	}{{"", "https", "access_denied"}, {`"accept_http_if_already_terminated":true,`, "http", "access_denied"}, {`"accept_http_if_already_terminated":true,`, "https", "unsupported_grant_type"}} {
		g := newGate(t, `{`+tt.believe+all+`}`)
		x := plugintest.Request{Method: "POST", Target: "/oauth2/token", Lines: []string{"Content-Type: application/x-www-form-urlencoded"}, Body: "client_id=app&client_secret=secret"}.Exchange()
		x.Directory, x.Service, x.Request.ForwardedProto = g.dir, &plugin.Service{ID: g.service}, tt.proto
		if _, body, _ := g.f.OnRequest(x).Raw(); !strings.Contains(body, tt.want) {
			t.Errorf("by plain HTTP, forwarded %s: %s, want %s", tt.proto, body, tt.want)
		}
	}
}

func TestTokenIsRefused(t *testing.T) {
	t.Parallel()
	const me = "client_id=app&client_secret=secret"
	basic := func(pair string) string {
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(pair))
	}
	for _, tt := range []struct {
		name, form string
		line       string
		status     int
		want       string
	}{
		{"nothing", "", "", 400, "invalid_client|Invalid client authentication"},
		{"no secret", "client_id=app&grant_type=client_credentials", "", 400, "invalid_client|Invalid client authentication"},
		{"empty secret", "client_id=app&client_secret=&grant_type=client_credentials", "", 400, "invalid_client|Invalid client authentication"},
		{"wrong secret", "client_id=app&client_secret=x&grant_type=client_credentials", "", 400, "invalid_client|Invalid client authentication"},
		{"unknown client", "client_id=x&client_secret=x&grant_type=client_credentials", "", 400, "invalid_client|Invalid client authentication"},
		{"no grant", me, "", 400, "unsupported_grant_type|Invalid grant_type"},
		{"wrong header", "grant_type=client_credentials", basic("app:x"), 401, "invalid_client|Invalid client authentication"},
		{"secret of a public client", "client_id=pub&client_secret=x&grant_type=client_credentials", "", 400, "invalid_request|client_secret is disallowed for public clients"},
		{"user without a key", me + "&grant_type=client_credentials&authenticated_userid=u", "", 400, "invalid_provision_key|Invalid provision_key"},
		{"wrong scope", me + "&grant_type=client_credentials&scope=wot", "", 400, `invalid_scope|"wot" is an invalid scope`},
		{"scope twice", me + "&grant_type=client_credentials&scope=a&scope=b", "", 400, "invalid_scope|scope must be a string"},
		{"password without a key", me + "&grant_type=password&authenticated_userid=u", "", 400, "invalid_provision_key|Invalid provision_key"},
		{"password without a user", me + "&grant_type=password&provision_key=provision", "", 400, "invalid_authenticated_userid|Missing authenticated_userid parameter"},
		{"unknown code", me + "&grant_type=authorization_code&code=x", "", 400, "invalid_request|Invalid code"},
		{"unknown refresh token", me + "&grant_type=refresh_token&refresh_token=x", "", 400, "invalid_request|Invalid refresh_token"},
		{"foreign address", me + "&grant_type=refresh_token&redirect_uri=http://evil.test/", "", 400, "invalid_request|Invalid redirect_uri that does not match with any redirect_uri created with the application"},
		{"no address", "client_id=bare&client_secret=secret&grant_type=password", "", 400, "invalid_client|Invalid client authentication"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t, "{"+all+"}")
			var lines []string
			if tt.line != "" {
				lines = []string{tt.line}
			}
			status, answer, x := g.post("/oauth2/token", tt.form+"&state=s", lines...)
			if got, _ := answer["error"].(string); status != tt.status || got+"|"+answer["error_description"].(string) != tt.want || answer["state"] != "s" {
				t.Errorf("answer = %d %v, want %d %q", status, answer, tt.status, tt.want)
			}
			if want := map[int]string{401: `Basic realm="OAuth2.0"`}[tt.status]; x.Early.Get("WWW-Authenticate") != want {
				t.Errorf("challenge = %q, want %q", x.Early.Get("WWW-Authenticate"), want)
			}
		})
	}
}

func TestClientCredentials(t *testing.T) {
	t.Parallel()
	g := newGate(t, `{"enable_client_credentials":true,"scopes":["email","user.email"]}`)
	for _, lines := range [][]string{nil, {"Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("app:secret"))}} {
		form := "grant_type=client_credentials&scope=user.email"
		if lines == nil {
			form += "&client_id=app&client_secret=secret"
		}
		status, answer := g.token(form, lines...)
		token, _ := answer["access_token"].(string)
		if status != 200 || len(token) != 32 || answer["token_type"] != "bearer" || answer["expires_in"] != 7200.0 || len(answer) != 3 {
			t.Fatalf("answer = %d %v", status, answer)
		}
		x := g.in(token)
		if x == nil {
			t.Fatal("the token lets nobody in")
		}
		h := &x.Request.Header
		if x.Consumer != bob || x.Credential.ID != "id-of-app" || h.Get("X-Credential-Identifier") != "app" || h.Get("X-Consumer-Username") != "bob" ||
			h.Get("X-Authenticated-Scope") != "user.email" || h.Count("X-Authenticated-UserId") != 0 {
			t.Errorf("upstream is told %v", h.Fields())
		}
	}
}

func TestHashedSecret(t *testing.T) {
	t.Parallel()
	g := newGate(t, `{"enable_client_credentials":true}`)
	// Made by Kong's own parameters, of "hello".
	key, secret, err := plugin.CredentialOf(plugin.OAuth2Clients, &entityv1.Oauth2Credential{
		ClientId: proto.String("h"), HashSecret: proto.Bool(true), ClientType: proto.String("confidential"),
		ClientSecret: proto.String("$pbkdf2-sha512$i=10000,l=32$c2FsdHNhbHRzYWx0c2FsdA$f3DJ5UHhvFR8ib5MJPNBi+GoTSdiLQxPVh3P0LJJJNU"),
	})
	if err != nil {
		t.Fatal(err)
	}
	g.dir.Credentials[[2]string{plugin.OAuth2Clients, key}] = &plugin.Credential{ID: "h", Kind: plugin.OAuth2Clients, Consumer: bob, Key: key, Secret: secret}
	if status, answer := g.token("grant_type=client_credentials&client_id=h&client_secret=hello"); status != 200 {
		t.Errorf("answer = %d %v", status, answer)
	}
	if status, _ := g.token("grant_type=client_credentials&client_id=h&client_secret=hallo"); status != 400 {
		t.Errorf("a wrong secret: %d", status)
	}
}

// authorized returns a code.
func (g *gate) authorized(more string) string {
	g.t.Helper()
	_, answer, _ := g.post("/oauth2/authorize", owner+"&response_type=code&scope=email"+more)
	redirect, _ := answer["redirect_uri"].(string)
	u, err := url.Parse(redirect)
	if err != nil || u.Query().Get("code") == "" {
		g.t.Fatalf("authorize = %v", answer)
	}
	return u.Query().Get("code")
}

func TestCodes(t *testing.T) {
	t.Parallel()
	const me = "client_id=app&client_secret=secret&grant_type=authorization_code&code="
	g := newGate(t, "{"+all+"}")
	g.dir.Credentials[[2]string{plugin.OAuth2Clients, "other"}] = application(t, "other", "confidential", "secret", false, "http://other.test/")
	code := g.authorized("")
	for name, form := range map[string]string{
		"another client": strings.Replace(me, "=app", "=other", 1) + code,
	} {
		if status, answer := g.token(form); status != 400 || answer["error_description"] != "Invalid code" {
			t.Errorf("%s: %d %v", name, status, answer)
		}
	}
	g.service = "service-2"
	if status, _ := g.token(me + code); status != 400 {
		t.Error("a code of another service is good")
	}
	g.service = "service-1"
	status, answer := g.token(me + code)
	token, _ := answer["access_token"].(string)
	refresh, _ := answer["refresh_token"].(string)
	if status != 200 || len(token) != 32 || len(refresh) != 32 || refresh == token {
		t.Fatalf("answer = %d %v", status, answer)
	}
	if x := g.in(token); x == nil || x.Request.Header.Get("X-Authenticated-UserId") != "u1" || x.Request.Header.Get("X-Authenticated-Scope") != "email" {
		t.Error("the token does not say whose it is")
	}
	if status, _ := g.token(me + code); status != 400 {
		t.Error("a code is good twice")
	}
	code = g.authorized("")
	g.host.Clock.Advance(5 * time.Minute)
	if status, _ := g.token(me + code); status != 400 {
		t.Error("a code is good after five minutes")
	}
}

func TestProof(t *testing.T) {
	t.Parallel()
	// RFC 7636 appendix B.
	const verifier, challenge = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	g := newGate(t, "{"+all+"}")
	for _, tt := range []struct{ verifier, want string }{
		{"", "invalid_request|code_verifier is required for PKCE authorization requests"},
		{"&code_verifier=", "invalid_request|code_verifier must be between 43 and 128 characters"},
		{"&code_verifier=short", "invalid_request|code_verifier must be between 43 and 128 characters"},
		{"&code_verifier=" + strings.Repeat("a", 129), "invalid_request|code_verifier must be between 43 and 128 characters"},
		{"&code_verifier=" + verifier + "&code_verifier=x", "invalid_request|code_verifier is not a string"},
		{"&code_verifier=" + strings.Repeat("a", 43), "invalid_grant|Invalid code"},
		{"&code_verifier=" + verifier, ""},
	} {
		code := g.authorized("&code_challenge=" + challenge + "%3D")
		status, answer := g.token("client_id=app&client_secret=secret&grant_type=authorization_code&code=" + code + tt.verifier)
		if tt.want == "" {
			if status != 200 {
				t.Errorf("the right verifier: %d %v", status, answer)
			}
			continue
		}
		if got, _ := answer["error"].(string); status != 400 || got+"|"+answer["error_description"].(string) != tt.want {
			t.Errorf("%q: %d %v, want %q", tt.verifier, status, answer, tt.want)
		}
	}
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	for _, reuse := range []string{"false", "true"} {
		g := newGate(t, `{"reuse_refresh_token":`+reuse+`,"token_expiration":60,`+all+`}`)
		const me = "client_id=app&client_secret=secret&"
		_, first := g.token(me + "grant_type=password&provision_key=provision&authenticated_userid=u1&scope=email")
		access, refresh := first["access_token"].(string), first["refresh_token"].(string)
		g.host.Clock.Advance(30 * time.Second)
		status, second := g.token(me + "grant_type=refresh_token&refresh_token=" + refresh)
		if status != 200 || second["access_token"] == access || (second["refresh_token"] == refresh) != (reuse == "true") {
			t.Fatalf("reuse %s: answer = %d %v", reuse, status, second)
		}
		if g.in(access) != nil {
			t.Errorf("reuse %s: a token that was renewed is good", reuse)
		}
		x := g.in(second["access_token"].(string))
		if x == nil || x.Request.Header.Get("X-Authenticated-UserId") != "u1" || x.Request.Header.Get("X-Authenticated-Scope") != "email" {
			t.Errorf("reuse %s: the new token does not say whose it is", reuse)
		}
		g.host.Clock.Advance(61 * time.Second)
		if g.in(second["access_token"].(string)) != nil {
			t.Errorf("reuse %s: a token is good after its time", reuse)
		}
		status, _ = g.token(me + "grant_type=refresh_token&refresh_token=" + refresh)
		if (status == 200) != (reuse == "true") {
			t.Errorf("reuse %s: the older refresh token: %d", reuse, status)
		}
		g.dir.Credentials[[2]string{plugin.OAuth2Clients, "other"}] = application(t, "other", "confidential", "s", false, "http://other.test/")
		_, third := g.token(me + "grant_type=password&provision_key=provision&authenticated_userid=u1&scope=email")
		status, answer := g.token("client_id=other&client_secret=s&grant_type=refresh_token&refresh_token=" + third["refresh_token"].(string))
		if status != 400 || answer["error"] != "invalid_client" {
			t.Errorf("another application's: %d %v", status, answer)
		}
		g.f.Config.Scopes = []string{"profile"}
		status, answer = g.token(me + "grant_type=refresh_token&refresh_token=" + third["refresh_token"].(string))
		if status != 400 || answer["error_description"] != "Scope mismatch" {
			t.Errorf("a scope that is gone: %d %v", status, answer)
		}
	}
}

func TestNeverExpires(t *testing.T) {
	t.Parallel()
	g := newGate(t, `{"token_expiration":0,`+all+`}`)
	_, answer := g.token("client_id=app&client_secret=secret&grant_type=password&provision_key=provision&authenticated_userid=u1")
	if answer["expires_in"] != nil || answer["refresh_token"] != nil {
		t.Errorf("answer = %v", answer)
	}
	g.host.Clock.Advance(10 * 365 * 24 * time.Hour)
	if g.in(answer["access_token"].(string)) == nil {
		t.Error("the token has ended")
	}
}

func TestAccess(t *testing.T) {
	t.Parallel()
	g := newGate(t, `{"realm":"r",`+all+`}`)
	_, answer := g.token("client_id=app&client_secret=secret&grant_type=client_credentials")
	token := answer["access_token"].(string)
	const missing, wrong = `Bearer realm="r"`, `Bearer realm="r" error="invalid_token" error_description="The access token is invalid or has expired"`
	form := []string{"Content-Type: application/x-www-form-urlencoded"}
	for _, tt := range []struct {
		name      string
		q         plugintest.Request
		challenge string // "": let in
	}{
		{"none", plugintest.Request{}, missing},
		{"bearer", plugintest.Request{Lines: []string{"Authorization: bearer " + token}}, ""},
		{"token", plugintest.Request{Lines: []string{"Authorization: Token  " + token}}, ""},
		{"no scheme", plugintest.Request{Lines: []string{"Authorization: " + token}}, ""},
		{"other scheme", plugintest.Request{Lines: []string{"Authorization: Basic " + token}}, wrong},
		{"query", plugintest.Request{Target: "/?access_token=" + token}, ""},
		{"query twice", plugintest.Request{Target: "/?access_token=" + token + "&access_token=x"}, missing},
		{"body", plugintest.Request{Method: "PUT", Body: "access_token=" + token, Lines: form}, ""},
		{"body of GET", plugintest.Request{Body: "access_token=" + token, Lines: form}, missing},
		{"header wins", plugintest.Request{Target: "/?access_token=" + token, Lines: []string{"Authorization: Bearer x"}}, wrong},
	} {
		x, v := g.ask(tt.q)
		if tt.challenge == "" {
			if v.Done() || x.Consumer != bob {
				t.Errorf("%s: %d", tt.name, v.Status())
			}
			continue
		}
		if v.Status() != 401 || x.Early.Get("WWW-Authenticate") != tt.challenge {
			t.Errorf("%s: %d %q, want 401 %q", tt.name, v.Status(), x.Early.Get("WWW-Authenticate"), tt.challenge)
		}
	}
	g.service = "service-2"
	if g.in(token) != nil {
		t.Error("a token of another service lets in")
	}
	g.service = "service-1"
	delete(g.dir.Credentials, [2]string{plugin.OAuth2Clients, "app"})
	if g.in(token) != nil {
		t.Error("a token of an application that is gone lets in")
	}
}

func TestHideCredentials(t *testing.T) {
	t.Parallel()
	g := newGate(t, `{"hide_credentials":true,`+all+`}`)
	_, answer := g.token("client_id=app&client_secret=secret&grant_type=client_credentials")
	token := answer["access_token"].(string)
	if x := g.in(token); x == nil || x.Request.Header.Count("Authorization") != 0 {
		t.Error("the upstream gets the header")
	}
	x, _ := g.ask(plugintest.Request{Target: "/?a=1&access_token=" + token})
	if x.Upstream.Query != "a=1" {
		t.Errorf("the upstream gets %q", x.Upstream.Query)
	}
	x, _ = g.ask(plugintest.Request{Method: "POST", Body: "a=1&access_token=" + token, Lines: []string{"Content-Type: application/x-www-form-urlencoded"}})
	if got := plugintest.Body(x); got != "a=1" || x.Consumer != bob {
		t.Errorf("the upstream gets %q", got)
	}
}

func TestGlobalCredentials(t *testing.T) {
	t.Parallel()
	g := newGate(t, `{"global_credentials":true,`+all+`}`)
	_, answer := g.token("client_id=app&client_secret=secret&grant_type=client_credentials")
	g.service = "service-2"
	if g.in(answer["access_token"].(string)) == nil {
		t.Error("a global token is not good at another service")
	}
	g.f.Config.GlobalCredentials = proto.Bool(false)
	x, v := g.ask(plugintest.Request{Lines: []string{"Authorization: Bearer " + answer["access_token"].(string)}})
	if _, body, _ := v.Raw(); v.Status() != 401 || x.Credential != nil || !strings.Contains(body, "The access token is global, but the current plugin is configured without 'global_credentials'") {
		t.Errorf("global token: %d %s", v.Status(), body)
	}
}

func TestAnonymous(t *testing.T) {
	t.Parallel()
	g := newGate(t, `{"anonymous":"anon",`+all+`}`)
	x, v := g.ask(plugintest.Request{Lines: []string{"Authorization: Bearer x", "X-Authenticated-Scope: forged"}})
	h := &x.Request.Header
	if v.Done() || x.Consumer.Username != "anon" || h.Get("X-Anonymous-Consumer") != "true" || h.Count("X-Authenticated-Scope") != 0 {
		t.Errorf("anonymous: %d, upstream is told %v", v.Status(), h.Fields())
	}
	x = plugintest.Request{Lines: []string{"X-Authenticated-UserId: forged"}}.Exchange()
	x.Directory, x.Consumer, x.Credential = g.dir, bob, &plugin.Credential{ID: "key", Consumer: bob}
	if v := g.f.OnRequest(x); v.Done() || x.Credential.ID != "key" || x.Request.Header.Count("X-Authenticated-UserId") != 0 {
		t.Error("an earlier consumer is not kept")
	}
}

// TestTokensOfOperators: they let in, and can be renewed once.
func TestTokensOfOperators(t *testing.T) {
	t.Parallel()
	g := newGate(t, "{"+all+"}")
	own := &plugin.Token{
		ID: "t", Credential: "id-of-app", Service: "service-1", Access: "brought", Refresh: "renew", User: "u9", Scope: "email",
		Issued: g.host.Clock.Now(), ExpiresIn: time.Minute,
	}
	g.dir.Tokens["brought"], g.dir.Tokens["renew"] = own, own
	if x := g.in("brought"); x == nil || x.Request.Header.Get("X-Authenticated-UserId") != "u9" {
		t.Fatal("the token lets nobody in")
	}
	if g.in("renew") != nil {
		t.Error("a refresh token lets in")
	}
	status, answer := g.token("client_id=app&client_secret=secret&grant_type=refresh_token&refresh_token=renew")
	if status != 200 || g.in(answer["access_token"].(string)) == nil || g.in("brought") != nil {
		t.Errorf("renewed: %d %v", status, answer)
	}
	if status, _ := g.token("client_id=app&client_secret=secret&grant_type=refresh_token&refresh_token=renew"); status != 400 {
		t.Error("it is renewed twice")
	}
	own.Access, own.Issued = "other", g.host.Clock.Now().Add(-2*time.Minute)
	g.dir.Tokens["other"] = own
	if g.in("other") != nil {
		t.Error("a token is good after its time")
	}
}

// TestStoreAway: who has a token is neither let in nor told that it is wrong.
func TestStoreAway(t *testing.T) {
	t.Parallel()
	g := newGate(t, "{"+all+"}")
	g.host.Kept.Fail(errors.New("away"))
	for _, q := range []plugintest.Request{
		{Lines: []string{"Authorization: Bearer x"}},
		{Method: "POST", Target: "/oauth2/token", Body: "grant_type=client_credentials&client_id=app&client_secret=secret", Lines: []string{"Content-Type: application/x-www-form-urlencoded"}},
	} {
		if x, v := g.ask(q); v.Status() != 500 || x.Credential != nil {
			t.Errorf("%s: %d", q.Target, v.Status())
		}
	}
}

func FuzzParameters(f *testing.F) {
	f.Add("grant_type=password&code=%zz", "application/x-www-form-urlencoded", "Basic OmE6")
	f.Add(`{"grant_type":1,"code":["a"]}`, "application/json", "Bearer")
	f.Fuzz(func(t *testing.T, body, kind, header string) {
		c := &Config{EnablePasswordGrant: proto.Bool(true)}
		fl, err := New(c, plugintest.NewHost())
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/", "/oauth2/token", "/oauth2/authorize"} {
			x := plugintest.Request{Method: "POST", Target: path, Body: body}.Exchange()
			x.Request.Header.Append("Content-Type", kind)
			x.Request.Header.Append("Authorization", header)
			x.Request.Scheme = "https"
			if v := fl.(*filter).OnRequest(x); v.Status() < 400 {
				t.Errorf("%s is answered %d", path, v.Status())
			}
		}
	})
}

// meeting is records of which all who read one of a kind wait for each other.
type meeting struct {
	plugin.Records
	kind string
	all  sync.WaitGroup
}

func (m *meeting) Get(ctx context.Context, kind, key string) ([]byte, error) {
	raw, err := m.Records.Get(ctx, kind, key)
	if kind == m.kind {
		m.all.Done()
		m.all.Wait()
	}
	return raw, err
}

// TestCodeIsSpentOnce has many exchange one code, and renew one token, at once: all have read it
// before the first takes it.
func TestCodeIsSpentOnce(t *testing.T) {
	t.Parallel()
	const me = "client_id=app&client_secret=secret&"
	for _, kind := range []string{codeRecords, refreshRecords} {
		g := newGate(t, "{"+all+"}")
		form := "grant_type=authorization_code&code="
		if kind == codeRecords {
			form += g.authorized("")
		} else {
			_, first := g.token(me + "grant_type=password&provision_key=provision&authenticated_userid=u1")
			form = "grant_type=refresh_token&refresh_token=" + first["refresh_token"].(string)
		}
		m := &meeting{Records: g.f.records, kind: kind}
		m.all.Add(8)
		g.f.records = m
		var won atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if status, _ := g.token(me + form); status == 200 {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Errorf("%s: %d got a token, want 1", kind, won.Load())
		}
	}
}
