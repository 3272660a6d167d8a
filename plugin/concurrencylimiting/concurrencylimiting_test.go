package concurrencylimiting

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/counting"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func build(t testing.TB, config string, h plugin.Host) *filter {
	t.Helper()
	c := &Config{}
	if err := protojson.Unmarshal([]byte(config), c); err != nil {
		t.Fatalf("config %s: %v", config, err)
	}
	f, err := New(c, h)
	if err != nil {
		t.Fatalf("New(%s): %v", config, err)
	}
	return f.(*filter)
}

const ruleID = "concurrency:" + counting.Nobody + ":" + counting.Nobody

func TestSlotsAreHeldToTheEnd(t *testing.T) {
	t.Parallel()
	h := plugintest.NewHost()
	f := build(t, `{"limit":"2"}`, h)
	first, second, third := plugintest.Request{}.Exchange(), plugintest.Request{}.Exchange(), plugintest.Request{}.Exchange()
	for i, x := range []*plugin.Exchange{first, second} {
		if v := f.OnRequest(x); v.Done() || x.Early.Get("X-ConcurrencyLimit-Limit") != "2" || x.Early.Get("X-ConcurrencyLimit-Remaining") != []string{"1", "0"}[i] {
			t.Errorf("request %d: %d with %v", i, v.Status(), x.Early.Fields())
		}
	}
	v := f.OnRequest(third)
	if v.Status() != 429 || v.Message() != defaultMessage || v.Reason() != "too-many-at-once" || third.Early.Get("Retry-After") != "1" {
		t.Errorf("the third of two: %d %q %q with %v", v.Status(), v.Message(), v.Reason(), third.Early.Fields())
	}
	plugintest.Answer(first, f, plugin.Next, 200)
	if n := h.Counters.Running(ruleID, "192.0.2.1"); n != 2 {
		t.Errorf("%d run while an answer is sent, want 2", n)
	}
	f.OnLog(third) // has none to give back
	f.OnLog(first)
	f.OnLog(first)
	if n := h.Counters.Running(ruleID, "192.0.2.1"); n != 1 {
		t.Errorf("%d run after one has ended, want 1", n)
	}
}

func TestWhoIsCountedTogether(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		`"limit_by":"ip"`: "192.0.2.1", `"limit_by":"route"`: "r", `"limit_by":"service"`: "s",
		`"limit_by":"consumer"`: "c", `"limit_by":"header","header_name":"X-A"`: "v", `"limit_by":"path","path":"/p"`: "/p",
	} {
		h := plugintest.NewHost()
		f := build(t, `{"limit":"2",`+config+`}`, h)
		x := plugintest.Request{Target: "/p", Lines: []string{"X-A: v"}}.Exchange()
		x.Route, x.Service, x.Consumer = &plugin.Route{ID: "r"}, &plugin.Service{ID: "s"}, &plugin.Consumer{ID: "c"}
		f.OnRequest(x)
		if h.Counters.Running(ruleID, want) != 1 {
			t.Errorf("%s: not counted as %q", config, want)
		}
	}
}

func TestTheRule(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]plugin.SlotRule{
		`{"limit":"2"}`: {Limit: 2, Patience: 5 * time.Second, Redis: &plugin.Redis{}},
		`{"limit":"3","queue":"7","queue_timeout":0.5,"policy":"local","outage":"closed"}`: {Limit: 3, Queue: 7, Patience: time.Second / 2, Outage: plugin.Closed},
	} {
		h := plugintest.NewHost()
		build(t, config, h)
		got := h.Counters.SlotRules()[0]
		if want.ID = ruleID; (got.Redis == nil) != (want.Redis == nil) {
			t.Errorf("%s: store %v", config, got.Redis)
		}
		if got.Redis = want.Redis; got != want {
			t.Errorf("%s: %+v, want %+v", config, got, want)
		}
	}
}

func TestOutages(t *testing.T) {
	t.Parallel()
	for outage, want := range map[string]int{"open": 0, "closed": 500} {
		h := plugintest.NewHost()
		f := build(t, `{"limit":"1","outage":"`+outage+`"}`, h)
		h.Counters.Fail(errors.New("away"))
		x := plugintest.Request{}.Exchange()
		if v := f.OnRequest(x); v.Status() != want || x.Early.Len() != 0 {
			t.Errorf("%s: %d with %v", outage, v.Status(), x.Early.Fields())
		}
	}
}

func TestHiddenAndToldModes(t *testing.T) {
	t.Parallel()
	f := build(t, `{"limit":"1","hide_client_headers":true,"tell_mode":true,"error_code":"503","error_message":"busy"}`, plugintest.NewHost())
	x := plugintest.Request{Lines: []string{"Sekifuda-Debug: limits"}}.Exchange()
	if v := f.OnRequest(x); v.Done() || x.Early.Len() != 1 || x.Early.Get("Sekifuda-Limit-Mode") != "local" {
		t.Errorf("OnRequest = %d with %v", v.Status(), x.Early.Fields())
	}
	x = plugintest.Request{}.Exchange()
	if v := f.OnRequest(x); v.Status() != 503 || v.Message() != "busy" || x.Early.Len() != 0 {
		t.Errorf("OnRequest = %d %q with %v", v.Status(), v.Message(), x.Early.Fields())
	}
}

func TestNewRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		`{}`:                              "config.limit: value should be at least 1",
		`{"limit":"0"}`:                   "config.limit",
		`{"limit":"1","limit_by":"moon"}`: "config.limit_by",
		`{"limit":"1","policy":"moon"}`:   "config.policy",
		`{"limit":"1","outage":"moon"}`:   "config.outage",
		`{"limit":"1","limit_by":"path"}`: "config.path",
	} {
		c := &Config{}
		if err := protojson.Unmarshal([]byte(config), c); err != nil {
			t.Fatal(err)
		}
		if _, err := New(c, plugintest.NewHost()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New(%s) = %v, want %q", config, err, want)
		}
	}
}

// limiters are slots that allocate nothing themselves.
type limiters struct{ *plugintest.Host }

type free struct{}

func (limiters) Slots(plugin.SlotRule) (plugin.Slots, error) { return free{}, nil }

func (free) Acquire(_ func() context.Context, _ string, d *plugin.SlotDecision) (plugin.Slot, error) {
	*d = plugin.SlotDecision{Allowed: true, Counted: true, Left: 41}
	return free{}, nil
}

func (free) Release() {}

func TestARequestDoesNotAllocate(t *testing.T) {
	f := build(t, `{"limit":"42"}`, limiters{plugintest.NewHost()})
	r, e, x := plugintest.Request{}, plugintest.Engine(""), &plugin.Exchange{}
	r.Again(x, e)
	f.OnRequest(x)
	client := x.Client
	n := testing.AllocsPerRun(100, func() {
		x.Bind(e)
		x.Client = client
		if f.OnRequest(x).Done() {
			t.Error("refused")
		}
		f.OnLog(x)
	})
	if n != 0 {
		t.Errorf("OnRequest and OnLog allocate %v times, want 0", n)
	}
}
