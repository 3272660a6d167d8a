package keyauth

import (
	"maps"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

var (
	bob   = &plugin.Consumer{ID: "bob-id", Username: "bob", CustomID: "cb"}
	anon  = &plugin.Consumer{ID: "anon-id", Username: "anon"}
	known = plugintest.NewDirectory(&plugin.Credential{ID: "key-id", Kind: plugin.KeyCredentials, Key: "bobkey", Consumer: bob})
)

func init() { known.AddConsumer(anon) }

func run(t testing.TB, c *Config, r plugintest.Request) (*plugin.Exchange, plugin.Verdict) {
	t.Helper()
	f, err := New(c, plugintest.NewHost())
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	x := r.Exchange()
	x.Directory = known
	return x, f.(plugin.RequestFilter).OnRequest(x)
}

func headers(h *plugin.Header) map[string]string {
	all := map[string]string{}
	for _, f := range h.Fields() {
		all[strings.ToLower(f.Name)] += f.Value
	}
	return all
}

var asBob = map[string]string{"x-consumer-id": "bob-id", "x-consumer-custom-id": "cb", "x-consumer-username": "bob", "x-credential-identifier": "key-id"}

func with(more ...string) map[string]string {
	all := maps.Clone(asBob)
	for i := 0; i < len(more); i += 2 {
		all[more[i]] = more[i+1]
	}
	return all
}

func TestRecognises(t *testing.T) {
	t.Parallel()
	yes, no := proto.Bool(true), proto.Bool(false)
	const form = "application/x-www-form-urlencoded"
	tests := []struct {
		name    string
		config  *Config
		request plugintest.Request
		headers map[string]string // of the request as it goes on
		query   string
		body    string
	}{
		{"in a header", &Config{}, plugintest.Request{Lines: []string{"apikey: bobkey"}}, with("apikey", "bobkey"), "", ""},
		{"in any case", &Config{KeyNames: []string{"X-API-Key"}}, plugintest.Request{Lines: []string{"x-api-key: bobkey"}}, with("x-api-key", "bobkey"), "", ""},
		{"with - for _", &Config{KeyNames: []string{"api_key"}}, plugintest.Request{Lines: []string{"api-key: bobkey"}}, with("api-key", "bobkey"), "", ""},
		{"in the query", &Config{}, plugintest.Request{Target: "/a?x=1&apikey=bobkey&y=2"}, with(), "x=1&apikey=bobkey&y=2", ""},
		{"escaped in the query", &Config{}, plugintest.Request{Target: "/a?%61pikey=bob%6bey"}, with(), "%61pikey=bob%6bey", ""},
		{"the header before the query", &Config{}, plugintest.Request{Target: "/?apikey=zz", Lines: []string{"apikey: bobkey"}}, with("apikey", "bobkey"), "apikey=zz", ""},
		{"by the second name", &Config{KeyNames: []string{"X-API-Key", "apikey"}}, plugintest.Request{Lines: []string{"apikey: bobkey"}}, with("apikey", "bobkey"), "", ""},
		{"hidden in a header", &Config{HideCredentials: yes}, plugintest.Request{Lines: []string{"apikey: bobkey"}}, with(), "", ""},
		{"hidden in the query", &Config{HideCredentials: yes}, plugintest.Request{Target: "/a?x=1&apikey=bobkey&y=%20"}, with(), "x=1&y=+", ""},
		{"hidden in the query under escapes, the rest said anew", &Config{HideCredentials: yes}, plugintest.Request{Target: "/a?c=valu%651&b&api%6B%65%79=bobkey&a=~*%2f"}, with(), "c=value1&b=&a=%7E*%2F", ""},
		{"hidden where two equal signs are", &Config{HideCredentials: yes}, plugintest.Request{Target: "/a?x=1=2", Lines: []string{"apikey: bobkey"}}, with(), "x=1%3D2", ""},
		{"hidden at both places", &Config{HideCredentials: yes}, plugintest.Request{Target: "/?apikey=zz", Lines: []string{"apikey: bobkey"}}, with(), "", ""},
		{"in a form", &Config{KeyInBody: yes, HideCredentials: yes}, plugintest.Request{Method: "POST", Body: "apikey=bobkey&z=1", Lines: []string{"Content-Type: " + form}}, with("content-type", form), "", "z=1"},
		{"in JSON", &Config{KeyInBody: yes, HideCredentials: yes}, plugintest.Request{Method: "POST", Body: `{"z":1.0,"apikey":"bobkey"}`, Lines: []string{"Content-Type: application/json"}}, with("content-type", "application/json"), "", `{"z":1.0}`},
		{"no client names the consumer", &Config{}, plugintest.Request{Lines: []string{"apikey: bobkey", "X-Consumer-Username: root", "X-Anonymous-Consumer: true", "X-Credential-Identifier: x"}}, with("apikey", "bobkey"), "", ""},
		{"nobody asks on a preflight", &Config{RunOnPreflight: no}, plugintest.Request{Method: "OPTIONS"}, map[string]string{}, "", ""},
		{"a bare name is no key", &Config{KeyNames: []string{"a", "b"}}, plugintest.Request{Target: "/?a&b=bobkey"}, with(), "a&b=bobkey", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x, v := run(t, tt.config, tt.request)
			if v.Done() {
				t.Fatalf("OnRequest = %d %q, want it to pass", v.Status(), v.Message())
			}
			if got := headers(&x.Request.Header); !maps.Equal(got, tt.headers) {
				t.Errorf("headers = %v, want %v", got, tt.headers)
			}
			if x.Upstream.Query != tt.query || plugintest.Body(x) != tt.body {
				t.Errorf("query %q, body %q, want %q, %q", x.Upstream.Query, plugintest.Body(x), tt.query, tt.body)
			}
		})
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	no := proto.Bool(false)
	tests := []struct {
		name    string
		config  *Config
		request plugintest.Request
		message string
		header  string
	}{
		{"nothing", &Config{}, plugintest.Request{}, "No API key found in request", "Key"},
		{"with a realm", &Config{Realm: proto.String("myrealm")}, plugintest.Request{}, "No API key found in request", `Key realm="myrealm"`},
		{"empty", &Config{}, plugintest.Request{Lines: []string{"apikey:"}, Target: "/?apikey=bobkey"}, "No API key found in request", "Key"},
		{"unknown", &Config{}, plugintest.Request{Lines: []string{"apikey: zz"}}, "Unauthorized", "Key"},
		{"two lines", &Config{}, plugintest.Request{Lines: []string{"apikey: bobkey", "apikey: zz"}}, "Duplicate API key found", "Key"},
		{"two arguments", &Config{}, plugintest.Request{Target: "/?apikey=bobkey&apikey=b"}, "Duplicate API key found", "Key"},
		{"not looked for in headers", &Config{KeyInHeader: no}, plugintest.Request{Lines: []string{"apikey: bobkey"}}, "No API key found in request", "Key"},
		{"not looked for in queries", &Config{KeyInQuery: no}, plugintest.Request{Target: "/?apikey=bobkey"}, "No API key found in request", "Key"},
		{"not looked for in bodies", &Config{}, plugintest.Request{Method: "POST", Body: "apikey=bobkey", Lines: []string{"Content-Type: application/x-www-form-urlencoded"}}, "No API key found in request", "Key"},
		{"a body that is broken", &Config{KeyInBody: proto.Bool(true)}, plugintest.Request{Method: "POST", Body: "{bad", Lines: []string{"Content-Type: application/json"}}, "No API key found in request", "Key"},
		{"asked on a preflight too", &Config{}, plugintest.Request{Method: "OPTIONS"}, "No API key found in request", "Key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x, v := run(t, tt.config, tt.request)
			if v.Status() != 401 || v.Message() != tt.message || x.Early.Get("WWW-Authenticate") != tt.header {
				t.Errorf("OnRequest = %d %q %q, want 401 %q %q", v.Status(), v.Message(), x.Early.Get("WWW-Authenticate"), tt.message, tt.header)
			}
			if x.Consumer != nil || x.Credential != nil {
				t.Error("somebody was recognised")
			}
		})
	}
}

