package redirect

import (
	"net/url"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func build(t testing.TB, c *Config) plugin.RequestFilter {
	t.Helper()
	f, err := New(c, plugintest.NewHost())
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return f.(plugin.RequestFilter)
}

// TestLocations begins with what was recorded of a live Kong 3.9.1 (transcript 19).
func TestLocations(t *testing.T) {
	t.Parallel()
	to := func(location string, status int64, keep bool) *Config {
		return &Config{Location: &location, StatusCode: &status, KeepIncomingPath: &keep}
	}
	tests := []struct {
		config   *Config
		target   string
		status   int
		location string
	}{
		{to("http://new.test/x", 301, true), "/q10", 301, "http://new.test/q10"},
		{to("http://new.test/x", 302, false), "/q9/a?b=c", 302, "http://new.test/x"},
		{to("http://new.test/x?y=z", 308, true), "/a%20b?b=c&d", 308, "http://new.test/a%20b?b=c&d"},
		{to("https://u:p@new.test:8443/x#part", 307, true), "/", 307, "https://u:p@new.test:8443/#part"},
		{to("https://new.test", 200, true), "/a?b", 200, "https://new.test/a?b"},
		{&Config{Location: proto.String("http://new.test")}, "/a", 301, "http://new.test"},
	}
	for _, tt := range tests {
		x := plugintest.Request{Target: tt.target}.Exchange()
		v := build(t, tt.config).OnRequest(x)
		contentType, body, raw := v.Raw()
		if v.Status() != tt.status || !raw || contentType != "" || body != "redirecting" {
			t.Errorf("answer to %q = %d %q %q", tt.target, v.Status(), contentType, body)
		}
		if got := x.Early.Get("Location"); got != tt.location {
			t.Errorf("Location of %q for %v = %q, want %q", tt.target, tt.config, got, tt.location)
		}
	}
}

func TestNewWantsAWholeURL(t *testing.T) {
	t.Parallel()
	for _, location := range []string{"", "/x", "new.test", "http://", "http://[::1", "//new.test/x"} {
		if _, err := New(&Config{Location: &location}, plugintest.NewHost()); err == nil || !strings.Contains(err.Error(), "config.location") {
			t.Errorf("New(%q) = %v, want a complaint of config.location", location, err)
		}
	}
}

func TestOnRequestDoesNotAllocate(t *testing.T) {
	f := build(t, &Config{Location: proto.String("http://new.test/x"), KeepIncomingPath: proto.Bool(true)})
	r, e := plugintest.Request{Target: "/a/b?c=d"}, plugintest.Engine("")
	x := r.Exchange()
	run := func() { r.Again(x, e); f.OnRequest(x) }
	run()
	base := testing.AllocsPerRun(100, func() { r.Again(x, e) })
	if n := testing.AllocsPerRun(100, run) - base; n != 0 {
		t.Errorf("OnRequest allocates %v times, want 0", n)
	}
}

// FuzzLocation has clients try to be sent elsewhere.
func FuzzLocation(f *testing.F) {
	f.Add("/a?b#c")
	f.Add("//evil.test/x")
	f.Add("/@evil.test")
	f.Add("/\\evil.test")
	g := build(f, &Config{Location: proto.String("http://new.test/x"), KeepIncomingPath: proto.Bool(true)})
	f.Fuzz(func(t *testing.T, target string) {
		if !strings.HasPrefix(target, "/") {
			return // a gate hears of no other path
		}
		x := plugintest.Request{Target: target}.Exchange()
		g.OnRequest(x)
		u, err := url.Parse(x.Early.Get("Location"))
		if err == nil && u.Host != "new.test" {
			t.Errorf("%q sends clients to %q", target, u.Host)
		}
	})
}
