package session

import (
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

var (
	coop = &plugin.Consumer{ID: "11111111-1111-4111-8111-000000003001", Username: "coop", CustomID: "c1"}
	bob  = &plugin.Consumer{ID: "11111111-1111-4111-8111-000000003002", Username: "bob"}
)

// gate is a filter with a client that keeps its cookies.
type gate struct {
	t    *testing.T
	f    *filter
	host *plugintest.Host
	jar  map[string]string
	// dir is who is known.
	dir *plugintest.Directory
}

func newGate(t *testing.T, c *Config) *gate {
	t.Helper()
	if c.Secret == nil {
		c.Secret = proto.String("a secret")
	}
	if c.LogoutMethods == nil {
		c.LogoutMethods = []string{"POST", "DELETE"}
	}
	if c.LogoutQueryArg == nil {
		c.LogoutQueryArg = proto.String("session_logout")
	}
	h := plugintest.NewHost()
	f, err := New(c, h)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	g := &gate{t: t, f: f.(*filter), host: h, jar: map[string]string{}, dir: plugintest.NewDirectory()}
	g.f.now = h.Clock.Now
	g.dir.AddConsumer(coop)
	g.dir.AddConsumer(bob)
	return g
}

// ask sends a request with the jar's cookies. who stands for a plugin that lets the client in
// by its credential; nil: it shows none.
func (g *gate) ask(q plugintest.Request, who *plugin.Credential) (*plugin.Exchange, plugin.Verdict) {
	g.t.Helper()
	for name, value := range g.jar {
		q.Lines = append(q.Lines, "Cookie: other=1; "+name+"="+value)
	}
	x := q.Exchange()
	x.Directory = g.dir
	v := g.f.OnRequest(x)
	if who != nil && !v.Done() {
		plugin.Authenticate(x, who, who.ID)
	}
	plugintest.Answer(x, g.f, v, 200, "Set-Cookie: upstream=own")
	for line := range x.Response.Header.Values("Set-Cookie") {
		name, rest, _ := strings.Cut(line, "=")
		value, _, _ := strings.Cut(rest, ";")
		switch {
		case name == "upstream":
		case value == "":
			delete(g.jar, name)
		default:
			g.jar[name] = value
		}
	}
	if n := x.Response.Header.Count("Set-Cookie"); n == 0 || x.Response.Header.Get("Set-Cookie") != "upstream=own" {
		g.t.Errorf("the upstream's cookie was lost")
	}
	return x, v
}

func cookies(x *plugin.Exchange) (all []string) {
	for line := range x.Response.Header.Values("Set-Cookie") {
		if line != "upstream=own" {
			all = append(all, line)
		}
	}
	return all
}

var byKey = &plugin.Credential{ID: "credential-1", Kind: plugin.KeyCredentials, Consumer: coop}

// both runs a test with sessions in cookies and at the gates.
func both(t *testing.T, c *Config, run func(t *testing.T, g *gate)) {
	for _, storage := range []string{"cookie", "kong"} {
		t.Run(storage, func(t *testing.T) {
			t.Parallel()
			c := proto.CloneOf(c)
			c.Storage = proto.String(storage)
			run(t, newGate(t, c))
		})
	}
}

func TestCookieStandsForTheCredential(t *testing.T) {
	t.Parallel()
	both(t, &Config{}, func(t *testing.T, g *gate) {
		if x, _ := g.ask(plugintest.Request{}, nil); x.Credential != nil || len(cookies(x)) != 0 {
			t.Fatalf("a client without a cookie: %v, %q", x.Credential, cookies(x))
		}
		x, _ := g.ask(plugintest.Request{}, byKey)
		lines := cookies(x)
		if len(lines) != 1 || !strings.HasPrefix(lines[0], "session=") ||
			!strings.HasSuffix(lines[0], "; Path=/; SameSite=Strict; Secure; HttpOnly") {
			t.Fatalf("cookies = %q", lines)
		}
		forged := plugintest.Request{Lines: []string{"X-Consumer-Username: forged", "X-Anonymous-Consumer: true"}}
		x, _ = g.ask(forged, nil)
		h := &x.Request.Header
		if x.Consumer != coop || x.Credential == nil || x.Credential.ID != "credential-1" || h.Get("X-Consumer-ID") != coop.ID ||
			h.Get("X-Consumer-Username") != "coop" || h.Get("X-Consumer-Custom-ID") != "c1" ||
			h.Get("X-Credential-Identifier") != "credential-1" || h.Count("X-Anonymous-Consumer") != 0 {
			t.Errorf("upstream is told %v", h.Fields())
		}
		if len(cookies(x)) != 0 {
			t.Errorf("a young session is sent again: %q", cookies(x))
		}
		if n, kept := g.host.Kept.Count("sessions"), g.f.records != nil; (n == 1) != kept {
			t.Errorf("%d records, kept at the gates: %v", n, kept)
		}
		g.jar["session"] = g.jar["session"][:20] + "A" + g.jar["session"][21:] + "x"
		if x, _ := g.ask(plugintest.Request{}, nil); x.Credential != nil {
			t.Error("a forged cookie lets in")
		}
	})
}

func TestAttributes(t *testing.T) {
	t.Parallel()
	g := newGate(t, &Config{
		CookieName: proto.String("da_cookie"), CookieSameSite: proto.String("Lax"), CookieHttpOnly: proto.Bool(false),
		CookieSecure: proto.Bool(false), CookieDomain: proto.String("a.test"), CookiePath: proto.String("/p"),
	})
	x, _ := g.ask(plugintest.Request{}, byKey)
	if got := cookies(x); len(got) != 1 || !strings.HasSuffix(got[0], "; Path=/p; Domain=a.test; SameSite=Lax") || !strings.HasPrefix(got[0], "da_cookie=") {
		t.Errorf("cookies = %q", got)
	}
	g = newGate(t, &Config{CookieSameSite: proto.String("Default"), Remember: proto.Bool(true), RememberRollingTimeout: proto.Float64(3600)})
	x, _ = g.ask(plugintest.Request{}, byKey)
	got := cookies(x)
	if len(got) != 2 || !strings.HasSuffix(got[0], "; Path=/; Secure; HttpOnly") || !strings.HasPrefix(got[1], "remember=") ||
		!strings.HasSuffix(got[1], "; Path=/; Secure; HttpOnly; Expires=Tue, 14 Nov 2023 23:13:20 GMT; Max-Age=3600") {
		t.Errorf("cookies = %q", got)
	}
}

func TestLogout(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		q    plugintest.Request
		body bool // the body is looked at
		out  bool
	}{
		{"query", plugintest.Request{Method: "POST", Target: "/?session_logout=true"}, false, true},
		{"query without a value", plugintest.Request{Method: "DELETE", Target: "/?session_logout"}, false, true},
		{"other method", plugintest.Request{Target: "/?session_logout=true"}, false, false},
		{"other argument", plugintest.Request{Method: "POST", Target: "/?logout=true"}, false, false},
		{"form", plugintest.Request{Method: "POST", Body: "session_logout=1", Lines: []string{"Content-Type: application/x-www-form-urlencoded"}}, true, true},
		{"json", plugintest.Request{Method: "DELETE", Body: `{"session_logout":true}`, Lines: []string{"Content-Type: application/json"}}, true, true},
		{"form that is not looked at", plugintest.Request{Method: "POST", Body: "session_logout=1", Lines: []string{"Content-Type: application/x-www-form-urlencoded"}}, false, false},
		{"broken body", plugintest.Request{Method: "POST", Body: "{", Lines: []string{"Content-Type: application/json"}}, true, false},
	}
	for _, tt := range tests {
		both(t, &Config{ReadBodyForLogout: proto.Bool(tt.body), LogoutPostArg: proto.String("session_logout")}, func(t *testing.T, g *gate) {
			g.ask(plugintest.Request{}, byKey)
			stolen := g.jar["session"]
			x, v := g.ask(tt.q, nil)
			if (v.Status() == 200) != tt.out {
				t.Fatalf("%s: verdict %d, want logout %v", tt.name, v.Status(), tt.out)
			}
			if !tt.out {
				return
			}
			if _, body, raw := v.Raw(); !raw || body != "" {
				t.Errorf("%s: body %q", tt.name, body)
			}
			const gone = "session=; Path=/; SameSite=Strict; Secure; HttpOnly; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0"
			if got := cookies(x); len(got) != 1 || got[0] != gone {
				t.Errorf("%s: cookies = %q", tt.name, got)
			}
			if g.f.records == nil {
				return
			}
			g.jar["session"] = stolen
			if x, _ := g.ask(plugintest.Request{}, nil); x.Credential != nil {
				t.Errorf("%s: the session is still good", tt.name)
			}
		})
	}
}

