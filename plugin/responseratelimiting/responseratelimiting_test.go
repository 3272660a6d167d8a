package responseratelimiting

import (
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/counting"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

type fixture struct {
	*filter
	host *plugintest.Host
}

func build(t testing.TB, c *Config) *fixture {
	t.Helper()
	h := plugintest.NewHost()
	h.In = plugin.Scope{RouteID: "r"}
	f, err := New(c, h)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return &fixture{f.(*filter), h}
}

// serve sends a request through both phases; the upstream says what it spent.
func (f *fixture) serve(spent string) (*plugin.Exchange, plugin.Verdict) {
	x := plugintest.Request{Lines: []string{"X-RateLimit-Remaining-video: forged"}}.Exchange()
	v := f.OnRequest(x)
	lines := []string{"Content-Type: text/plain", "Content-Length: 5"}
	if spent != "" {
		lines = append(lines, "X-Kong-Limit: "+spent)
	}
	plugintest.Answer(x, f.filter, v, 200, lines...)
	return x, v
}

func video(minute float64) *Config {
	return &Config{Limits: map[string]*Config_Limit{"video": {Minute: &minute}}}
}

func TestSpending(t *testing.T) {
	t.Parallel()
	f := build(t, video(5))
	steps := []struct {
		spent            string
		upstream, client string // what is left before and after
		status           int
	}{
		{"video=2", "5", "3", 200},
		{"", "3", "3", 200},
		{"other=7, video=1", "3", "2", 200},
		{"video=4", "2", "0", 200}, // may spend more than there is
		{"", "0", "0", 200},        // spends nothing
		{"video=1", "0", "0", 429},
	}
	for i, s := range steps {
		x, v := f.serve(s.spent)
		if v.Done() || x.Response.Status != s.status {
			t.Errorf("step %d: verdict %d, status %d, want %d", i, v.Status(), x.Response.Status, s.status)
		}
		if got := x.Request.Header.Get("X-RateLimit-Remaining-video"); got != s.upstream {
			t.Errorf("step %d: the upstream is told %q, want %q", i, got, s.upstream)
		}
		h := &x.Response.Header
		if h.Get("X-RateLimit-Limit-video-minute") != "5" || h.Get("X-RateLimit-Remaining-video-minute") != s.client || h.Count("x-kong-limit") != 0 {
			t.Errorf("step %d: the client is told %v, want %q left", i, h.Fields(), s.client)
		}
		body := []byte("hello")
		for _, edit := range x.Response.Rewrites() {
			body = edit(body)
		}
		if empty := len(body) == 0 && h.Get("Content-Length") == "0"; empty != (s.status == 429) {
			t.Errorf("step %d: body %q of length %s", i, body, h.Get("Content-Length"))
		}
	}
	f.host.Clock.Advance(time.Minute)
	if x, _ := f.serve("video=1"); x.Response.Status != 200 || x.Response.Header.Get("X-RateLimit-Remaining-video-minute") != "4" {
		t.Error("a new minute does not begin anew")
	}
}

// TestPeriodsAreSpentAlike has the shorter period be spent before the longer one, which still
// counts all of it.
func TestPeriodsAreSpentAlike(t *testing.T) {
	t.Parallel()
	f := build(t, &Config{Limits: map[string]*Config_Limit{"video": {Second: proto.Float64(2), Hour: proto.Float64(10)}}})
	x, _ := f.serve("video=5")
	h := &x.Response.Header
	if h.Get("X-RateLimit-Remaining-video-second") != "0" || h.Get("X-RateLimit-Remaining-video-hour") != "5" {
		t.Errorf("client is told %v", h.Fields())
	}
	if x, _ := f.serve(""); x.Request.Header.Get("X-RateLimit-Remaining-video") != "0" {
		t.Errorf("the upstream is told %v, want the least of all periods", x.Request.Header.Fields())
	}
}

// TestNothingIsSpentByWhatIsRefused has two limits, of which one is used up.
func TestNothingIsSpentByWhatIsRefused(t *testing.T) {
	t.Parallel()
	f := build(t, &Config{Limits: map[string]*Config_Limit{"a": {Minute: proto.Float64(9)}, "b": {Minute: proto.Float64(1)}}})
	f.serve("b=1")
	x, _ := f.serve("a=3,b=1")
	if x.Response.Status != 429 || x.Response.Header.Get("X-RateLimit-Remaining-a-minute") != "9" {
		t.Errorf("status %d, client is told %v", x.Response.Status, x.Response.Header.Fields())
	}
}

// TestTheLastIsGivenOnce has two exchanges see the same rest.
func TestTheLastIsGivenOnce(t *testing.T) {
	t.Parallel()
	f := build(t, video(1))
	one, two := plugintest.Request{}.Exchange(), plugintest.Request{}.Exchange()
	f.OnRequest(one)
	f.OnRequest(two)
	plugintest.Answer(one, f.filter, plugin.Next, 200, "x-kong-limit: video=1")
	plugintest.Answer(two, f.filter, plugin.Next, 200, "x-kong-limit: video=1")
	if one.Response.Status != 200 || two.Response.Status != 429 {
		t.Errorf("statuses %d and %d, want 200 and 429", one.Response.Status, two.Response.Status)
	}
}

func TestBlockOnFirstViolation(t *testing.T) {
	t.Parallel()
	c := video(1)
	c.BlockOnFirstViolation = proto.Bool(true)
	f := build(t, c)
	f.serve("video=1")
	x, v := f.serve("")
	if v.Status() != 429 || v.Message() != "API rate limit exceeded for 'video'" {
		t.Errorf("verdict %d %q", v.Status(), v.Message())
	}
	if got := x.Response.Header.Get("X-RateLimit-Remaining-video-minute"); got != "0" {
		t.Errorf("client is told %q left, want 0", got)
	}
}

// TestAnswersOfTheGateSpendNothing has a later filter answer with a forged line.
func TestAnswersOfTheGateSpendNothing(t *testing.T) {
	t.Parallel()
	f := build(t, video(5))
	x := plugintest.Request{}.Exchange()
	f.OnRequest(x)
	plugintest.Answer(x, f.filter, plugin.Deny(403, ""), 0, "x-kong-limit: video=2")
	if got := x.Response.Header.Get("X-RateLimit-Remaining-video-minute"); got != "5" {
		t.Errorf("client is told %q left, want 5", got)
	}
}

func TestHeadersCanBeHiddenAndRenamed(t *testing.T) {
	t.Parallel()
	c := video(5)
	c.HideClientHeaders, c.HeaderName = proto.Bool(true), proto.String("X-Spent")
	f := build(t, c)
	x := plugintest.Request{}.Exchange()
	plugintest.Answer(x, f.filter, f.OnRequest(x), 200, "X-Spent: video=2", "x-kong-limit: video=1")
	if h := x.Response.Header.Fields(); len(h) != 1 || h[0].Name != "x-kong-limit" {
		t.Errorf("client is told %v", h)
	}
	if got := f.host.Counters.Used("response_ratelimit:r:"+counting.Nobody+":video:minute", "192.0.2.1", plugin.Minute); got != 2 {
		t.Errorf("%d is counted, want 2", got)
	}
}

func TestWhoIsCounted(t *testing.T) {
	t.Parallel()
	bob := &plugin.Consumer{ID: "b"}
	key := &plugin.Credential{ID: "k", Consumer: bob}
	for _, tt := range []struct {
		by         string
		consumer   *plugin.Consumer
		credential *plugin.Credential
		want       string
	}{
		{"consumer", bob, key, "b"}, {"consumer", nil, key, "k"}, {"consumer", nil, nil, "192.0.2.1"},
		{"credential", bob, key, "k"}, {"credential", bob, nil, "192.0.2.1"}, {"ip", bob, key, "192.0.2.1"},
	} {
		by, err := identify(&Config{LimitBy: &tt.by})
		if err != nil {
			t.Fatal(err)
		}
		x := plugintest.Request{}.Exchange()
		x.Consumer, x.Credential = tt.consumer, tt.credential
		if got := by(x); got != tt.want {
			t.Errorf("by %s: %q, want %q", tt.by, got, tt.want)
		}
	}
}

func TestCountersAway(t *testing.T) {
	t.Parallel()
	f := build(t, video(5))
	f.host.Counters.Fail(errors.New("no redis"))
	if x, v := f.serve("video=1"); v.Done() || x.Response.Status != 200 || x.Response.Header.Count("X-RateLimit-Limit-video-minute") != 0 ||
		x.Request.Header.Count("X-RateLimit-Remaining-video") != 0 {
		t.Errorf("tolerant: verdict %d, client is told %v, upstream %v", v.Status(), x.Response.Header.Fields(), x.Request.Header.Fields())
	}
	c := video(5)
	c.FaultTolerant = proto.Bool(false)
	f = build(t, c)
	f.host.Counters.Fail(errors.New("no redis"))
	if _, v := f.serve(""); v.Status() != 500 || v.Message() != "" || !strings.Contains(f.host.Logged(), "no redis") {
		t.Errorf("strict: verdict %d %q, log %s", v.Status(), v.Message(), f.host.Logged())
	}
}

func TestRedisAndRules(t *testing.T) {
	t.Parallel()
	c := video(5)
	c.Policy, c.Redis = proto.String("redis"), &Config_Redis{Host: proto.String("cache.test"), Port: proto.Int64(6380), Timeout: proto.Int64(2000), Password: proto.String("p")}
	rules := build(t, c).host.Counters.Rules()
	if len(rules) != 1 || rules[0].Redis == nil || rules[0].Redis.Addr != "cache.test:6380" || rules[0].Redis.Timeout != 2*time.Second || rules[0].Outage != plugin.EqualShare {
		t.Errorf("rules = %+v", rules)
	}
	for want, c := range map[string]*Config{
		"config.limits":              {},
		"config.limits.video":        {Limits: map[string]*Config_Limit{"video": {}}},
		"config.limits.video.minute": video(-1),
		"config.policy":              {Policy: proto.String("x"), Limits: video(1).Limits},
		"config.limit_by":            {LimitBy: proto.String("x"), Limits: video(1).Limits},
		"config.redis.port":          {Policy: proto.String("redis"), Redis: &Config_Redis{Host: proto.String("h"), Port: proto.Int64(0)}, Limits: video(1).Limits},
	} {
		if _, err := New(c, plugintest.NewHost()); err == nil || !strings.HasPrefix(err.Error(), want+":") {
			t.Errorf("New(%v) = %v, want a complaint of %s", c, err, want)
		}
	}
}

func TestPhasesDoNotAllocate(t *testing.T) {
	f := build(t, video(1e6))
	r, e := plugintest.Request{}, plugintest.Engine("")
	x := r.Exchange()
	run := func() {
		r.Again(x, e)
		f.OnRequest(x)
		x.Response.Source = plugin.FromUpstream
		x.Response.Header.Append("x-kong-limit", "video=1, other=2")
		f.OnResponse(x)
	}
	run()
	base := testing.AllocsPerRun(100, func() { r.Again(x, e) })
	if n := testing.AllocsPerRun(100, run) - base; n > poolLoses {
		t.Errorf("both phases allocate %v times, want 0", n)
	}
}

func FuzzSpent(f *testing.F) {
	f.Add("video=1, video=2,other=3")
	f.Add("video==1,=,video=-1,video=1e400,video=NaN")
	g := build(f, video(5))
	f.Fuzz(func(t *testing.T, header string) {
		spent := make([]int64, 1)
		g.read(header, spent)
		if spent[0] < 0 || spent[0] > maxSpent || spent[0] > 0 && !strings.Contains(header, "video") {
			t.Errorf("read(%q) = %d", header, spent[0])
		}
	})
}
