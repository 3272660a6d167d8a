package proxycache

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

// config has the defaults of the schema.
func config(change func(*Config)) *Config {
	c := &Config{
		ResponseCode: []int64{200, 301, 404}, RequestMethod: []string{"GET", "HEAD"},
		ContentType: []string{"text/plain", "application/json"}, Strategy: proto.String("memory"),
	}
	if change != nil {
		change(c)
	}
	return c
}

// gate is a filter with a clock and an upstream.
type gate struct {
	*filter
	now time.Time
}

func build(c *Config) *gate {
	return &gate{compile(c, NewStore()), time.Unix(1700000000, 0)}
}

// answer is what a client gets.
type answer struct {
	status  int
	body    string
	head    *plugin.Header
	verdict plugin.Verdict
}

func (a answer) cache() string { return a.head.Get("X-Cache-Status") }

// get sends a request; the upstream answers with status, body and lines.
func (g *gate) get(r plugintest.Request, status int, body string, lines ...string) answer {
	x := r.Exchange()
	x.Times.Start = g.now
	x.Route = &plugin.Route{ID: "r1"}
	if name, ok := x.Request.Header.Lookup("X-Test-Consumer"); ok {
		x.Consumer = &plugin.Consumer{ID: name}
	}
	v := g.OnRequest(x)
	if contentType, raw, ok := v.Raw(); ok {
		body, lines = raw, []string{fmt.Sprintf("Content-Length: %d", len(raw))}
		if contentType != "" {
			lines = append(lines, "Content-Type: "+contentType)
		}
	}
	plugintest.Answer(x, g.filter, v, status, lines...)
	out := []byte(body)
	if r.Method != "HEAD" {
		for _, edit := range x.Response.Rewrites() {
			out = edit(out)
		}
	}
	return answer{x.Response.Status, string(out), &x.Response.Header, v}
}

const isJSON, isText = "Content-Type: application/json", "Content-Type: text/plain; charset=UTF-8"

// TestRecorded goes through the steps of transcript 19 of a live Kong 3.9.1.
func TestRecorded(t *testing.T) {
	t.Parallel()
	q13 := build(config(func(c *Config) { c.ContentType, c.CacheTtl = []string{"application/json"}, proto.Int64(30) }))
	q14 := build(config(func(c *Config) { c.CacheControl, c.VaryHeaders = proto.Bool(true), []string{"X-Var"} }))
	steps := []struct {
		name   string
		gate   *gate
		method string
		target string
		status int
		lines  []string
		want   string
		keyed  bool
		age    string
	}{
		{"cache query", q13, "GET", "/q13/status/200?a=1", 200, []string{isJSON}, "Miss", true, ""},
		{"cache post", q13, "POST", "/q13/status/200", 200, []string{isJSON}, "Bypass", false, ""},
		{"cache 500", q13, "GET", "/q13/status/500", 500, []string{isJSON}, "Bypass", true, ""},
		{"cache echo", q13, "GET", "/q13/abc", 200, []string{isJSON}, "Miss", true, ""},
		{"cache cc nostore", q14, "GET", "/q14/set?Cache-Control=no-store", 200, []string{isText, "Cache-Control: no-store"}, "Bypass", true, ""},
		{"cache cc max-age", q14, "GET", "/q14/set?Cache-Control=max-age=60", 200, []string{isText, "Cache-Control: max-age=60"}, "Miss", true, ""},
		{"cache cc hit", q14, "GET", "/q14/set?Cache-Control=max-age=60", 200, nil, "Hit", true, "0"},
	}
	for _, s := range steps {
		a := s.gate.get(plugintest.Request{Method: s.method, Target: s.target}, s.status, "body", s.lines...)
		if a.cache() != s.want || a.status != s.status || a.body != "body" {
			t.Errorf("%s: %s %d %q, want %s %d", s.name, a.cache(), a.status, a.body, s.want, s.status)
		}
		if keyed := regexp.MustCompile("^[0-9a-f]{64}$").MatchString(a.head.Get("X-Cache-Key")); keyed != s.keyed {
			t.Errorf("%s: key %q", s.name, a.head.Get("X-Cache-Key"))
		}
		if got := a.head.Get("Age"); got != s.age {
			t.Errorf("%s: Age %q, want %q", s.name, got, s.age)
		}
		if s.want == "Hit" && (a.head.Get("Cache-Control") != "max-age=60" || a.head.Get("Content-Type") != "text/plain; charset=UTF-8") {
			t.Errorf("%s: head %v", s.name, a.head.Fields())
		}
	}
}

