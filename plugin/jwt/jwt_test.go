package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

var (
	bob = &plugin.Consumer{ID: "11111111-1111-4111-8111-000000003001", Username: "bob", CustomID: "cb"}
	now = time.Unix(1700000000, 0)
)

// recordedKey is the key of the credential iss-rs in transcript 13.
const recordedKey = "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA1fnkZ4NiriuktpmyRDDd\n607IyYpcoLvFDkGm56vG474X5smuvMIFlW1uTlOIX8uHh5cTAi+zSAwuPbr6paxi\nYc6y3KFnGQxkjtI1J6jnq5wWfzyPvH6OAHEZ5O/pR85EdeDDRmCtvEXRTIT4qmkq\na6l42+py59WOom9CLyUgTZyoms0kMh74jHrrppwa3K1jbxMElQIaXIa/huAE4Pjp\nlcYhlNoZObS5hdyhNlpaYJporgaINlrX+1BXO/nzSaf4jnHev1s5zyVeJFug0ZpW\ngclZxeitk76g/9aKOt44zCJZDyf6GBnZj3aZIWkZw3MQHZ0W3LBGk5m83mGiJNEI\n0QIDAQAB\n-----END PUBLIC KEY-----\n"

// config has the defaults of the schema.
func config(change func(*Config)) *Config {
	c := &Config{UriParamNames: []string{"jwt"}, HeaderNames: []string{"authorization"}}
	if change != nil {
		change(c)
	}
	return c
}

func build(t testing.TB, c *Config) plugin.RequestFilter {
	t.Helper()
	f, err := New(c, plugintest.NewHost())
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return f.(plugin.RequestFilter)
}

func credential(t testing.TB, m *entityv1.JwtSecret) *plugin.Credential {
	t.Helper()
	key, secret, err := plugin.CredentialOf(plugin.JWTCredentials, m)
	if err != nil {
		t.Fatal(err)
	}
	return &plugin.Credential{ID: "id-of-" + key, Kind: plugin.JWTCredentials, Consumer: bob, Key: key, Secret: secret}
}

func recordedDirectory(t testing.TB) *plugintest.Directory {
	return plugintest.NewDirectory(
		credential(t, &entityv1.JwtSecret{Key: proto.String("iss-hs"), Secret: proto.String("jwtsecret")}),
		credential(t, &entityv1.JwtSecret{Key: proto.String("iss-rs"), Algorithm: proto.String("RS256"), RsaPublicKey: proto.String(recordedKey)}),
	)
}