func TestAnonymous(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"anon", "anon-id"} {
		for _, lines := range [][]string{nil, {"apikey: zz"}, {"X-Credential-Identifier: x"}} {
			x, v := run(t, &Config{Anonymous: &name}, plugintest.Request{Lines: lines})
			got := headers(&x.Request.Header)
			delete(got, "apikey")
			want := map[string]string{"x-consumer-id": "anon-id", "x-consumer-username": "anon", "x-anonymous-consumer": "true"}
			if v.Done() || x.Consumer != anon || x.Credential != nil || !maps.Equal(got, want) || x.Early.Len() != 0 {
				t.Errorf("%q %q: %d %v, want to pass as anon", name, lines, v.Status(), got)
			}
		}
	}
	x, v := run(t, &Config{Anonymous: proto.String("anon")}, plugintest.Request{Lines: []string{"apikey: bobkey"}})
	if v.Done() || x.Consumer != bob {
		t.Errorf("with a key: %d %v, want bob", v.Status(), x.Consumer)
	}
	if _, v := run(t, &Config{Anonymous: proto.String("nobody")}, plugintest.Request{}); v.Status() != 500 || v.Message() != "" {
		t.Errorf("an unknown anonymous consumer = %d %q, want 500", v.Status(), v.Message())
	}
}