func TestFreshness(t *testing.T) {
	t.Parallel()
	g := build(config(nil))
	for _, s := range []struct {
		after time.Duration
		want  string
		age   string
		body  string
	}{
		{0, "Miss", "", "1"}, {90500 * time.Millisecond, "Hit", "90", "1"}, {209 * time.Second, "Hit", "299", "1"},
		{time.Second, "Miss", "", "5"}, {time.Second, "Hit", "1", "5"},
	} {
		g.now = g.now.Add(s.after)
		a := g.get(plugintest.Request{}, 200, s.body, isJSON)
		if a.cache() != s.want || a.head.Get("Age") != s.age || a.body != s.body {
			t.Errorf("after %v: %s of age %q, body %q, want %s of %q, %q", s.after, a.cache(), a.head.Get("Age"), a.body, s.want, s.age, s.body)
		}
	}
	// Kept for longer than it is fresh, an answer is asked for again.
	g = build(config(func(c *Config) { c.StorageTtl = proto.Int64(3600) }))
	g.get(plugintest.Request{}, 200, "1", isJSON)
	g.now = g.now.Add(301 * time.Second)
	if a := g.get(plugintest.Request{}, 200, "2", isJSON); a.cache() != "Refresh" || a.body != "2" {
		t.Errorf("stale: %s %q, want Refresh", a.cache(), a.body)
	}
	if a := g.get(plugintest.Request{}, 200, "3", isJSON); a.cache() != "Hit" || a.body != "2" {
		t.Errorf("refreshed: %s %q, want Hit", a.cache(), a.body)
	}
}

func TestWhatTellsRequestsApart(t *testing.T) {
	t.Parallel()
	request := func(target string, lines ...string) plugintest.Request {
		return plugintest.Request{Target: target, Lines: lines}
	}
	tests := []struct {
		name   string
		config *Config
		a, b   plugintest.Request
		same   bool
	}{
		{"path", config(nil), request("/a"), request("/b"), false},
		{"case of the path", config(nil), request("/a"), request("/A"), false},
		{"folded case", config(func(c *Config) { c.IgnoreUriCase = proto.Bool(true) }), request("/a"), request("/A"), true},
		{"arguments", config(nil), request("/?a=1"), request("/?a=2"), false},
		{"no argument", config(nil), request("/?a"), request("/?a="), false},
		{"one in the other", config(nil), request("/?a=1&b=2"), request("/?a=1%00b=2"), false},
		{"argument in the path", config(nil), request("/|a=1"), request("/?a=1"), false},
		{"argument in an argument", config(nil), request("/?a=1&b=2"), request("/?a=1%26b%3D2"), false},
		{"order of arguments", config(nil), request("/?a=1&b=2"), request("/?b=2&a=1"), true},
		{"order of values", config(nil), request("/?a=1&a=2"), request("/?a=2&a=1"), false},
		{"named arguments", config(func(c *Config) { c.VaryQueryParams = []string{"a"} }), request("/?a=1&b=2"), request("/?a=1&b=3"), true},
		{"headers", config(nil), request("/", "X-Var: 1"), request("/", "X-Var: 2"), true},
		{"named headers", config(func(c *Config) { c.VaryHeaders = []string{"X-Var"} }), request("/", "x-var: 1"), request("/", "X-Var: 2"), false},
		{"consumers", config(nil), request("/", "X-Test-Consumer: a"), request("/", "X-Test-Consumer: b"), false},
		{"method", config(nil), request("/"), plugintest.Request{Method: "HEAD"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := build(tt.config)
			if a := g.get(tt.a, 200, "1", isJSON); a.cache() != "Miss" {
				t.Fatalf("first: %s", a.cache())
			}
			want := "Miss"
			if tt.same {
				want = "Hit"
			}
			if a := g.get(tt.b, 200, "2", isJSON); a.cache() != want {
				t.Errorf("second: %s, want %s", a.cache(), want)
			}
		})
	}
}