// TestRecorded replays what a live Kong 3.9.1 answered on the routes of transcript 13.
func TestRecorded(t *testing.T) {
	t.Parallel()
	d := recordedDirectory(t)
	routes := map[string]plugin.RequestFilter{
		"/q10": build(t, config(nil)),
		"/q11": build(t, config(func(c *Config) {
			c.ClaimsToVerify, c.MaximumExpiration = []string{"exp", "nbf"}, proto.Float64(3600)
		})),
		"/q12": build(t, &Config{CookieNames: []string{"jt"}, HeaderNames: []string{"X-JWT"}, UriParamNames: []string{"tok"}, KeyClaimName: proto.String("kid")}),
	}
	all := plugintest.Transcript(t, "13-proxy-auth", "jwt")
	if len(all) != 16 {
		t.Errorf("%d recorded requests, want 16", len(all))
	}
	for _, r := range all {
		t.Run(r.Name, func(t *testing.T) {
			t.Parallel()
			x := r.AsRequest().Exchange()
			x.Directory, x.Times.Start = d, now
			f := routes[x.Request.Path]
			if f == nil {
				t.Fatalf("no route for %q", x.Request.Path)
			}
			v := f.OnRequest(x)
			if r.Response.Status == 200 {
				want := r.Response.Echo.Headers["x-credential-identifier"]
				if got := x.Request.Header.Get("X-Credential-Identifier"); v.Done() || !slices.Equal([]string{got}, want) || x.Consumer != bob {
					t.Errorf("OnRequest = %d, credential %q, want %q", v.Status(), got, want)
				}
				return
			}
			contentType, body, _ := v.Raw()
			if v.Status() != r.Response.Status || !sameJSON(t, body, r.Response.Text) || contentType != r.Header("content-type") {
				t.Errorf("OnRequest = %d %q %s, want %d %s", v.Status(), contentType, body, r.Response.Status, r.Response.Text)
			}
			if got := x.Early.Get("WWW-Authenticate"); got != r.Header("www-authenticate") {
				t.Errorf("challenge = %q, want %q", got, r.Header("www-authenticate"))
			}
		})
	}
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return false
	}
	return reflect.DeepEqual(x, y)
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// sign makes a token with an HMAC of the secret.
func sign(head, claims, secret string) string {
	signed := encode(head) + "." + encode(claims)
	mac := hmac.New(crypto.SHA256.New, []byte(secret))
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

const hs256 = `{"alg":"HS256"}`

func ask(t testing.TB, f plugin.RequestFilter, d plugin.Directory, r plugintest.Request) (plugin.Verdict, *plugin.Exchange) {
	t.Helper()
	x := r.Exchange()
	x.Directory, x.Times.Start = d, now
	return f.OnRequest(x), x
}

func TestTokens(t *testing.T) {
	t.Parallel()
	d := recordedDirectory(t)
	f := build(t, config(func(c *Config) { c.Realm = proto.String("x") }))
	good := sign(hs256, `{"iss":"iss-hs"}`, "jwtsecret")
	tests := []struct{ name, token, want string }{
		{"good", good, ""},
		{"padded", good + "=", ""},
		{"no parts", "abc", "Bad token; invalid JSON"},
		{"four parts", good + ".x", "Bad token; invalid signature"},
		{"head is no JSON", encode("{") + "." + encode("{}") + ".", "Bad token; invalid JSON"},
		{"head is no base64", "!." + encode("{}") + ".", "Bad token; invalid JSON"},
		{"head is no object", encode("1") + "." + encode("{}") + ".", "Bad token; invalid alg"},
		{"no algorithm", encode("{}") + "." + encode("{}") + ".", "Bad token; invalid alg"},
		{"algorithm is no text", encode(`{"alg":256}`) + "." + encode("{}") + ".", "Bad token; invalid alg"},
		{"unknown algorithm", encode(`{"alg":"HS255"}`) + "." + encode("{}") + ".", "Bad token; invalid alg"},
		{"claims are no object", encode(hs256) + "." + encode("[]") + ".", "Bad token; invalid claims"},
		{"claims are null", encode(hs256) + "." + encode("null") + ".", "Bad token; invalid claims"},
		{"signature is no base64", encode(hs256) + "." + encode("{}") + ".!", "Bad token; invalid signature"},
		{"no issuer", sign(hs256, `{"sub":"iss-hs"}`, "jwtsecret"), "No mandatory 'iss' in claims"},
		{"empty issuer", sign(hs256, `{"iss":""}`, "jwtsecret"), "Invalid 'iss' in claims"},
		{"issuer in the head", sign(`{"alg":"HS256","iss":"iss-hs"}`, `{}`, "jwtsecret"), ""},
		{"issuer is a number", sign(hs256, `{"iss":7}`, "jwtsecret"), "No credentials found for given 'iss'"},
		{"other secret", sign(hs256, `{"iss":"iss-hs"}`, "jwtsecreT"), "Invalid signature"},
		{"no signature", encode(hs256) + "." + encode(`{"iss":"iss-hs"}`) + ".", "Invalid signature"},
		{"the public key as a secret", sign(hs256, `{"iss":"iss-rs"}`, recordedKey), "Invalid algorithm"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v, x := ask(t, f, d, plugintest.Request{Lines: []string{"Authorization: bearer " + tt.token}})
			_, body, _ := v.Raw()
			want, challenge := "", ""
			if tt.want != "" {
				want, challenge = `{"message":"`+tt.want+`"}`, `Bearer realm="x" error="invalid_token"`
			}
			if body != want || x.Early.Get("WWW-Authenticate") != challenge {
				t.Errorf("OnRequest = %d %s %q, want %q", v.Status(), body, x.Early.Get("WWW-Authenticate"), want)
			}
		})
	}
}

