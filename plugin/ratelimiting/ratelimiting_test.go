package ratelimiting

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/counting"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func build(t testing.TB, c *Config, h *plugintest.Host) plugin.RequestFilter {
	t.Helper()
	f, err := New(c, h)
	if err != nil {
		t.Fatalf("New(%v): %v", c, err)
	}
	return f.(plugin.RequestFilter)
}

func early(x *plugin.Exchange) map[string]string {
	all := map[string]string{}
	for _, f := range x.Early.Fields() {
		all[f.Name] = f.Value
	}
	return all
}

const global = "ratelimit:" + counting.Nobody + ":" + counting.Nobody

func TestRecordedHeaders(t *testing.T) {
	t.Parallel()
	for i, v := range plugintest.Vectors(t, "rate-limiting") {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			var in struct {
				Limits map[string]float64
				Now    time.Time        `json:"now_utc"`
				Used   map[string]int64 `json:"usage_before"`
			}
			var want struct {
				Headers map[string]int64
				Status  any
				Message string
			}
			plugintest.Decode(t, v.Input, &in)
			plugintest.Decode(t, v.Result, &want)
			h := plugintest.NewHost()
			h.Clock.Advance(in.Now.Sub(h.Clock.Now()))
			c := &Config{}
			for name, n := range in.Limits {
				setLimit(c, name, n)
			}
			for name, used := range in.Used {
				h.Counters.Set(global, "192.0.2.1", plugin.Period(slices.Index(names, name)), used)
			}
			x := plugintest.Request{}.Exchange()
			got := build(t, c, h).OnRequest(x)
			headers := map[string]string{}
			for name, n := range want.Headers {
				headers[name] = strconv.FormatInt(n, 10)
			}
			if !maps.Equal(early(x), headers) {
				t.Errorf("headers(%s) =\n%v, want\n%v", v.Input, early(x), headers)
			}
			if status, refused := want.Status.(float64); refused != got.Done() || refused && (got.Status() != int(status) || got.Message() != want.Message) {
				t.Errorf("OnRequest(%s) = %d %q, want %s", v.Input, got.Status(), got.Message(), v.Result)
			}
		})
	}
}

var names = []string{"second", "minute", "hour", "day", "month", "year"}

func setLimit(c *Config, period string, n float64) {
	switch period {
	case "second":
		c.Second = &n
	case "minute":
		c.Minute = &n
	case "hour":
		c.Hour = &n
	case "day":
		c.Day = &n
	case "month":
		c.Month = &n
	case "year":
		c.Year = &n
	}
}

func TestWhoIsCountedTogether(t *testing.T) {
	t.Parallel()
	bob := &plugin.Consumer{ID: "bob-id"}
	key := &plugin.Credential{ID: "key-id"}
	orders := &plugin.Service{ID: "orders-id"}
	tests := []struct {
		name   string
		config *Config
		edit   func(x *plugin.Exchange)
		want   string
	}{
		{"a consumer", &Config{}, func(x *plugin.Exchange) { x.Consumer, x.Credential = bob, key }, "bob-id"},
		{"a credential without consumer", &Config{}, func(x *plugin.Exchange) { x.Credential = key }, "key-id"},
		{"counting.Nobody known", &Config{}, func(*plugin.Exchange) {}, "192.0.2.1"},
		{"a credential", &Config{LimitBy: proto.String("credential")}, func(x *plugin.Exchange) { x.Consumer, x.Credential = bob, key }, "key-id"},
		{"no credential", &Config{LimitBy: proto.String("credential")}, func(x *plugin.Exchange) { x.Consumer = bob }, "192.0.2.1"},
		{"an address", &Config{LimitBy: proto.String("ip")}, func(x *plugin.Exchange) { x.Consumer = bob }, "192.0.2.1"},
		{"a service", &Config{LimitBy: proto.String("service")}, func(x *plugin.Exchange) { x.Service = orders }, "orders-id"},
		{"no service", &Config{LimitBy: proto.String("service")}, func(*plugin.Exchange) {}, "192.0.2.1"},
		{"a header", &Config{LimitBy: proto.String("header"), HeaderName: proto.String("X-Tenant")}, func(x *plugin.Exchange) { x.Request.Header.Append("x-tenant", "t1") }, "t1"},
		{"no header", &Config{LimitBy: proto.String("header"), HeaderName: proto.String("X-Tenant")}, func(*plugin.Exchange) {}, "192.0.2.1"},
		{"a path", &Config{LimitBy: proto.String("path"), Path: proto.String("/p")}, func(x *plugin.Exchange) { x.Request.Path = "/p" }, "/p"},
		{"another path", &Config{LimitBy: proto.String("path"), Path: proto.String("/p")}, func(x *plugin.Exchange) { x.Request.Path = "/p/q" }, "192.0.2.1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := plugintest.NewHost()
			c := proto.Clone(tt.config).(*Config)
			c.Minute = proto.Float64(5)
			x := plugintest.Request{}.Exchange()
			tt.edit(x)
			build(t, c, h).OnRequest(x)
			if got := h.Counters.Used(global, tt.want, plugin.Minute); got != 1 {
				t.Errorf("count of %q = %d, want 1", tt.want, got)
			}
		})
	}
}