func TestWhatIsKept(t *testing.T) {
	t.Parallel()
	obey := func(c *Config) { c.CacheControl = proto.Bool(true) }
	tests := []struct {
		name   string
		config *Config
		status int
		lines  []string
		kept   bool
	}{
		{"default", config(nil), 200, []string{isJSON}, true},
		{"404", config(nil), 404, []string{isJSON}, true},
		{"201", config(nil), 201, []string{isJSON}, false},
		{"other type", config(nil), 200, []string{"Content-Type: text/html"}, false},
		{"no type", config(nil), 200, nil, false},
		{"two types", config(nil), 200, []string{isJSON, isJSON}, false},
		{"parameters", config(nil), 200, []string{isJSON + "; charset=utf-8"}, false},
		{"named parameters", config(func(c *Config) { c.ContentType = []string{"application/json; charset=utf-8"} }), 200, []string{isJSON + ";charset=utf-8"}, true},
		{"no type", config(func(c *Config) { c.ContentType = []string{isJSON[len("Content-Type: "):] + ";"} }), 200, []string{isJSON}, false},
		{"named parameters are missing", config(func(c *Config) { c.ContentType = []string{"application/json; charset=utf-8"} }), 200, []string{isJSON}, false},
		{"the gate's charset", config(nil), 200, []string{isText}, true},
		{"another charset", config(nil), 200, []string{"Content-Type: text/plain; charset=utf-8"}, false},
		{"any subtype", config(func(c *Config) { c.ContentType = []string{"text/*"} }), 200, []string{"Content-Type: text/csv"}, true},
		{"any type", config(func(c *Config) { c.ContentType = []string{"*/*"} }), 200, []string{"Content-Type: image/png"}, true},
		{"any type in short", config(func(c *Config) { c.ContentType = []string{"*"} }), 200, []string{"Content-Type: image/png"}, true},
		{"varies by all", config(nil), 200, []string{isJSON, "Vary: *"}, false},
		{"control is not obeyed", config(nil), 200, []string{isJSON, "Cache-Control: no-store"}, true},
		{"says nothing", config(obey), 200, []string{isJSON}, false},
		{"private", config(obey), 200, []string{isJSON, "Cache-Control: max-age=9, private"}, false},
		{"no-cache", config(obey), 200, []string{isJSON, "Cache-Control: max-age=9", "Cache-Control: No-Cache"}, false},
		{"max-age", config(obey), 200, []string{isJSON, `Cache-Control: public, max-age="9"`}, true},
		{"max-age of nothing", config(obey), 200, []string{isJSON, "Cache-Control: max-age=0"}, false},
		{"s-maxage wins", config(obey), 200, []string{isJSON, "Cache-Control: max-age=9, s-maxage=0"}, false},
		{"expires", config(obey), 200, []string{isJSON, "Expires: Tue, 14 Nov 2023 22:13:21 GMT"}, true},
		{"expired", config(obey), 200, []string{isJSON, "Expires: Tue, 14 Nov 2023 22:13:20 GMT"}, false},
		{"expires nonsense", config(obey), 200, []string{isJSON, "Expires: 0"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := build(tt.config)
			first, second := "Bypass", "Bypass"
			if tt.kept {
				first, second = "Miss", "Hit"
			}
			if a := g.get(plugintest.Request{}, tt.status, "1", tt.lines...); a.cache() != first {
				t.Errorf("first: %s, want %s", a.cache(), first)
			}
			if a := g.get(plugintest.Request{}, tt.status, "1", tt.lines...); a.cache() != second || a.status != tt.status {
				t.Errorf("second: %s %d, want %s %d", a.cache(), a.status, second, tt.status)
			}
		})
	}
}

