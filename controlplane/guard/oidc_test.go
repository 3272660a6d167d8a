package guard

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
)

// issuer is an issuer of tokens on a real address.
type issuer struct {
	*httptest.Server
	mu      sync.Mutex
	keys    jose.JSONWebKeySet
	fetched int // how often the keys were read
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys", "id_token_signing_alg_values_supported": []string{"RS256", "HS256", "none"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.fetched++
		_ = json.NewEncoder(w).Encode(i.keys)
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

// publish makes the keys of a name known, and no others.
func (i *issuer) publish(id string, public any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: public, KeyID: id, Use: "sig"}}}
}

func sign(t *testing.T, alg jose.SignatureAlgorithm, id string, key any, claims map[string]any) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: id}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := s.Sign(body)
	if err != nil {
		t.Fatal(err)
	}
	text, err := sig.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestOIDC(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	old, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	next, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i.publish("old", old.Public())
	o, err := NewOIDC(OIDCOptions{
		Issuer: i.URL, Audience: "sekifuda", NameClaim: "email", RoleClaim: "realm.roles",
		Roles: map[string]Grant{"gw-admins": {Role: Admin}, "devs": {Role: Editor}, "all": {Role: Viewer}}, Client: &http.Client{Timeout: 5 * time.Second}, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	g := New(Options{OIDC: o})
	claims := func(change map[string]any) map[string]any {
		c := map[string]any{
			"iss": i.URL, "aud": []string{"other", "sekifuda"}, "sub": "u-1", "email": "ann@h.test",
			"exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(), "realm": map[string]any{"roles": []string{"all", "devs"}},
		}
		for k, v := range change {
			if c[k] = v; v == nil {
				delete(c, k)
			}
		}
		return c
	}
	good := func(change map[string]any) string { return sign(t, jose.RS256, "old", old, claims(change)) }
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(old.Public()))})
	part := func(v any) string { return base64.RawURLEncoding.EncodeToString(must(json.Marshal(v))) }
	none := part(map[string]any{"alg": "none", "kid": "old"}) + "." + part(claims(nil)) + "."
	for _, c := range []struct {
		name, token string
		kind        refusalKind // of a refusal
		refused     string      // "" when it is none
		who         string
		role        Role
	}{
		{"good", good(nil), 0, "", "ann@h.test", Editor},
		{"the subject names who has no e-mail", good(map[string]any{"email": nil}), 0, "", "u-1", Editor},
		{"the highest role counts", good(map[string]any{"realm": map[string]any{"roles": []string{"devs", "gw-admins", "odd"}}}), 0, "", "ann@h.test", Admin},
		{"one role as text", good(map[string]any{"realm": map[string]any{"roles": "all"}}), 0, "", "ann@h.test", Viewer},
		{"no role", good(map[string]any{"realm": map[string]any{"roles": []string{"admin"}}}), forbidden, "the claim realm.roles of the token names none", "", 0},
		{"a claim of another form", good(map[string]any{"realm": "devs"}), forbidden, "has no role here", "", 0},
		{"expired", good(map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}), unknown, "the token expired at", "", 0},
		{"without an end", good(map[string]any{"exp": nil}), unknown, "expired", "", 0},
		{"not yet", good(map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}), unknown, "before the nbf", "", 0},
		{"for another audience", good(map[string]any{"aud": "other"}), unknown, "audience", "", 0},
		{"of another issuer", good(map[string]any{"iss": "https://evil.test"}), unknown, "different provider", "", 0},
		{"unsigned", none, unknown, "not taken", "", 0},
		{"the public key as a secret", sign(t, jose.HS256, "old", public, claims(nil)), unknown, "not taken", "", 0},
		{"a key that nobody knows", sign(t, jose.ES256, "old", next, claims(nil)), unknown, "not taken", "", 0},
		{"damaged", good(nil)[:80] + "x" + good(nil)[81:], unknown, "not taken", "", 0},
		{"no JWT", "hello", unknown, "no JWT of", "", 0},
		{"nothing", "", unknown, "a token of " + i.URL, "", 0},
	} {
		who, err := g.who(t.Context(), proof{token: c.token})
		var no *refusal
		switch {
		case c.refused == "":
			if err != nil || who.name != c.who || who.role != c.role {
				t.Errorf("%s: %+v, %v, want %s as %v", c.name, who, err, c.who, c.role)
			}
		case !errors.As(err, &no) || no.kind != c.kind || !strings.Contains(no.text, c.refused):
			t.Errorf("%s: %+v, %v, want a refusal %q", c.name, who, err, c.refused)
		}
	}

	rotated := sign(t, jose.ES256, "next", next, claims(nil))
	if _, err := g.who(t.Context(), proof{token: rotated}); err == nil {
		t.Error("a token of a key that is not published is taken")
	}
	i.publish("next", next.Public())
	if who, err := g.who(t.Context(), proof{token: rotated}); err != nil || who.role != Editor {
		t.Errorf("a token of the new key = %+v, %v", who, err)
	}
	if _, err := g.who(t.Context(), proof{token: good(nil)}); err == nil {
		t.Error("a token of a key that was withdrawn is taken")
	}
	before := i.fetched
	for range 20 {
		if _, err := g.who(t.Context(), proof{token: rotated}); err != nil {
			t.Fatal(err)
		}
	}
	if i.fetched != before {
		t.Errorf("the keys were read %d times more for tokens of a key that is known", i.fetched-before)
	}
	i.Close()
	if _, err := g.who(t.Context(), proof{token: rotated}); err != nil {
		t.Errorf("with the issuer away, a token of a known key = %v", err)
	}
	var no *refusal
	if _, err := g.who(t.Context(), proof{token: good(nil)}); !errors.As(err, &no) || no.kind != unreachable {
		t.Errorf("with the issuer away, a token of a key that is not known = %v, want unreachable", err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestOIDCUnreachable has an issuer that never answered: that is no fault of who asks, and a static
// token does without it.
func TestOIDCUnreachable(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	i.Close()
	o, err := NewOIDC(OIDCOptions{Issuer: i.URL, Audience: "a", RoleClaim: "roles", Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := ParseTokens([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	g := New(Options{Tokens: tokens, OIDC: o})
	ask := func(token string) int {
		r := httptest.NewRequest(http.MethodGet, "/services", bytes.NewReader(nil))
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		g.HTTP(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, r)
		return w.Code
	}
	if code := ask("a.b.c"); code != http.StatusServiceUnavailable {
		t.Errorf("REST with a token of an issuer that is away: %d, want 503", code)
	}
	if code := ask("token-of-ann-0123456789"); code != http.StatusOK {
		t.Errorf("REST with a static token: %d, want 200", code)
	}
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", "Bearer a.b.c"))
	_, err = g.Unary(ctx, nil, &grpc.UnaryServerInfo{FullMethod: controlv1.ConfigService_List_FullMethodName},
		func(context.Context, any) (any, error) { return nil, nil })
	if grpcstatus.Code(err) != codes.Unavailable {
		t.Errorf("gRPC with a token of an issuer that is away = %v, want Unavailable", err)
	}
	for _, bad := range []OIDCOptions{
		{Issuer: "http://issuer.test", Audience: "a"}, {Issuer: "issuer", Audience: "a"}, {Issuer: "https://issuer.test"}, {Issuer: "ftp://127.0.0.1", Audience: "a"},
	} {
		if _, err := NewOIDC(bad); err == nil {
			t.Errorf("NewOIDC(%+v) = nil", bad)
		}
	}
	for _, bad := range []string{"x", "x=boss", "=admin", "a=admin,,"} {
		if _, err := ParseRoles(bad); err == nil {
			t.Errorf("ParseRoles(%q) = nil", bad)
		}
	}
	if all, err := ParseRoles("cn=a,dc=b=editor"); err == nil {
		t.Errorf("ParseRoles = %v", all) // a comma within a value cannot be said
	}
}