// TestTimes follows a session through its life, by minutes.
func TestTimes(t *testing.T) {
	t.Parallel()
	c := &Config{IdlingTimeout: proto.Float64(900), RollingTimeout: proto.Float64(3600), AbsoluteTimeout: proto.Float64(6000)}
	both(t, c, func(t *testing.T, g *gate) {
		g.ask(plugintest.Request{}, byKey)
		first := g.jar["session"]
		visit := func(after time.Duration, in, sent bool) {
			t.Helper()
			g.host.Clock.Advance(after)
			x, _ := g.ask(plugintest.Request{}, nil)
			if (x.Credential != nil) != in || (len(cookies(x)) != 0) != sent {
				t.Errorf("%v: in %v, cookies %q, want %v, %v", g.host.Clock.Now(), x.Credential != nil, cookies(x), in, sent)
			}
		}
		visit(30*time.Second, true, false) // touched a moment ago
		visit(14*time.Minute, true, true)  // touched
		visit(14*time.Minute, true, true)
		visit(14*time.Minute, true, true)
		visit(5*time.Minute, true, true) // three quarters have passed: a new one
		if g.f.records != nil {
			old, now := g.jar["session"], g.jar
			g.jar = map[string]string{"session": first}
			g.host.Clock.Advance(11 * time.Second) // stale_ttl is 10
			if x, _ := g.ask(plugintest.Request{}, nil); x.Credential != nil {
				t.Error("a session that was replaced is still good")
			}
			g.jar = now
			g.jar["session"] = old
		}
		visit(14*time.Minute, true, true)
		visit(14*time.Minute, true, true)
		visit(14*time.Minute, true, true)
		visit(11*time.Minute, false, false) // more than 6,000 s since it began
		g.ask(plugintest.Request{}, byKey)
		visit(15*time.Minute, false, false) // idle
	})
}

