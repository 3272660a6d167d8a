package limits_test

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/sekifuda/sekifuda/dataplane/limits"
	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
	"github.com/sekifuda/sekifuda/plugin/ratelimiting"
)

// gate is a host whose limits are the real ones on the test's clock.
type gate struct {
	*plugintest.Host
	limits *limits.Limits
}

func (g gate) Limiter(r plugin.Rule) (plugin.Limiter, error) { return g.limits.Limiter(r) }

func newGate(t testing.TB) gate {
	t.Helper()
	h := plugintest.NewHost()
	l, err := limits.New(limits.Options{Clock: h.Clock.Now, Logger: h.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	return gate{h, l}
}

func (g gate) filter(t testing.TB, c *ratelimiting.Config) plugin.RequestFilter {
	t.Helper()
	f, err := ratelimiting.New(c, g)
	if err != nil {
		t.Fatalf("New(%v): %v", c, err)
	}
	return f.(plugin.RequestFilter)
}

// nowhere is the rule of a plugin without route and service.
const nowhere = "ratelimit:00000000-0000-0000-0000-000000000000:00000000-0000-0000-0000-000000000000"

var periods = map[string]plugin.Period{
	"second": plugin.Second, "minute": plugin.Minute, "hour": plugin.Hour,
	"day": plugin.Day, "month": plugin.Month, "year": plugin.Year,
}

// charge makes what was used before: under another limit of the same rule.
func (g gate) charge(t *testing.T, p plugin.Period, n int64) {
	t.Helper()
	l, err := g.limits.Limiter(plugin.Rule{ID: nowhere, Windows: []plugin.Window{{Period: p, Limit: 1 << 50}}})
	if err != nil {
		t.Fatal(err)
	}
	var d plugin.Decision
	if err := l.Take(context.Background, "192.0.2.1", n, &d); err != nil || !d.Allowed {
		t.Fatalf("Take(%d) = %+v, %v", n, d, err)
	}
}

func config(t *testing.T, limits map[string]float64) *ratelimiting.Config {
	t.Helper()
	c := &ratelimiting.Config{}
	for name, n := range limits {
		field := c.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(name))
		if field == nil {
			t.Fatalf("there is no limit %q", name)
		}
		c.ProtoReflect().Set(field, protoreflect.ValueOfFloat64(n))
	}
	return c
}

func early(x *plugin.Exchange) map[string]string {
	all := map[string]string{}
	for _, f := range x.Early.Fields() {
		all[f.Name] = f.Value
	}
	return all
}

// TestRecordedHeaders plays the vectors recorded from Kong against real counters.
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
			g := newGate(t)
			g.Clock.Advance(in.Now.Sub(g.Clock.Now()))
			for name, n := range in.Used {
				g.charge(t, periods[name], n)
			}
			x := plugintest.Request{}.Exchange()
			got := g.filter(t, config(t, in.Limits)).OnRequest(x)
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

// TestACustomersMinute is the guide's hundred in a minute, then the next minute, then a
// limit that is doubled in the middle.
func TestACustomersMinute(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	f := g.filter(t, &ratelimiting.Config{Minute: proto.Float64(100)})
	ask := func(f plugin.RequestFilter) (plugin.Verdict, map[string]string) {
		x := plugintest.Request{}.Exchange()
		v := f.OnRequest(x)
		return v, early(x)
	}
	for left := 99; left >= 0; left-- {
		if v, h := ask(f); v.Done() || h["X-RateLimit-Remaining-Minute"] != strconv.Itoa(left) || h["RateLimit-Reset"] != "40" {
			t.Fatalf("with %d left: %d %v", left, v.Status(), h)
		}
	}
	v, h := ask(f)
	if v.Status() != 429 || v.Message() != "API rate limit exceeded" || h["Retry-After"] != "40" || h["RateLimit-Remaining"] != "0" {
		t.Errorf("the 101st = %d %q %v, want 429 and 40 s to wait", v.Status(), v.Message(), h)
	}
	if _, h := ask(g.filter(t, &ratelimiting.Config{Minute: proto.Float64(200)})); h["X-RateLimit-Remaining-Minute"] != "99" {
		t.Errorf("after the limit was doubled: %v, want 99 left", h)
	}
	g.Clock.Advance(40 * time.Second)
	if v, h := ask(f); v.Done() || h["X-RateLimit-Remaining-Minute"] != "99" || h["RateLimit-Reset"] != "60" {
		t.Errorf("the next minute = %d %v, want it to start anew", v.Status(), h)
	}
}

// TestAHundredOfManyAtOnce admits exactly what is allowed, and tells each one another number.
func TestAHundredOfManyAtOnce(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	f := g.filter(t, &ratelimiting.Config{Minute: proto.Float64(100), Hour: proto.Float64(1000)})
	var admitted, refused atomic.Int64
	var told sync.Map
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				x := plugintest.Request{}.Exchange()
				if f.OnRequest(x).Done() {
					refused.Add(1)
					continue
				}
				admitted.Add(1)
				if _, twice := told.LoadOrStore(early(x)["X-RateLimit-Remaining-Minute"], true); twice {
					t.Errorf("%v was told twice", early(x))
				}
			}
		})
	}
	wg.Wait()
	if admitted.Load() != 100 || refused.Load() != 300 {
		t.Errorf("admitted %d and refused %d, want 100 and 300", admitted.Load(), refused.Load())
	}
	x := plugintest.Request{}.Exchange()
	f.OnRequest(x)
	if got := early(x)["X-RateLimit-Remaining-Hour"]; got != "900" {
		t.Errorf("the hour has %s left, want 900: refusals charge nothing", got)
	}
}

func TestAWarmRequestDoesNotAllocate(t *testing.T) {
	g := newGate(t)
	f := g.filter(t, &ratelimiting.Config{Minute: proto.Float64(1e6), Hour: proto.Float64(1e9)})
	r, e, x := plugintest.Request{}, plugintest.Engine(""), &plugin.Exchange{}
	r.Again(x, e)
	f.OnRequest(x)
	client := x.Client
	n := testing.AllocsPerRun(100, func() {
		x.Bind(e)
		x.Client = client
		f.OnRequest(x)
	})
	if n > poolLoses {
		t.Errorf("OnRequest allocates %v times, want %d", n, poolLoses)
	}
}