func TestWhatClientsAskFor(t *testing.T) {
	t.Parallel()
	c := config(func(c *Config) { c.CacheControl, c.StorageTtl = proto.Bool(true), proto.Int64(3600) })
	tests := []struct {
		name    string
		after   time.Duration
		control string
		want    string
	}{
		{"nothing", 59 * time.Second, "", "Hit"},
		{"no-store", 0, "no-store", "Bypass"},
		{"no-cache", 0, "no-cache", "Bypass"},
		{"young enough", 10 * time.Second, "max-age=10", "Hit"},
		{"too old", 11 * time.Second, "max-age=10", "Refresh"},
		{"fresh for long enough", 50 * time.Second, "min-fresh=10", "Hit"},
		{"not fresh for long enough", 51 * time.Second, "min-fresh=10", "Refresh"},
		{"stale", 61 * time.Second, "", "Refresh"},
		{"stale within bounds", 70 * time.Second, "max-stale=10", "Hit"},
		{"too stale", 71 * time.Second, "max-stale=10", "Refresh"},
		{"as stale as can be", time.Hour - time.Second, "max-stale", "Hit"},
		{"forgotten", time.Hour, "max-stale", "Miss"},
		{"only what is kept", 0, "only-if-cached", "Hit"},
		{"only what was kept", time.Hour, "only-if-cached", ""},
		{"nonsense", 0, "max-age=x, ,=", "Hit"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := build(c)
			g.get(plugintest.Request{}, 200, "1", isJSON, "Cache-Control: max-age=60")
			g.now = g.now.Add(tt.after)
			a := g.get(plugintest.Request{Lines: []string{"Cache-Control: " + tt.control}}, 200, "2", isJSON, "Cache-Control: max-age=60")
			if a.cache() != tt.want {
				t.Errorf("%s, want %s", a.cache(), tt.want)
			}
			if tt.want == "" && (a.status != 504 || a.body != "") {
				t.Errorf("only what is kept: %d %q", a.status, a.body)
			}
		})
	}
	g := build(c)
	if a := g.get(plugintest.Request{Lines: []string{"Authorization: x"}}, 200, "1", isJSON, "Cache-Control: max-age=60"); a.cache() != "Bypass" {
		t.Errorf("authorized: %s, want Bypass", a.cache())
	}
}

func TestHeadersOfHits(t *testing.T) {
	t.Parallel()
	g := build(config(nil))
	x := plugintest.Request{}.Exchange()
	x.Times.Start, x.Route = g.now, &plugin.Route{ID: "r1"}
	x.Early.Append("X-Id", "of the first exchange")
	v := g.OnRequest(x)
	plugintest.Answer(x, g.filter, v, 200, isJSON, "Content-Length: 4", "Connection: x", "X-RateLimit-Remaining-Minute: 4", "Set-Cookie: a=1", "Set-Cookie: b=2", "Link: </x>")
	for _, edit := range x.Response.Rewrites() {
		edit([]byte("body"))
	}
	a := g.get(plugintest.Request{}, 500, "")
	var got []string
	for _, f := range a.head.Fields() {
		if f.Name != "X-Cache-Key" {
			got = append(got, f.Name+": "+f.Value)
		}
	}
	slices.Sort(got)
	want := []string{"Age: 0", "Content-Length: 4", isJSON, "Link: </x>", "Set-Cookie: a=1", "Set-Cookie: b=2", "X-Cache-Status: Hit"}
	if !slices.Equal(got, want) || a.body != "body" || a.status != 200 {
		t.Errorf("hit: %d %q with %q, want %q", a.status, a.body, got, want)
	}
}

