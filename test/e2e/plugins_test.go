package e2e

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

// browser sends requests by TLS, whatever the certificate.
var browser = &http.Client{Transport: &http.Transport{
	TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true, //nolint:gosec // the gate makes its own
}}

// shown sends a request with header lines and returns the answer and its body.
func shown(t *testing.T, method, url, body string, lines ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	answer, err := browser.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	out, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(out)
}

// who is an upstream that says what it is told of the client.
func who(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s|%s", r.Header.Get("X-Consumer-Username"), r.Header.Get("X-Authenticated-Scope"))
	}))
	t.Cleanup(s.Close)
	return s
}

// accounts configures a route of tokens and one of sessions.
func accounts(t *testing.T, admin, upstream string) {
	t.Helper()
	put(t, admin+"/services/up", `{"url":"`+upstream+`"}`)
	put(t, admin+"/services/up/routes/tokens", `{"paths":["/tokens"]}`)
	put(t, admin+"/services/up/routes/sessions", `{"paths":["/sessions"]}`)
	put(t, admin+"/consumers/bob", `{}`)
	put(t, admin+"/consumers/bob/oauth2/app", `{"name":"app","client_secret":"s3cret","hash_secret":true}`)
	put(t, admin+"/consumers/anon", `{}`)
	create := func(path, body string) {
		t.Helper()
		if code, out := call(t, http.MethodPost, admin+path, body); code != http.StatusCreated {
			t.Fatalf("POST %s: %d %s", path, code, out)
		}
	}
	create("/consumers/bob/key-auth", `{"key":"word"}`)
	create("/routes/tokens/plugins", `{"name":"oauth2","config":{"enable_client_credentials":true,"scopes":["email"]}}`)
	create("/routes/sessions/plugins", `{"name":"key-auth","config":{"anonymous":"anon"}}`)
	create("/routes/sessions/plugins", `{"name":"session","config":{"storage":"kong","secret":"x"}}`)
}

// entered logs in at a gate, by TLS: with a token and with a session's cookie.
func entered(t *testing.T, proxy string) (token, cookie string) {
	t.Helper()
	answer, body := shown(t, "POST", proxy+"/tokens/oauth2/token", "grant_type=client_credentials&client_id=app&client_secret=s3cret&scope=email",
		"Content-Type: application/x-www-form-urlencoded")
	var given struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(body), &given); err != nil || given.Token == "" {
		t.Fatalf("token: %d %s", answer.StatusCode, body)
	}
	answer, body = shown(t, "GET", proxy+"/sessions", "", "apikey: word")
	for _, c := range answer.Cookies() {
		if c.Name == "session" {
			cookie = "session=" + c.Value
		}
	}
	if body != "bob|" || cookie == "" {
		t.Fatalf("session: %d %s, cookies %v", answer.StatusCode, body, answer.Cookies())
	}
	return "Authorization: Bearer " + given.Token, "Cookie: " + cookie
}

// known checks that a gate lets both in, and nobody without them.
func known(t *testing.T, proxy, token, cookie string) {
	t.Helper()
	for _, c := range []struct{ path, line, want string }{
		{"/tokens", token, "bob|email"}, {"/sessions", cookie, "bob|"}, {"/sessions", "Cookie: session=x", "anon|"},
	} {
		if answer, body := shown(t, "GET", proxy+c.path, "", c.line); body != c.want {
			t.Errorf("%s with %.16q: %d %q, want %q", c.path, c.line, answer.StatusCode, body, c.want)
		}
	}
	if answer, _ := shown(t, "GET", proxy+"/tokens", "", token+"x"); answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("a wrong token: %d", answer.StatusCode)
	}
}

// TestTokensAndSessionsOutliveTheirGate kills a gate that has no Redis.
func TestTokensAndSessionsOutliveTheirGate(t *testing.T) {
	t.Parallel()
	p := run(t, t.TempDir())
	accounts(t, p.URLs["admin"], who(t).URL)
	token, cookie := entered(t, p.URLs["proxy TLS"])
	known(t, p.URLs["proxy TLS"], token, cookie)
	p.Kill()
	p.Restart()
	p.WaitReady()
	known(t, p.URLs["proxy TLS"], token, cookie)
}

// TestTokensAndSessionsAreEveryGates logs in at one node and comes back at another, with the
// control plane dead.
func TestTokensAndSessionsAreEveryGates(t *testing.T) {
	t.Parallel()
	redis := services.Redis(t)
	cp := stack.StartReplica(t, services.Postgres(t))
	var nodes []*stack.Process
	for i := range 2 {
		a := stack.FreePorts(t, 1)
		n := stack.StartNode(t, cp.Addr("feed"), "default", fmt.Sprint("n", i), "--redis-url", redis, "--proxy-tls-listen", a[0])
		nodes = append(nodes, n)
	}
	accounts(t, cp.URLs["admin"], who(t).URL)
	for _, n := range nodes {
		n.Answers("/tokens", http.StatusUnauthorized, "access token is missing")
		n.Answers("/sessions", http.StatusOK, "anon|")
	}
	cp.Kill()
	token, cookie := entered(t, nodes[0].URLs["proxy TLS"])
	for _, n := range nodes {
		known(t, n.URLs["proxy TLS"], token, cookie)
	}
	if answer, _ := shown(t, "DELETE", nodes[1].URLs["proxy TLS"]+"/sessions?session_logout=1", "", cookie); answer.StatusCode != http.StatusOK {
		t.Errorf("logout: %d", answer.StatusCode)
	}
	if _, body := shown(t, "GET", nodes[0].URLs["proxy TLS"]+"/sessions", "", cookie); body != "anon|" {
		t.Errorf("a session that was ended at another gate: %q", body)
	}
}
