package graph

import (
	"fmt"
	"math/rand"
	"testing"

	"github.com/sekifuda/sekifuda/plugin"
)

// mostSpecific is Kong's table of precedence, row by row.
func mostSpecific(have map[[3]string]string, route, service, consumer string) string {
	for _, key := range [][3]string{
		{route, service, consumer},
		{route, "", consumer},
		{"", service, consumer},
		{route, service, ""},
		{"", "", consumer},
		{route, "", ""},
		{"", service, ""},
		{"", "", ""},
	} {
		if text, ok := have[key]; ok {
			return text
		}
	}
	return ""
}

func TestPluginPrecedence(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewSource(5))
	c := compiler(t)
	var g *Graph
	g = mustApply(t, c, g, service("s0", "h"), service("s1", "h"),
		route("r0", "s0", "/r0"), route("r1", "s0", "/r1"), route("r2", "s1", "/r2"), route("r3", "", "/r3"),
		consumer("c0", "zero"), consumer("c1", "one"))
	services := map[string]string{"r0": "s0", "r1": "s0", "r2": "s1", "r3": ""}
	have := map[string]map[[3]string]string{"auth": {}, "shape": {}, "log": {}}
	pick := func(kind string, n int) string {
		if i := rng.Intn(n + 1); i < n {
			return fmt.Sprint(kind, i)
		}
		return ""
	}
	for range 600 {
		name := []string{"auth", "shape", "log"}[rng.Intn(3)]
		key := [3]string{pick("r", 4), pick("s", 2), pick("c", 2)}
		entity := fmt.Sprint(name, key)
		if _, ok := have[name][key]; ok && rng.Intn(2) == 0 {
			delete(have[name], key)
			g = mustApply(t, c, g, gone("plugins", entity))
		} else {
			have[name][key] = fmt.Sprint(entity, rng.Intn(9))
			g = mustApply(t, c, g, configured(entity, name, key[0], key[1], key[2], have[name][key]))
		}
		for r, s := range services {
			ep := match(g, "/"+r)
			for _, who := range []string{"", "c0", "c1", "c2"} {
				var x *plugin.Consumer
				if who != "" {
					x = &plugin.Consumer{ID: who}
				}
				for name := range have {
					// A route without a service has no service to be specific about.
					want := mostSpecific(have[name], r, orNone(s), orNone(who))
					if got := applied(ep.Chain, name, x); got != want {
						t.Fatalf("%s on %s for %q = %q, want %q, of %v", name, r, who, got, want, have[name])
					}
				}
			}
		}
	}
}

// TestRecordedPrecedence has the plugins of the recording of Kong 3.9.1's precedence and asks
// what it was asked, there seen by the header that the chosen configuration adds.
func TestRecordedPrecedence(t *testing.T) {
	t.Parallel()
	g := mustApply(t, compiler(t), nil, service("svc1", "h"), service("svc2", "h"),
		route("r1", "svc1", "/one"), route("r2", "svc1", "/two"), route("r3", "svc2", "/three"),
		consumer("bob", "bob"), key("k", "bob", "bobkey"),
		configured("2000", "shape", "", "", "", "global"), configured("2001", "shape", "", "svc1", "", "service"),
		configured("2002", "shape", "r1", "", "", "route"), configured("2003", "shape", "", "", "bob", "consumer"),
		configured("2004", "shape", "r2", "", "bob", "route+consumer"),
		configured("2020", "auth", "r2", "", "", "on"), configured("2021", "auth", "r3", "", "", "on"))
	for _, v := range []struct{ path, apikey, want string }{
		{"/one", "", "route"},
		{"/one", "bobkey", "route"}, // no auth there: nobody is known
		{"/two", "", "service"},
		{"/two", "bobkey", "route+consumer"},
		{"/three", "", "global"},
		{"/three", "bobkey", "consumer"},
		{"/none", "", "global"},
	} {
		chain := g.Global()
		if ep := match(g, v.path); ep != nil {
			chain = ep.Chain
		}
		var who *plugin.Consumer
		if applied(chain, "auth", nil) == "on" && v.apikey != "" {
			who = g.Directory().Credential("keyauth_credentials", v.apikey).Consumer
		}
		if got := applied(chain, "shape", who); got != v.want {
			t.Errorf("%s with key %q meets %q, want %q", v.path, v.apikey, got, v.want)
		}
	}
}

