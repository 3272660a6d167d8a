package azurefunctions

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func build(t *testing.T, server string, c *Config) *filter {
	t.Helper()
	c.Appname, c.Hostdomain = proto.String("127"), proto.String(strings.TrimPrefix(server, "http://127."))
	c.Https, c.Keepalive = proto.Bool(false), proto.Float64(60000)
	f, err := New(c, plugintest.NewHost())
	if err != nil {
		t.Fatal(err)
	}
	return f.(*filter)
}

func TestFunctionAnswers(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // the test sees what is missing
		w.Header().Add("X-Two", "a")
		w.Header().Add("X-Two", "b")
		w.Header().Set("Content-Type", "text/x")
		w.WriteHeader(418)
		_, _ = io.WriteString(w, strings.Join([]string{
			r.Method, r.URL.String(), r.Header.Get("X-Functions-Key"), r.Header.Get("X-Functions-Clientid"), r.Header.Get("X-Own"), r.Host, string(body),
		}, "|"))
	}))
	t.Cleanup(s.Close)
	host := strings.TrimPrefix(s.URL, "http://")
	for _, tt := range []struct {
		name string
		c    *Config
		want string
	}{
		{"all", &Config{Routeprefix: proto.String("/api/"), Functionname: proto.String("/fn/x/"), Apikey: proto.String("K"), Clientid: proto.String("C")}, "POST|/api/fn/x?a=1&b|K|C|o|" + host + "|body"},
		{"no prefix, no key", &Config{Functionname: proto.String("fn")}, "POST|/fn?a=1&b|||o|" + host + "|body"},
	} {
		x := plugintest.Request{
			Method: "POST", Target: "/any?a=1&b", Body: "body", Lines: []string{"X-Own: o", "X-Functions-Key: forged", "X-Functions-Clientid: forged", "Host: gw.test", "Connection: close"},
		}.Exchange()
		v := build(t, s.URL, tt.c).OnRequest(x)
		kind, body, _ := v.Raw()
		if v.Status() != 418 || kind != "text/x" || body != tt.want || x.Early.Count("X-Two") != 2 {
			t.Errorf("%s: %d %q %s, headers %v, want %s", tt.name, v.Status(), kind, body, x.Early.Fields(), tt.want)
		}
	}
}

func TestFunctionIsAway(t *testing.T) {
	t.Parallel()
	v := build(t, "http://127.0.0.1:1", &Config{Functionname: proto.String("f")}).OnRequest(plugintest.Request{}.Exchange())
	if _, body, _ := v.Raw(); v.Status() != 500 || body != `{"message":"An unexpected error occurred"}` {
		t.Errorf("OnRequest = %d %s", v.Status(), body)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	c := &Config{Appname: proto.String("a b"), Hostdomain: proto.String("x"), Functionname: proto.String("f")}
	if _, err := New(c, plugintest.NewHost()); err == nil || !strings.HasPrefix(err.Error(), "config: https://a b.x/f is no address") {
		t.Errorf("New = %v", err)
	}
}
