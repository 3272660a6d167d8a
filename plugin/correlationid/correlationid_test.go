package correlationid

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func build(t testing.TB, c *Config) *filter {
	t.Helper()
	f, err := New(c, plugintest.NewHost())
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return f.(*filter)
}

const uuidPattern = `[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`

// TestIDs holds the form of each generator, and of what was recorded of a live Kong 3.9.1
// (transcript 19).
func TestIDs(t *testing.T) {
	t.Parallel()
	for generator, want := range map[string]string{
		"":             "^" + uuidPattern + "#[0-9]+$",
		"uuid#counter": "^" + uuidPattern + "#[0-9]+$",
		"uuid":         "^" + uuidPattern + "$",
		"tracker":      `^192\.0\.2\.9-8080-[0-9]+-40000-[0-9]+-1700000000\.007$`,
	} {
		t.Run(generator, func(t *testing.T) {
			t.Parallel()
			f := build(t, &Config{Generator: proto.String(generator)})
			seen := map[string]bool{}
			for range 50 {
				x := plugintest.Request{}.Exchange()
				x.Times.Start = time.UnixMilli(1700000000007)
				if v := f.OnRequest(x); v.Done() {
					t.Fatalf("OnRequest answers %d", v.Status())
				}
				id := x.Request.Header.Get("kong-request-id")
				if !regexp.MustCompile(want).MatchString(id) || seen[id] {
					t.Fatalf("id = %q, want one of %s that was not there before", id, want)
				}
				seen[id] = true
				if log := x.LogFields(); len(log) != 1 || log[0].Name != "correlation_id" || string(log[0].JSON) != `"`+id+`"` {
					t.Errorf("log fields = %v, want %q", log, id)
				}
			}
		})
	}
}

func TestCounterBeginsAtOne(t *testing.T) {
	t.Parallel()
	f := build(t, &Config{})
	x := plugintest.Request{}.Exchange()
	f.OnRequest(x)
	if id := x.Request.Header.Get("Kong-Request-ID"); !strings.HasSuffix(id, "#1") {
		t.Errorf("first id = %q, want it to end in #1", id)
	}
	if other := build(t, &Config{}); other.base == f.base {
		t.Error("two configurations count under one uuid")
	}
}

func TestEchoAndWhatTheClientSent(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name       string
		echo       bool
		lines      []string
		sent, told string // "*" is any id
	}{
		{"kept and told", true, []string{"x-cid: mine"}, "mine", "mine"},
		{"kept, not told", false, []string{"X-Cid: k"}, "k", ""},
		{"empty is none", true, []string{"X-Cid:"}, "*", "*"},
		{"made and told", true, nil, "*", "*"},
		{"made, not told", false, nil, "*", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := build(t, &Config{HeaderName: proto.String("X-Cid"), Generator: proto.String("uuid"), EchoDownstream: proto.Bool(tt.echo)})
			x := plugintest.Request{Lines: tt.lines}.Exchange()
			v := f.OnRequest(x)
			// An upstream's own line gives way.
			plugintest.Answer(x, f, v, 200, "X-Cid: upstream's")
			sent := x.Request.Header.Get("X-Cid")
			if x.Request.Header.Count("X-Cid") != 1 || tt.sent != "*" && sent != tt.sent || len(sent) == 0 {
				t.Errorf("upstream gets %q, want %q", sent, tt.sent)
			}
			want := tt.told
			switch want {
			case "*":
				want = sent
			case "":
				want = "upstream's"
			}
			if got := x.Response.Header.Get("X-Cid"); got != want || x.Response.Header.Count("X-Cid") != 1 {
				t.Errorf("client gets %q, want %q", got, want)
			}
		})
	}
}

// TestAnswersWithoutRequestPhase is for answers that the gate gives before filters run.
func TestAnswersWithoutRequestPhase(t *testing.T) {
	t.Parallel()
	f := build(t, &Config{EchoDownstream: proto.Bool(true)})
	x := plugintest.Request{}.Exchange()
	plugintest.Answer(x, f, plugin.Deny(404, ""), 0)
	if got := x.Response.Header.Get("Kong-Request-ID"); len(got) < uuidLen {
		t.Errorf("client gets %q, want an id", got)
	}
	x = plugintest.Request{Lines: []string{"Kong-Request-ID: mine"}}.Exchange()
	plugintest.Answer(x, f, plugin.Deny(404, ""), 0)
	if got := x.Response.Header.Get("Kong-Request-ID"); got != "mine" {
		t.Errorf("client gets %q, want its own id", got)
	}
}

func TestNewRefusesUnknownGenerators(t *testing.T) {
	t.Parallel()
	if _, err := New(&Config{Generator: proto.String("x")}, plugintest.NewHost()); err == nil || !strings.Contains(err.Error(), "config.generator") {
		t.Errorf("New = %v, want a complaint of config.generator", err)
	}
}

func TestPhasesDoNotAllocate(t *testing.T) {
	for _, generator := range []string{"uuid#counter", "uuid", "tracker"} {
		f := build(t, &Config{Generator: &generator, EchoDownstream: proto.Bool(true)})
		r, e := plugintest.Request{}, plugintest.Engine("")
		x := r.Exchange()
		run := func() {
			r.Again(x, e)
			f.OnRequest(x)
			f.OnResponse(x)
		}
		run()
		base := testing.AllocsPerRun(100, func() { r.Again(x, e) })
		if n := testing.AllocsPerRun(100, run) - base; n != 0 {
			t.Errorf("%s allocates %v times, want 0", generator, n)
		}
	}
}