func TestSources(t *testing.T) {
	t.Parallel()
	d := recordedDirectory(t)
	f := build(t, &Config{UriParamNames: []string{"jwt", "t"}, CookieNames: []string{"c", "b"}, HeaderNames: []string{"authorization", "x_jwt"}})
	good := sign(hs256, `{"iss":"iss-hs"}`, "jwtsecret")
	tests := []struct {
		name    string
		request plugintest.Request
		status  int
	}{
		{"none", plugintest.Request{}, 401},
		{"argument", plugintest.Request{Target: "/?t=" + good}, 0},
		{"empty argument", plugintest.Request{Target: "/?t=&jwt"}, 401},
		{"cookie among others", plugintest.Request{Lines: []string{"Cookie: a=1; b=" + good + "; c="}}, 0},
		{"cookie of another line", plugintest.Request{Lines: []string{"Cookie: a=1", "Cookie: c=" + good}}, 0},
		{"header with dashes", plugintest.Request{Lines: []string{"X-Jwt: Bearer " + good}}, 0},
		{"scheme without space", plugintest.Request{Lines: []string{"Authorization: Bearer" + good}}, 401},
		{"scheme after something", plugintest.Request{Lines: []string{"Authorization: x Bearer  " + good}}, 0},
		{"the same twice", plugintest.Request{Target: "/?t=" + good, Lines: []string{"Authorization: Bearer " + good}}, 0},
		{"two in one place", plugintest.Request{Target: "/?t=" + good + "&t=x"}, 401},
		{"second line of a header", plugintest.Request{Lines: []string{"Authorization: Bearer " + good, "Authorization: Bearer x"}}, 0},
	}
	if v, _ := ask(t, f, d, plugintest.Request{Target: "/?jwt"}); v.Status() != 401 || !strings.Contains(fmt.Sprintln(v.Raw()), "Unrecognizable token") {
		t.Errorf("an argument without a value: %v", v)
	}
	for _, tt := range tests {
		if v, _ := ask(t, f, d, tt.request); v.Status() != tt.status {
			_, body, _ := v.Raw()
			t.Errorf("%s: OnRequest = %d %s, want %d", tt.name, v.Status(), body, tt.status)
		}
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	d := recordedDirectory(t)
	both := config(func(c *Config) { c.ClaimsToVerify = []string{"exp", "nbf"} })
	ahead := config(func(c *Config) { c.ClaimsToVerify, c.MaximumExpiration = []string{"exp"}, proto.Float64(60) })
	tests := []struct {
		config *Config
		claims string
		want   string
	}{
		{both, `"exp":1700000001,"nbf":1700000000`, ``},
		{both, `"exp":1700000000,"nbf":1700000000`, `{"exp":"token expired"}`},
		{both, `"exp":1700000001,"nbf":1700000001`, `{"nbf":"token not valid yet"}`},
		{both, `"exp":1,"nbf":1700000001`, `{"exp":"token expired","nbf":"token not valid yet"}`},
		{both, `"exp":null,"nbf":"1"`, `{"exp":"must be a number","nbf":"must be a number"}`},
		{ahead, `"exp":1700000060`, ``},
		{ahead, `"exp":1700000061`, `{"exp":"exceeds maximum allowed expiration"}`},
		{config(nil), `"exp":1`, ``},
	}
	for _, tt := range tests {
		token := sign(hs256, `{"iss":"iss-hs",`+tt.claims+`}`, "jwtsecret")
		v, _ := ask(t, build(t, tt.config), d, plugintest.Request{Lines: []string{"Authorization: Bearer " + token}})
		_, body, _ := v.Raw()
		if body != tt.want && !sameJSON(t, body, tt.want) {
			t.Errorf("%s: OnRequest = %s, want %s", tt.claims, body, tt.want)
		}
	}
}

// TestAlgorithms signs with the standard library by every algorithm, and with every other.
func TestAlgorithms(t *testing.T) {
	t.Parallel()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]crypto.Signer{"EdDSA": edKey}
	var credentials []*plugin.Credential
	for size, curve := range map[string]elliptic.Curve{"256": elliptic.P256(), "384": elliptic.P384(), "512": elliptic.P521()} {
		ec, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys["ES"+size], keys["RS"+size], keys["PS"+size] = ec, rsaKey, rsaKey
		credentials = append(credentials, credential(t, &entityv1.JwtSecret{
			Key: proto.String("HS" + size), Algorithm: proto.String("HS" + size), Secret: proto.String("secret"),
		}))
	}
	for algorithm, key := range keys {
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		text := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		credentials = append(credentials, credential(t, &entityv1.JwtSecret{Key: &algorithm, Algorithm: &algorithm, RsaPublicKey: &text}))
	}
	if len(credentials) != 13 {
		t.Fatalf("%d algorithms, want 13", len(credentials))
	}
	d := plugintest.NewDirectory(credentials...)
	f := build(t, config(nil))
	for _, c := range credentials {
		t.Run(c.Key, func(t *testing.T) {
			t.Parallel()
			signed := encode(fmt.Sprintf(`{"alg":%q}`, c.Key)) + "." + encode(fmt.Sprintf(`{"iss":%q}`, c.Key))
			signature := signature(t, c.Key, signed, keys[c.Key])
			for _, tt := range []struct {
				name, token string
				status      int
			}{
				{"good", signed + "." + encode(signature), 0},
				{"changed", signed + "." + encode(string(signature[0]^1)+signature[1:]), 401},
				{"cut", signed + "." + encode(signature[:len(signature)-1]), 401},
				{"none", signed + ".", 401},
				{"zeros", signed + "." + encode(strings.Repeat("\x00", len(signature))), 401},
			} {
				if v, _ := ask(t, f, d, plugintest.Request{Lines: []string{"Authorization: Bearer " + tt.token}}); v.Status() != tt.status {
					_, body, _ := v.Raw()
					t.Errorf("%s signature: %d %s, want %d", tt.name, v.Status(), body, tt.status)
				}
			}
		})
	}
}