// orNone replaces an empty word by one that nothing is configured for.
func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func TestChainOrderAndSharing(t *testing.T) {
	t.Parallel()
	c := compiler(t)
	g := mustApply(t, c, nil, service("s0", "h"), service("s1", "h"),
		route("r0", "s0", "/r0"), route("r1", "s0", "/r1"), route("r2", "s1", "/r2"), route("r3", "", "/r3"),
		configured("p0", "log", "", "", "", "x"), configured("p1", "auth", "", "s0", "", "x"), configured("p2", "shape", "", "", "c0", "x"))
	chains := map[string]*Chain{}
	for _, r := range []string{"r0", "r1", "r2", "r3"} {
		chains[r] = match(g, "/"+r).Chain
	}
	if got, want := chains["r0"].dump(), "[auth any=p1][shape c0=p2][log any=p0]"; got != want {
		t.Errorf("chain = %s, want %s", got, want)
	}
	if chains["r0"] != chains["r1"] || chains["r2"] != g.Global() || chains["r3"] != g.Global() {
		t.Errorf("routes with the same plugins do not share their chain: %v, global %p", chains, g.Global())
	}
	next := mustApply(t, c, g, configured("p3", "shape", "r1", "", "", "y"))
	if match(next, "/r0") != match(g, "/r0") || match(next, "/r1") == match(g, "/r1") {
		t.Error("a plugin of one route does not touch that route alone")
	}
}

func TestInstanceIsKept(t *testing.T) {
	t.Parallel()
	c := compiler(t)
	p := configured("p", "auth", "", "", "", "one")
	g := mustApply(t, c, nil, p, configured("q", "log", "", "", "", "q"))
	again := mustApply(t, c, g, p, route("r", "", "/"), configured("q", "log", "", "", "", "changed"))
	if g.Instances()["p"] != again.Instances()["p"] {
		t.Error("an instance is made anew though its entity came as it was")
	}
	begin, end := again.Turnover(g)
	if len(begin) != 1 || len(end) != 1 || begin[0] != again.Instances()["q"] || end[0] != g.Instances()["q"] {
		t.Errorf("Turnover = %v, %v, want the new q and the old q", begin, end)
	}
	begin, end = (*Graph)(nil).Turnover(again)
	if len(begin) != 0 || len(end) != 2 {
		t.Errorf("Turnover to nothing = %v, %v, want two that end", begin, end)
	}
}

func TestDisabledPluginFallsThrough(t *testing.T) {
	t.Parallel()
	off := pluginEntity("r", "auth", "r", "", "", "route")
	no := false
	off.Enabled = &no
	unknown := pluginEntity("u", "not-of-this-build", "", "", "", "x")
	unknown.Enabled = &no
	g := mustApply(t, compiler(t), nil, route("r", "", "/"), configured("g", "auth", "", "", "", "global"),
		put("plugins", "r", off), put("plugins", "u", unknown))
	if got := applied(match(g, "/").Chain, "auth", nil); got != "global" {
		t.Errorf("applied = %q, want global: that of the route is disabled", got)
	}
	stream := pluginEntity("s", "log", "", "", "", "x")
	stream.Protocols = []string{"tcp"}
	g = mustApply(t, compiler(t), g, put("plugins", "s", stream))
	if got := applied(g.Global(), "log", nil); got != "" {
		t.Errorf("applied = %q, want nothing: the plugin is for tcp", got)
	}
}