func TestRuleIsTheScopeOfThePlugin(t *testing.T) {
	t.Parallel()
	for want, scope := range map[string]plugin.Scope{
		global:                                {},
		"ratelimit:r:" + counting.Nobody:      {RouteID: "r", ConsumerID: "c"},
		"ratelimit:" + counting.Nobody + ":s": {ServiceID: "s"},
		"ratelimit:r:s":                       {RouteID: "r", ServiceID: "s"},
	} {
		h := plugintest.NewHost()
		h.In = scope
		build(t, &Config{Minute: proto.Float64(1)}, h)
		if got := h.Counters.Rules()[0].ID; got != want {
			t.Errorf("rule of %v = %q, want %q", scope, got, want)
		}
	}
}

func TestPolicySaysWhereCountsAre(t *testing.T) {
	t.Parallel()
	tests := []struct {
		config *Config
		want   *plugin.Redis
	}{
		{&Config{}, nil},
		{&Config{Policy: proto.String("local")}, nil},
		{&Config{Policy: proto.String("cluster")}, &plugin.Redis{}},
		{&Config{Policy: proto.String("redis")}, &plugin.Redis{}},
		{&Config{Policy: proto.String("redis"), Redis: &Config_Redis{Host: proto.String("r.test"), Port: proto.Int64(6379)}}, &plugin.Redis{Addr: "r.test:6379"}},
		{&Config{Policy: proto.String("redis"), Redis: &Config_Redis{
			Host: proto.String("::1"), Port: proto.Int64(7000), Timeout: proto.Int64(50), Username: proto.String("u"), Password: proto.String("p"),
			Database: proto.Int64(3), Ssl: proto.Bool(true), SslVerify: proto.Bool(true), ServerName: proto.String("s.test"),
		}}, &plugin.Redis{Addr: "[::1]:7000", Username: "u", Password: "p", DB: 3, TLS: true, TLSVerify: true, ServerName: "s.test", Timeout: 50 * time.Millisecond}},
	}
	for _, tt := range tests {
		h := plugintest.NewHost()
		tt.config.Minute = proto.Float64(1)
		build(t, tt.config, h)
		got := h.Counters.Rules()[0].Redis
		if (got == nil) != (tt.want == nil) || got != nil && *got != *tt.want {
			t.Errorf("store of %v = %+v, want %+v", tt.config, got, tt.want)
		}
	}
}

func TestCountsDownAndRefuses(t *testing.T) {
	t.Parallel()
	h := plugintest.NewHost()
	f := build(t, &Config{Minute: proto.Float64(3)}, h)
	for want := 2; want >= 0; want-- {
		x := plugintest.Request{}.Exchange()
		if v := f.OnRequest(x); v.Done() || x.Early.Get("RateLimit-Remaining") != strconv.Itoa(want) {
			t.Fatalf("remaining = %q, refused %v, want %d", x.Early.Get("RateLimit-Remaining"), v.Done(), want)
		}
	}
	v := f.OnRequest(plugintest.Request{}.Exchange())
	if v.Status() != 429 || v.Message() != defaultMessage || v.Reason() != "over-minute" {
		t.Errorf("fourth = %d %q %q, want 429", v.Status(), v.Message(), v.Reason())
	}
	h.Clock.Advance(40 * time.Second)
	if v := f.OnRequest(plugintest.Request{}.Exchange()); v.Done() {
		t.Errorf("first of the next minute = %d, want it to pass", v.Status())
	}
}

func TestAnswersAreConfigurable(t *testing.T) {
	t.Parallel()
	h := plugintest.NewHost()
	f := build(t, &Config{Minute: proto.Float64(1), ErrorCode: proto.Float64(418), ErrorMessage: proto.String("enough"), HideClientHeaders: proto.Bool(true)}, h)
	x := plugintest.Request{}.Exchange()
	f.OnRequest(x)
	v := f.OnRequest(x)
	if v.Status() != 418 || v.Message() != "enough" || len(early(x)) != 0 {
		t.Errorf("OnRequest = %d %q with %v, want 418 enough and no headers", v.Status(), v.Message(), early(x))
	}
}