func signature(t *testing.T, algorithm, signed string, key crypto.Signer) string {
	t.Helper()
	if algorithm == "EdDSA" {
		return string(ed25519.Sign(key.(ed25519.PrivateKey), []byte(signed)))
	}
	hash := hashes[algorithm[2:]]
	if algorithm[:2] == "HS" {
		mac := hmac.New(hash.New, []byte("secret"))
		mac.Write([]byte(signed))
		return string(mac.Sum(nil))
	}
	h := hash.New()
	h.Write([]byte(signed))
	var b []byte
	var err error
	switch algorithm[:2] {
	case "RS":
		b, err = rsa.SignPKCS1v15(rand.Reader, key.(*rsa.PrivateKey), hash, h.Sum(nil))
	case "PS":
		b, err = rsa.SignPSS(rand.Reader, key.(*rsa.PrivateKey), hash, h.Sum(nil), nil)
	case "ES":
		r, s, e := ecdsa.Sign(rand.Reader, key.(*ecdsa.PrivateKey), h.Sum(nil))
		if err = e; err == nil {
			b = make([]byte, 2*curves[algorithm[2:]])
			r.FillBytes(b[:len(b)/2])
			s.FillBytes(b[len(b)/2:])
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSecretsInBase64(t *testing.T) {
	t.Parallel()
	f := build(t, config(func(c *Config) { c.SecretIsBase64 = proto.Bool(true) }))
	for stored, want := range map[string]string{
		base64.StdEncoding.EncodeToString([]byte("\xfb\xff\xfe~")): "",
		base64.URLEncoding.EncodeToString([]byte("\xfb\xff\xfe~")): "",
		"!": `{"message":"Invalid key/secret"}`,
		"=": `{"message":"Invalid key/secret"}`,
	} {
		d := plugintest.NewDirectory(credential(t, &entityv1.JwtSecret{Key: proto.String("k"), Secret: &stored}))
		v, _ := ask(t, f, d, plugintest.Request{Lines: []string{"Authorization: Bearer " + sign(hs256, `{"iss":"k"}`, "\xfb\xff\xfe~")}})
		if _, body, _ := v.Raw(); body != want {
			t.Errorf("secret %q: %s, want %s", stored, body, want)
		}
	}
	// An empty secret would let anybody in.
	d := plugintest.NewDirectory(credential(t, &entityv1.JwtSecret{Key: proto.String("k")}))
	v, _ := ask(t, build(t, config(nil)), d, plugintest.Request{Lines: []string{"Authorization: Bearer " + sign(hs256, `{"iss":"k"}`, "")}})
	if _, body, _ := v.Raw(); body != `{"message":"Invalid key/secret"}` {
		t.Errorf("empty secret: %s", body)
	}
}

func TestPreflightAndAnonymous(t *testing.T) {
	t.Parallel()
	d := recordedDirectory(t)
	anon := &plugin.Consumer{ID: "a", Username: "anon"}
	d.AddConsumer(anon)
	options := plugintest.Request{Method: "OPTIONS"}
	if v, _ := ask(t, build(t, config(nil)), d, options); v.Status() != 401 {
		t.Errorf("OPTIONS = %d, want 401", v.Status())
	}
	if v, x := ask(t, build(t, config(func(c *Config) { c.RunOnPreflight = proto.Bool(false) })), d, options); v.Done() || x.Consumer != nil {
		t.Errorf("OPTIONS that is not asked = %d", v.Status())
	}
	f := build(t, config(func(c *Config) { c.Anonymous = proto.String("anon") }))
	if v, x := ask(t, f, d, plugintest.Request{Lines: []string{"Authorization: Bearer x"}}); v.Done() || x.Consumer != anon || x.Early.Len() != 0 {
		t.Errorf("anonymous: %d, %v", v.Status(), x.Consumer)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []*Config{{ClaimsToVerify: []string{"iat"}}, {MaximumExpiration: proto.Float64(1)}} {
		if _, err := New(c, plugintest.NewHost()); err == nil || !strings.Contains(err.Error(), "config.claims_to_verify") {
			t.Errorf("New(%v) = %v, want a complaint", c, err)
		}
	}
}

// FuzzToken has any text stand for a token: nobody gets in without the secret.
func FuzzToken(f *testing.F) {
	good := sign(hs256, `{"iss":"iss-hs"}`, "jwtsecret")
	f.Add(good[:len(good)-1])
	f.Add("e30.e30.")
	f.Add(encode(`{"alg":"ES256"}`) + "." + encode(`{"iss":"iss-rs","exp":1e999}`) + "." + encode(strings.Repeat("\x00", 64)))
	d := recordedDirectory(f)
	g := build(f, config(func(c *Config) { c.ClaimsToVerify = []string{"exp"} }))
	f.Fuzz(func(t *testing.T, text string) {
		v, _ := ask(t, g, d, plugintest.Request{Lines: []string{"Authorization: Bearer " + text}})
		if _, body, _ := v.Raw(); v.Status() != 401 || !json.Valid([]byte(body)) {
			t.Errorf("OnRequest(%q) = %d %s", text, v.Status(), body)
		}
	})
}

func BenchmarkHS256(b *testing.B) {
	x := plugintest.Request{Lines: []string{"Authorization: Bearer " + sign(hs256, `{"iss":"iss-hs"}`, "jwtsecret")}}.Exchange()
	x.Directory = recordedDirectory(b)
	f := build(b, config(nil))
	b.ReportAllocs()
	for b.Loop() {
		f.OnRequest(x)
	}
}