func TestWhoIsKnownStaysWhoTheyAre(t *testing.T) {
	t.Parallel()
	f, err := New(&Config{Anonymous: proto.String("anon")}, plugintest.NewHost())
	if err != nil {
		t.Fatal(err)
	}
	x := plugintest.Request{}.Exchange()
	eve := &plugin.Consumer{ID: "eve"}
	x.Directory, x.Consumer, x.Credential = known, eve, &plugin.Credential{ID: "c"}
	if v := f.(plugin.RequestFilter).OnRequest(x); v.Done() || x.Consumer != eve {
		t.Errorf("OnRequest = %d %v, want eve to stay", v.Status(), x.Consumer)
	}
}

func TestNewRefusesNamesThatAreNoHeaders(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"a b", "", "ü", "a:"} {
		if _, err := New(&Config{KeyNames: []string{bad}}, plugintest.NewHost()); err == nil || !strings.Contains(err.Error(), "bad header name '"+bad+"'") {
			t.Errorf("New(%q) = %v, want a complaint of the name", bad, err)
		}
	}
}

func TestOnRequestDoesNotAllocateForAHeader(t *testing.T) {
	f, err := New(&Config{KeyNames: []string{"X-API-Key", "apikey"}, HideCredentials: proto.Bool(true)}, plugintest.NewHost())
	if err != nil {
		t.Fatal(err)
	}
	r := plugintest.Request{Target: "/?a=1&b=2", Lines: []string{"Host: gw.test", "apikey: bobkey"}}
	e, x := plugintest.Engine(""), &plugin.Exchange{}
	r.Again(x, e)
	lines := append([]plugin.Field(nil), x.Request.Header.Fields()...)
	n := testing.AllocsPerRun(100, func() {
		x.Request.Header.Reset()
		for _, l := range lines {
			x.Request.Header.Append(l.Name, l.Value)
		}
		x.Directory = known
		if f.(plugin.RequestFilter).OnRequest(x).Done() {
			t.Fatal("refused")
		}
	})
	if n != 0 {
		t.Errorf("OnRequest allocates %v times, want 0", n)
	}
}

func FuzzInQuery(f *testing.F) {
	f.Add("a=1&apikey=k", "apikey")
	f.Add("apikey&apikey=", "apikey")
	f.Add("%61=%zz&&=", "a")
	f.Fuzz(func(t *testing.T, query, name string) {
		if key, got := inQuery(query, name); got != one && key != "" {
			t.Errorf("inQuery(%q, %q) = %q with %d found", query, name, key, got)
		}
	})
}
