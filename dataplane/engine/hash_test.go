package engine

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"testing"

	"github.com/sekifuda/sekifuda/dataplane/graph"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
)

// TestHashCookie: a client without the cookie is given one, and with it stays with its target.
func TestHashCookie(t *testing.T) {
	t.Parallel()
	var targets []upstream.TargetSpec
	for _, name := range []string{"a", "b", "c"} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Target", name)
			w.Header().Add("Set-Cookie", "other=1")
			if r.URL.Query().Has("own") {
				w.Header().Add("Set-Cookie", "at=upstream; Path=/x")
			}
		}))
		t.Cleanup(s.Close)
		ap := netip.MustParseAddrPort(s.Listener.Addr().String())
		targets = append(targets, upstream.TargetSpec{ID: name, Host: ap.Addr().String(), Port: int(ap.Port()), Weight: 100})
	}
	g := startGate(t, targets[0].Host+":1", func(_ *Options, _ *graph.Endpoint, s *upstream.Spec) {
		s.Balancer = &upstream.BalancerSpec{ID: "u", Algorithm: "consistent-hashing", CookiePath: "/p", Targets: targets,
			Hash: [2]upstream.HashSpec{{On: "cookie", Name: "at"}, {On: "none"}}}
	})
	ask := func(query, cookie string) *http.Response {
		r, err := http.NewRequest(http.MethodGet, "http://"+g.addr+"/ok"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		if cookie != "" {
			r.Header.Set("Cookie", cookie)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res
	}
	line := regexp.MustCompile(`^(at=[0-9a-f]{8}-[0-9a-f-]{27}); Path=/p; Same-Site=Lax; HttpOnly$`)
	for range 5 {
		res := ask("", "")
		given := res.Header.Values("Set-Cookie")
		if len(given) != 2 || given[0] != "other=1" || !line.MatchString(given[1]) {
			t.Fatalf("Set-Cookie = %q, want the upstream's and then ours", given)
		}
		again := ask("", line.FindStringSubmatch(given[1])[1])
		if again.Header.Get("X-Target") != res.Header.Get("X-Target") {
			t.Errorf("the cookie led to %s and then to %s", res.Header.Get("X-Target"), again.Header.Get("X-Target"))
		}
		if c := again.Header.Values("Set-Cookie"); len(c) != 1 {
			t.Errorf("a client that has the cookie is told %q", c)
		}
	}
	if c := ask("?own", "").Header.Values("Set-Cookie"); len(c) != 2 || !line.MatchString(c[1]) {
		t.Errorf("Set-Cookie = %q, want ours in the place of the upstream's", c)
	}
}