func TestRememberedSessionIsMadeAnew(t *testing.T) {
	t.Parallel()
	both(t, &Config{Remember: proto.Bool(true)}, func(t *testing.T, g *gate) {
		g.ask(plugintest.Request{}, byKey)
		delete(g.jar, "session") // the browser was closed
		g.host.Clock.Advance(2 * 24 * time.Hour)
		x, _ := g.ask(plugintest.Request{}, nil)
		if x.Consumer != coop || g.jar["session"] == "" || len(cookies(x)) != 2 {
			t.Fatalf("remembered: %v, cookies %q", x.Consumer, cookies(x))
		}
		g.jar["session"] = g.jar["remember"]
		delete(g.jar, "remember")
		if x, _ := g.ask(plugintest.Request{}, nil); x.Credential != nil {
			t.Error("the longer cookie is taken for the other")
		}
	})
}

func TestOthersOfASession(t *testing.T) {
	t.Parallel()
	both(t, &Config{}, func(t *testing.T, g *gate) {
		g.ask(plugintest.Request{}, byKey)
		// Another credential, which stays, begins a session of its own.
		g.ask(plugintest.Request{}, &plugin.Credential{ID: "credential-2", Consumer: bob})
		if x, _ := g.ask(plugintest.Request{}, nil); x.Consumer != bob {
			t.Errorf("consumer = %v, want bob", x.Consumer)
		}
		// A consumer that is gone ends the session.
		delete(g.dir.Consumers, bob.ID)
		if x, _ := g.ask(plugintest.Request{}, nil); x.Credential != nil || g.jar["session"] != "" {
			t.Errorf("session of nobody: %v, jar %v", x.Credential, g.jar)
		}
	})
}

func TestAudienceAndSecret(t *testing.T) {
	t.Parallel()
	g := newGate(t, &Config{})
	g.ask(plugintest.Request{}, byKey)
	for name, c := range map[string]*Config{"audience": {Audience: proto.String("other")}, "secret": {Secret: proto.String("other")}} {
		other := newGate(t, c)
		other.jar = map[string]string{"session": g.jar["session"]}
		if x, _ := other.ask(plugintest.Request{}, nil); x.Credential != nil {
			t.Errorf("a session for another %s lets in", name)
		}
	}
	if _, err := New(&Config{}, plugintest.NewHost()); err == nil || err.Error() != "config.secret: required field missing" {
		t.Errorf("New without a secret = %v", err)
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	all := []string{"id", "audience", "subject", "timeout", "idling-timeout", "rolling-timeout", "absolute-timeout"}
	g := newGate(t, &Config{ResponseHeaders: all, RequestHeaders: all})
	g.ask(plugintest.Request{}, byKey)
	g.host.Clock.Advance(30 * time.Second)
	x, _ := g.ask(plugintest.Request{}, nil)
	for _, h := range []*plugin.Header{&x.Request.Header, &x.Response.Header} {
		for name, want := range map[string]string{
			"Session-Audience": "default", "Session-Subject": "coop", "Session-Timeout": "870", "Session-Idling-Timeout": "870",
			"Session-Rolling-Timeout": "3570", "Session-Absolute-Timeout": "86370",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s = %q, want %q", name, got, want)
			}
		}
		if h.Get("Session-Id") == "" {
			t.Error("Session-Id is missing")
		}
	}
}

// TestStoreAway has the store of sessions fail: nobody is let in by it, nobody is kept out.
func TestStoreAway(t *testing.T) {
	t.Parallel()
	g := newGate(t, &Config{Storage: proto.String("kong")})
	g.ask(plugintest.Request{}, byKey)
	g.host.Kept.Fail(errors.New("away"))
	if x, v := g.ask(plugintest.Request{}, nil); v.Done() || x.Credential != nil {
		t.Errorf("without the store: %d, %v", v.Status(), x.Credential)
	}
	g.jar = map[string]string{}
	if x, v := g.ask(plugintest.Request{}, byKey); v.Done() || x.Consumer != coop || len(cookies(x)) != 0 {
		t.Errorf("without the store: %d, cookies %q", v.Status(), cookies(x))
	}
	if !strings.Contains(g.host.Logged(), "away") {
		t.Error("nothing is logged")
	}
}

func FuzzCookie(f *testing.F) {
	s := newSeal("x")
	f.Add(s.close(&ticket{ID: "a"}))
	f.Add("")
	f.Fuzz(func(_ *testing.T, value string) { s.open(value) })
}
