package botdetection

import (
	"fmt"
	"strings"
	"sync"
	"testing"

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

func ask(f plugin.RequestFilter, agents ...string) plugin.Verdict {
	r := plugintest.Request{}
	for _, a := range agents {
		r.Lines = append(r.Lines, "User-Agent: "+a)
	}
	return f.OnRequest(r.Exchange())
}

func TestRecordedAgents(t *testing.T) {
	t.Parallel()
	f := build(t, &Config{})
	for _, v := range plugintest.Vectors(t, "bot-detection") {
		var in struct {
			Agent string `json:"user_agent"`
		}
		var want struct{ Blocked bool }
		plugintest.Decode(t, v.Input, &in)
		plugintest.Decode(t, v.Result, &want)
		t.Run(in.Agent, func(t *testing.T) {
			if got := ask(f, in.Agent); got.Done() != want.Blocked {
				t.Errorf("blocked(%q) = %v, want %v", in.Agent, got.Done(), want.Blocked)
			}
		})
	}
}

// TestAnswers holds what was recorded of a live Kong 3.9.1, and the rules' order.
func TestAnswers(t *testing.T) {
	t.Parallel()
	guide := &Config{Allow: []string{"chrome", "firefox", "curl"}}
	denying := &Config{Deny: []string{"evil", "curl/8"}}
	tests := []struct {
		config *Config
		agents []string
		status int
	}{
		{&Config{}, []string{"curl/8.5.0"}, 0},
		{&Config{}, []string{"Mozilla/5.0 (X11; Linux x86_64) Chrome/120"}, 0},
		{&Config{}, []string{"bingbot/2.0"}, 403},
		{&Config{}, []string{"python-requests/2.3"}, 0},
		{&Config{}, []string{"Pingdom.com_bot"}, 0},
		{&Config{}, []string{"AhrefsBot"}, 0},
		{&Config{}, []string{"robot"}, 0},
		{&Config{}, []string{"GPTBot/1.0"}, 403},
		{&Config{}, []string{"Slackbot 1.0"}, 403},
		{&Config{}, []string{"YandexBot/3"}, 403},
		{&Config{}, []string{"Baiduspider"}, 403},
		{&Config{}, []string{"okhttp"}, 403},
		{&Config{}, []string{"Go-http-client/1.1"}, 403},
		{&Config{}, []string{"PostmanRuntime/7.36.0"}, 0},
		{&Config{}, []string{""}, 0},
		{&Config{}, nil, 0},
		{&Config{}, []string{"a", "b"}, 400},
		{guide, []string{"Scrapy/2"}, 403},
		{guide, []string{"curl Googlebot"}, 0},
		{guide, []string{"Wget/1.2"}, 0},
		{denying, []string{"curl/8.5.0"}, 403},
		{denying, []string{"CURL/8"}, 0},
		{denying, []string{"evil/1"}, 403},
		{denying, []string{"NewRelicPinger"}, 0},
		{denying, []string{"  curl/8  "}, 403},
		{&Config{Deny: []string{"^x$"}}, []string{" x "}, 403},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%v %q", tt.config, tt.agents), func(t *testing.T) {
			t.Parallel()
			f := build(t, tt.config)
			// Twice: looked at, then remembered.
			for range 2 {
				if v := ask(f, tt.agents...); v.Status() != tt.status {
					t.Errorf("OnRequest(%q) = %d, want %d", tt.agents, v.Status(), tt.status)
				}
			}
		})
	}
}

func TestNewNamesTheRuleThatIsWrong(t *testing.T) {
	t.Parallel()
	for _, c := range []*Config{{Allow: []string{"ok", "(x"}}, {Deny: []string{"(x"}}, {Deny: []string{"(?=x)"}}} {
		if _, err := New(c, plugintest.NewHost()); err == nil || !strings.Contains(err.Error(), "is not a valid regex") {
			t.Errorf("New(%v) = %v, want a complaint of the regex", c, err)
		}
	}
}

func TestOnRequestDoesNotAllocateForAKnownAgent(t *testing.T) {
	f := build(t, &Config{Allow: []string{"chrome"}})
	x := plugintest.Request{Lines: []string{"User-Agent: Mozilla/5.0 (X11; Linux x86_64) Firefox/120"}}.Exchange()
	f.OnRequest(x)
	if n := testing.AllocsPerRun(100, func() { f.OnRequest(x) }); n != 0 {
		t.Errorf("OnRequest allocates %v times, want 0", n)
	}
}

// TestAgentsAreRememberedRightUnderLoad has more agents than places, from many sides.
func TestAgentsAreRememberedRightUnderLoad(t *testing.T) {
	t.Parallel()
	f := build(t, &Config{Deny: []string{"evil"}})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 2 * places {
				agent, want := fmt.Sprintf("good-%d-%d", w, i), false
				if i%2 == 0 {
					agent, want = fmt.Sprintf("evil-%d-%d", w, i), true
				}
				if got := ask(f, agent).Done(); got != want {
					t.Errorf("blocked(%q) = %v, want %v", agent, got, want)
					return
				}
			}
		})
	}
	wg.Wait()
}

func FuzzRememberedIsWhatWasFound(f *testing.F) {
	f.Add("Googlebot/2.1", "bot")
	f.Add("curl/8.5.0", "^$")
	f.Add(strings.Repeat("x", 600), "x{3}")
	f.Fuzz(func(t *testing.T, agent, rule string) {
		built, err := New(&Config{Deny: []string{rule}}, plugintest.NewHost())
		if err != nil {
			return
		}
		bot := built.(*filter)
		if first, second := bot.robot(agent), bot.robot(agent); first != second {
			t.Errorf("robot(%q) = %v, then %v", agent, first, second)
		}
	})
}

func BenchmarkKnownAgent(b *testing.B) {
	f := build(b, &Config{})
	x := plugintest.Request{Lines: []string{"User-Agent: curl/8.5.0"}}.Exchange()
	b.ReportAllocs()
	for b.Loop() {
		f.OnRequest(x)
	}
}