func TestFractionalLimitsAdmitWhileAnythingIsLeft(t *testing.T) {
	t.Parallel()
	f := build(t, &Config{Minute: proto.Float64(1.5)}, plugintest.NewHost())
	for i, want := range []string{"0.5", "0", "0"} {
		x := plugintest.Request{}.Exchange()
		v := f.OnRequest(x)
		if got := x.Early.Get("X-RateLimit-Remaining-Minute"); got != want || v.Done() != (i == 2) {
			t.Errorf("request %d: remaining %q, refused %v, want %q", i, got, v.Done(), want)
		}
		if got := x.Early.Get("X-RateLimit-Limit-Minute"); got != "1.5" {
			t.Errorf("limit = %q, want 1.5", got)
		}
	}
}

func TestAStoreThatIsAway(t *testing.T) {
	t.Parallel()
	for _, tolerant := range []bool{true, false} {
		h := plugintest.NewHost()
		f := build(t, &Config{Minute: proto.Float64(1), FaultTolerant: proto.Bool(tolerant)}, h)
		h.Counters.Fail(errors.New("redis is away"))
		x := plugintest.Request{}.Exchange()
		v := f.OnRequest(x)
		want := map[bool]int{true: 0, false: 500}[tolerant]
		if v.Status() != want || v.Message() != "" || len(early(x)) != 0 {
			t.Errorf("tolerant %v: OnRequest = %d %q with %v, want %d and no headers", tolerant, v.Status(), v.Message(), early(x), want)
		}
		if !tolerant && !strings.Contains(h.Logged(), "redis is away") {
			t.Errorf("log = %q, want the cause", h.Logged())
		}
	}
}

func TestOutageModes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		outage   string
		tolerant bool
		want     plugin.Outage
	}{
		{"", true, plugin.EqualShare}, {"", false, plugin.Closed},
		{"open", false, plugin.Open}, {"closed", true, plugin.Closed}, {"demand_share", true, plugin.DemandShare}, {"equal_share", false, plugin.EqualShare},
	} {
		h := plugintest.NewHost()
		config := &Config{Minute: proto.Float64(1), FaultTolerant: proto.Bool(c.tolerant)}
		if c.outage != "" {
			config.Outage = proto.String(c.outage)
		}
		build(t, config, h)
		if got := h.Counters.Rules()[0].Outage; got != c.want {
			t.Errorf("outage of %v = %v, want %v", config, got, c.want)
		}
	}
}

func TestTheModeIsToldToThoseWhoAsk(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		tell bool
		ask  []string
		want string
	}{
		{true, []string{"Sekifuda-Debug: limits"}, "local"},
		{true, nil, ""},
		{true, []string{"Sekifuda-Debug: routes"}, ""},
		{false, []string{"Sekifuda-Debug: limits"}, ""},
	} {
		f := build(t, &Config{Minute: proto.Float64(1), TellMode: proto.Bool(c.tell)}, plugintest.NewHost())
		x := plugintest.Request{Lines: c.ask}.Exchange()
		f.OnRequest(x)
		if got := x.Early.Get("Sekifuda-Limit-Mode"); got != c.want {
			t.Errorf("tell %v, %v: mode is %q, want %q", c.tell, c.ask, got, c.want)
		}
	}
}

func TestNewRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	tests := []struct {
		config *Config
		want   string
	}{
		{&Config{}, "at least one of these fields must be non-empty"},
		{&Config{Minute: proto.Float64(0)}, "config.minute: value must be greater than 0"},
		{&Config{Minute: proto.Float64(5), LimitBy: proto.String("header")}, "config.header_name: required field missing"},
		{&Config{Minute: proto.Float64(5), LimitBy: proto.String("path")}, "config.path: required field missing"},
		{&Config{Minute: proto.Float64(5), LimitBy: proto.String("moon")}, "config.limit_by"},
		{&Config{Minute: proto.Float64(5), Policy: proto.String("moon")}, "config.policy"},
		{&Config{Minute: proto.Float64(5), Outage: proto.String("moon")}, "config.outage"},
		{&Config{Minute: proto.Float64(5), Policy: proto.String("redis"), Redis: &Config_Redis{Host: proto.String("h"), Port: proto.Int64(0)}}, "config.redis.port"},
	}
	for _, tt := range tests {
		if _, err := New(tt.config, plugintest.NewHost()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("New(%v) = %v, want %q", tt.config, err, tt.want)
		}
	}
}

func TestTellingTheClientDoesNotAllocate(t *testing.T) {
	f := build(t, &Config{Minute: proto.Float64(1e6), Hour: proto.Float64(1e9)}, plugintest.NewHost())
	r, e, x := plugintest.Request{}, plugintest.Engine(""), &plugin.Exchange{}
	r.Again(x, e)
	f.OnRequest(x)
	client := x.Client
	n := testing.AllocsPerRun(100, func() {
		x.Bind(e)
		x.Client = client
		f.OnRequest(x)
	})
	if n != 0 {
		t.Errorf("OnRequest allocates %v times, want 0", n)
	}
}