func TestHeadIsKeptWithItsLength(t *testing.T) {
	t.Parallel()
	g := build(config(nil))
	g.get(plugintest.Request{Method: "HEAD"}, 200, "", isJSON, "Content-Length: 1234")
	if a := g.get(plugintest.Request{Method: "HEAD"}, 200, ""); a.cache() != "Hit" || a.head.Get("Content-Length") != "1234" {
		t.Errorf("%s of length %q, want a hit of 1234", a.cache(), a.head.Get("Content-Length"))
	}
}

// TestVariants has the upstream say what its answer depends on, which Kong 3.9.1 ignores.
func TestVariants(t *testing.T) {
	t.Parallel()
	g := build(config(nil))
	gzip := plugintest.Request{Lines: []string{"Accept-Encoding: gzip"}}
	g.get(gzip, 200, "zipped", isJSON, "Vary: Origin, Accept-Encoding")
	if a := g.get(plugintest.Request{}, 200, "plain", isJSON, "Vary: Accept-Encoding"); a.cache() != "Miss" || a.body != "plain" {
		t.Errorf("another encoding: %s %q", a.cache(), a.body)
	}
	if a := g.get(plugintest.Request{}, 200, "", isJSON); a.cache() != "Hit" || a.body != "plain" {
		t.Errorf("the same encoding: %s %q", a.cache(), a.body)
	}
}

func TestSwitches(t *testing.T) {
	t.Parallel()
	g := build(config(func(c *Config) {
		c.ResponseHeaders = &Config_ResponseHeaders{Age: proto.Bool(false), XCacheStatus: proto.Bool(false), XCacheKey: proto.Bool(false)}
	}))
	g.get(plugintest.Request{}, 200, "1", isJSON)
	a := g.get(plugintest.Request{}, 200, "2", isJSON)
	if a.body != "1" || a.head.Count("Age")+a.head.Count("X-Cache-Status")+a.head.Count("X-Cache-Key") != 0 {
		t.Errorf("hit %q tells %v", a.body, a.head.Fields())
	}
	a = g.get(plugintest.Request{Lines: []string{"Kong-Debug: 1"}}, 200, "3", isJSON)
	if a.body != "1" || a.head.Count("Age")*a.head.Count("X-Cache-Status")*a.head.Count("X-Cache-Key") != 1 {
		t.Errorf("with Kong-Debug, hit %q tells %v", a.body, a.head.Fields())
	}
}

func TestAnswersOfTheGateAreNotKept(t *testing.T) {
	t.Parallel()
	g := build(config(nil))
	x := plugintest.Request{}.Exchange()
	x.Times.Start = g.now
	g.OnRequest(x)
	plugintest.Answer(x, g.filter, plugin.Exit(200, "text/plain", "x"), 0, isJSON)
	if len(x.Response.Rewrites()) != 0 || x.Response.Header.Get("X-Cache-Status") != "Bypass" {
		t.Errorf("the gate's answer: %v", x.Response.Header.Fields())
	}
}

func TestLargeAnswersAreNotKept(t *testing.T) {
	t.Parallel()
	g := build(config(nil))
	x := plugintest.Request{}.Exchange()
	x.Times.Start, x.Response.Length = g.now, maxObject+1
	g.OnRequest(x)
	x.Response.Length = maxObject + 1
	plugintest.Answer(x, g.filter, plugin.Next, 200, isJSON)
	if len(x.Response.Rewrites()) != 0 {
		t.Error("an answer that is too large is held in memory")
	}
	// One that does not tell its length is seen to be too large in the end.
	large := strings.Repeat("x", maxObject+1)
	g.get(plugintest.Request{}, 200, large, isJSON)
	if a := g.get(plugintest.Request{}, 200, "2", isJSON); a.cache() != "Miss" {
		t.Errorf("a large answer: %s, want Miss", a.cache())
	}
}

