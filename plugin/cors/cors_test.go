package cors

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

// collect renders lines as the vectors do: names in lower case, repeated values joined.
func collect(h *plugin.Header) map[string]string {
	all := map[string]string{}
	for _, f := range h.Fields() {
		name := strings.ToLower(f.Name)
		if old, ok := all[name]; ok {
			all[name] = old + ", " + f.Value
			continue
		}
		all[name] = f.Value
	}
	return all
}

func lines(headers map[string]string) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		all = append(all, name+": "+headers[name])
	}
	return all
}

func TestRecordedAnswers(t *testing.T) {
	t.Parallel()
	for i, v := range plugintest.Vectors(t, "cors") {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			var in struct {
				Config   map[string]any
				Method   string
				Headers  map[string]string
				Upstream map[string]string `json:"upstream_headers"`
			}
			var want struct {
				Headers map[string]string
				Short   bool `json:"short_circuit"`
				Status  int
			}
			plugintest.Decode(t, v.Input, &in)
			plugintest.Decode(t, v.Result, &want)
			f := fromVector(t, v)
			x := plugintest.Request{Method: in.Method, Lines: lines(in.Headers)}.Exchange()
			verdict := f.(plugin.RequestFilter).OnRequest(x)
			if verdict.Done() != want.Short || want.Short && verdict.Status() != want.Status {
				t.Fatalf("OnRequest(%s) = %d, want short %v %d", v.Input, verdict.Status(), want.Short, want.Status)
			}
			plugintest.Answer(x, f, verdict, 200, lines(in.Upstream)...)
			if got := collect(&x.Response.Header); !maps.Equal(got, want.Headers) {
				t.Errorf("headers(%s) =\n%v, want\n%v", v.Input, got, want.Headers)
			}
		})
	}
}

func fromVector(t *testing.T, v plugintest.Vector) plugin.Filter {
	t.Helper()
	var in struct{ Config rawConfig }
	plugintest.Decode(t, v.Input, &in)
	f, err := New(in.Config.Config, plugintest.NewHost())
	if err != nil {
		t.Fatalf("New(%s): %v", v.Input, err)
	}
	return f
}

type rawConfig struct{ *Config }

func (c *rawConfig) UnmarshalJSON(b []byte) error {
	c.Config = &Config{}
	return protojson.Unmarshal(b, c.Config)
}

// TestRecordedOfALiveGateway holds answers that the vectors do not have.
func TestRecordedOfALiveGateway(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		origins []string
		origin  string
		want    string // "": not allowed
	}{
		{"a port that is asked for", []string{"https://a.test:8443", "a.test"}, "https://a.test:8443", "https://a.test:8443"},
		{"a port that is not", []string{"https://a.test:8443", "a.test"}, "https://a.test", ""},
		{"null as a literal among others", []string{"null", "https://b.test"}, "null", "null"},
		{"a star is no wildcard of names", []string{"null", "https://*.x.test"}, "https://s.x.test", ""},
		{"a regex by host", []string{`[a-z]+\.re\.test`}, "https://zz.re.test", "https://zz.re.test"},
		{"a regex by host, own port", []string{`[a-z]+\.re\.test`}, "https://zz.re.test:443", "https://zz.re.test"},
		{"the whole host", []string{`[a-z]+\.re\.test`}, "https://zz.re.test.evil.test", ""},
		{"alternatives are held whole", []string{`https://a\.test|https://b\.test`}, "https://b.test.evil", ""},
		{"a literal's own port", []string{"http://foo.test:80", "x.test"}, "http://foo.test", "http://foo.test"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f, err := New(&Config{Origins: tt.origins}, plugintest.NewHost())
			if err != nil {
				t.Fatal(err)
			}
			x := plugintest.Request{Lines: []string{"Origin: " + tt.origin}}.Exchange()
			plugintest.Answer(x, f, f.(plugin.RequestFilter).OnRequest(x), 200)
			if got := x.Response.Header.Get(allowOrigin); got != tt.want {
				t.Errorf("allowed(%q, %q) = %q, want %q", tt.origins, tt.origin, got, tt.want)
			}
		})
	}
}

func TestPrivateNetworkIsGrantedWhenAsked(t *testing.T) {
	t.Parallel()
	yes := true
	f, err := New(&Config{PrivateNetwork: &yes}, plugintest.NewHost())
	if err != nil {
		t.Fatal(err)
	}
	x := plugintest.Request{Method: "OPTIONS", Lines: []string{
		"Origin: https://a.test", "Access-Control-Request-Method: GET", "Access-Control-Request-Private-Network: true",
	}}.Exchange()
	plugintest.Answer(x, f, f.(plugin.RequestFilter).OnRequest(x), 0)
	if got := x.Response.Header.Get("Access-Control-Allow-Private-Network"); got != "true" {
		t.Errorf("Access-Control-Allow-Private-Network = %q, want true", got)
	}
}

func TestAPreflightThatPassesIsLeftToTheUpstream(t *testing.T) {
	t.Parallel()
	yes := true
	f, err := New(&Config{PreflightContinue: &yes, Origins: []string{"https://[a-z]+\\.re\\.test"}}, plugintest.NewHost())
	if err != nil {
		t.Fatal(err)
	}
	x := plugintest.Request{Method: "OPTIONS", Lines: []string{"Origin: https://a.re.test", "Access-Control-Request-Method: PUT"}}.Exchange()
	v := f.(plugin.RequestFilter).OnRequest(x)
	plugintest.Answer(x, f, v, 204, "Vary: Accept")
	if got := collect(&x.Response.Header); v.Done() || !maps.Equal(got, map[string]string{"vary": "Accept"}) {
		t.Errorf("done %v, headers %v, want the upstream's alone", v.Done(), got)
	}
}

func TestNewNamesTheOriginThatIsWrong(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"*.x.test", "https://(a", "(?=x)", "a)(b"} {
		if _, err := New(&Config{Origins: []string{bad}}, plugintest.NewHost()); err == nil || !strings.Contains(err.Error(), "'"+bad+"' is not a valid regex") {
			t.Errorf("New(%q) = %v, want a complaint of the regex", bad, err)
		}
	}
}

func TestAnAnswerDoesNotAllocate(t *testing.T) {
	yes := true
	for _, c := range []*Config{{}, {Origins: []string{"https://a.test", `https://[a-z]+\.test`}, Credentials: &yes}} {
		f, err := New(c, plugintest.NewHost())
		if err != nil {
			t.Fatal(err)
		}
		r, e, x := plugintest.Request{Lines: []string{"Origin: https://b.test"}}, plugintest.Engine(""), &plugin.Exchange{}
		r.Again(x, e)
		n := testing.AllocsPerRun(100, func() {
			x.Response.Header.Reset()
			f.(plugin.RequestFilter).OnRequest(x)
			f.(plugin.ResponseFilter).OnResponse(x)
		})
		if n != 0 {
			t.Errorf("%v allocates %v times, want 0", c, n)
		}
	}
}

func FuzzNormalise(f *testing.F) {
	for _, s := range []string{"https://a.test:443", "http://u@h:80/p", "null", "https://[::1]:8443", "://", "http://:80", "a://b:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		whole, host := normalise(s)
		if !strings.Contains(whole, host) {
			t.Errorf("normalise(%q) = %q, %q: the host is not in it", s, whole, host)
		}
	})
}