func TestStoreForgetsWhatWasNotUsed(t *testing.T) {
	t.Parallel()
	s, now := NewStore(), time.Unix(1700000000, 0)
	body := strings.Repeat("x", maxObject/2)
	for i := range 64 {
		s.put(fmt.Sprint(i), &Entry{Body: body, Expires: now.Add(time.Hour)})
		s.get("0", now)
	}
	if s.bytes > maxBytes || s.recent.Len() != len(s.byKey) || len(s.byKey) >= 32 {
		t.Errorf("%d bytes in %d entries, %d keys", s.bytes, s.recent.Len(), len(s.byKey))
	}
	if s.get("0", now) == nil || s.get("63", now) == nil || s.get("1", now) != nil {
		t.Error("what was used last is not what is kept")
	}
	s.put("63", &Entry{Expires: now})
	if !s.Purge("0") || s.Purge("0") || s.Lookup("0", now) != nil || s.get("63", now) != nil {
		t.Error("what is purged or expired is found")
	}
	s.Flush()
	if s.bytes != 0 || s.recent.Len() != 0 || len(s.byKey) != 0 {
		t.Errorf("after Flush %d bytes, %d entries", s.bytes, s.recent.Len())
	}
}

func TestStoreBoundsTheNumber(t *testing.T) {
	t.Parallel()
	s, now := NewStore(), time.Unix(1700000000, 0)
	for i := range maxEntries + 10 {
		s.put(fmt.Sprint(i), &Entry{Expires: now.Add(time.Hour)})
	}
	if s.recent.Len() > maxEntries || s.get("0", now) != nil {
		t.Errorf("%d entries, want at most %d", s.recent.Len(), maxEntries)
	}
}

// TestManyAtOnce has many exchanges ask for few answers; each gets one that was made for its
// path.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	f := compile(config(nil), NewStore())
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 200 {
				path := fmt.Sprintf("/%d", (w+i)%5)
				g := &gate{f, time.Unix(1700000000+int64(i*7), 0)}
				if a := g.get(plugintest.Request{Target: path}, 200, path, isJSON); a.body != path {
					t.Errorf("%s gets %q", path, a.body)
				}
				if i%50 == 0 {
					f.store.Flush()
				}
			}
		})
	}
	wg.Wait()
}

func TestHitsAllocateLittle(t *testing.T) {
	g := build(config(nil))
	g.get(plugintest.Request{}, 200, "1", isJSON, "Link: </x>")
	r, e := plugintest.Request{}, plugintest.Engine("")
	x := r.Exchange()
	route := &plugin.Route{ID: "r1"}
	run := func() {
		r.Again(x, e)
		x.Route, x.Times.Start = route, g.now
		if v := g.OnRequest(x); !v.Done() {
			t.Fatal("no hit")
		}
	}
	run()
	base := testing.AllocsPerRun(100, func() { r.Again(x, e) })
	if n := testing.AllocsPerRun(100, run) - base; n != 0 {
		t.Errorf("a hit allocates %v times, want 0", n)
	}
}

func FuzzDirectives(f *testing.F) {
	f.Add(`max-age="60", no-cache="a,b", private`, "text/plain; charset=utf-8")
	f.Add("max-age=99999999999999999999,s-maxage=-1,max-stale=,=", "*/*;")
	f.Fuzz(func(t *testing.T, control, contentType string) {
		var h plugin.Header
		h.Append("Cache-Control", control)
		d := parseDirectives(&h)
		now := time.Unix(1700000000, 0)
		if life := d.lifetime(&h, now); life < 0 {
			t.Errorf("lifetime of %q = %v", control, life)
		}
		d.accepts(&Entry{Stored: now, TTL: time.Second}, now)
		matchesAny(mediaTypes([]string{contentType}), contentType)
	})
}
