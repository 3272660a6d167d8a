package graph

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sekifuda/sekifuda/model"
	"github.com/sekifuda/sekifuda/plugin"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

func TestNilGraphIsEmpty(t *testing.T) {
	t.Parallel()
	var g *Graph
	if match(g, "/") != nil || len(g.Global().Steps) != 0 || len(g.Instances()) != 0 || g.Certificate("a.com") != nil {
		t.Error("a nil graph holds something")
	}
	if g.Directory().Consumer("x") != nil || g.Directory().Credential("keyauth_credentials", "x") != nil {
		t.Error("a nil graph knows somebody")
	}
}

func TestRefusalNamesEveryObject(t *testing.T) {
	t.Parallel()
	c := compiler(t)
	g := mustApply(t, c, nil, route("good", "", "/good"), consumer("c", "bob"), key("k", "c", "secret"), service("s", "h"))
	before := g.dump()
	empty := pluginEntity("noconfig", "auth", "", "", "", "")
	empty.Config = nil
	foreign := pluginEntity("foreign", "auth", "", "", "", "")
	foreign.Config, _ = anypb.New(&entityv1.Route{})
	unreadable := pluginEntity("unreadable", "auth", "", "", "", "")
	unreadable.Config = &anypb.Any{TypeUrl: "type.googleapis.com/no.such.Message"}
	_, err := c.Apply(g, []Change{
		route("dangling", "nowhere", "/"),
		route("regex", "", "~/("),
		put("routes", "host", &entityv1.Route{Hosts: []string{"a.*.b"}}),
		put("services", "nohost", &entityv1.Service{}),
		put("services", "ca", &entityv1.Service{Host: proto.String("h"), CaCertificates: []string{"none"}}),
		gone("services", "s"),
		route("orphan", "s", "/"),
		configured("bad", "auth", "", "", "", "bad one"),
		configured("unknown", "no-such", "", "", "", ""),
		put("plugins", "noconfig", empty),
		put("plugins", "foreign", foreign),
		put("plugins", "unreadable", unreadable),
		consumer("d", "bob"),
		key("l", "c", "secret"),
		key("m", "c", ""),
		put("certificates", "cert", &entityv1.Certificate{Cert: proto.String("x"), Key: proto.String("y")}),
		put("ca_certificates", "pem", &entityv1.CaCertificate{Cert: proto.String("x")}),
		put("targets", "t", &entityv1.Target{Target: proto.String("h:99999")}),
		put("upstreams", "noname", &entityv1.Upstream{}),
		put("snis", "noname", &entityv1.Sni{}),
		put("planets", "mars", &entityv1.Sni{}),
		{Kind: "routes", ID: "noise", Body: []byte("\xff\xff")},
	}, 2)
	var r *Refusal
	if !errors.As(err, &r) {
		t.Fatalf("Apply = %v, want a *Refusal", err)
	}
	var got []string
	for _, v := range r.Violations {
		got = append(got, v.Object+" "+v.Field+": "+v.Reason)
	}
	want := []string{
		"ca_certificates/pem cert: invalid certificate: no PEM block of a certificate",
		"certificates/cert cert: failed to find any PEM data in certificate input",
		"consumers/d username: is already taken by consumers/c",
		"keyauth_credentials/l key: is already taken by keyauth_credentials/k",
		"keyauth_credentials/m key: required field missing",
		"planets/mars : kind planets is not known here",
		"plugins/bad config: text must not be bad",
		"plugins/foreign config: config is of type sekifuda.entity.v1.Route, not google.protobuf.StringValue",
		"plugins/noconfig config: required field missing",
		"plugins/unknown name: plugin 'no-such' not enabled; add it to the 'plugins' configuration property",
		"plugins/unreadable config: cannot be decoded: ",
		"routes/dangling service: services/nowhere does not exist",
		"routes/host hosts: a.*.b: invalid wildcard: must be placed at leftmost or rightmost label",
		"routes/noise : cannot be decoded: ",
		"routes/orphan service: services/s does not exist",
		"routes/regex paths: ~/(: invalid regex: missing closing )",
		"services/ca ca_certificates: ca_certificates/none does not exist",
		"services/nohost host: required field missing",
		"snis/noname name: required field missing",
		"targets/t target: Invalid target ('h:99999'); not a valid hostname or ip address",
		"upstreams/noname name: required field missing",
	}
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("violations:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if after := g.dump(); after != before {
		t.Errorf("a refused Apply changed the graph before it:\n%s", difference(before, after))
	}
}

func TestUniqueValueChangesHands(t *testing.T) {
	t.Parallel()
	c := compiler(t)
	g := mustApply(t, c, nil, consumer("a", "ann"), consumer("b", "bob"), key("k", "a", "1"), key("l", "b", "2"))
	g = mustApply(t, c, g, consumer("a", "bob"), consumer("b", "ann"), key("k", "a", "2"), key("l", "b", "1"))
	d := g.Directory()
	if d.Consumer("ann").ID != "b" || d.Consumer("bob").ID != "a" || d.Credential("keyauth_credentials", "1").ID != "l" {
		t.Error("values exchanged in one revision are not exchanged")
	}
}

func TestDirectory(t *testing.T) {
	t.Parallel()
	c := compiler(t)
	dies := put("keyauth_credentials", "old", &entityv1.KeyauthCredential{
		Consumer: proto.String("a"), Key: proto.String("old"), ExpiresAt: proto.Int64(1000)})
	lives := put("keyauth_credentials", "new", &entityv1.KeyauthCredential{
		Consumer: proto.String("a"), Key: proto.String("new"), ExpiresAt: proto.Int64(1001)})
	basic := put("basicauth_credentials", "b", &entityv1.BasicauthCredential{
		Consumer: proto.String("a"), Username: proto.String("k1"), Password: proto.String("379fc0d5299a71ac0f171fbb5afb262829b4e765")}) // of "p" and the consumer's id
	g := mustApply(t, c, nil, consumer("a", "ann"), key("k", "a", "k1"), key("orphan", "nobody", "k2"), dies, lives, basic)
	const kind = "keyauth_credentials"
	d := g.Directory()
	if got := d.Credential(kind, "k1"); got == nil || got.ID != "k" || got.Key != "k1" || got.Kind != kind || got.Consumer != d.Consumer("a") {
		t.Errorf("Credential(k1) = %+v", got)
	}
	for _, key := range []string{"k2", "old", "k", "k11", ""} {
		if got := d.Credential(kind, key); got != nil {
			t.Errorf("Credential(%q) = %+v, want nil", key, got)
		}
	}
	if got := d.Credential(kind, "new"); got == nil || !got.Expires.Equal(time.Unix(1001, 0)) {
		t.Errorf("Credential(new) = %+v, want one that expires at 1001", got)
	}
	if got := d.Credential("basicauth_credentials", "k1"); got == nil || !got.Secret.(*plugin.BasicSecret).Matches("p") {
		t.Errorf("basic Credential(k1) = %+v", got)
	}
	if d.Consumer("ann") == nil || d.Consumer("ann") != d.Consumer("a") || d.Consumer("nobody") != nil {
		t.Error("Consumer does not find by id and by name")
	}

	next := mustApply(t, c, g, put("acls", "x", &entityv1.Acl{Consumer: proto.String("a"), Group: proto.String("staff")}))
	if got := next.Directory().Credential(kind, "k1").Consumer.Groups; !slices.Equal(got, []string{"staff"}) {
		t.Errorf("groups by credential = %v, want [staff]", got)
	}
	if got := d.Credential(kind, "k1").Consumer.Groups; got != nil {
		t.Errorf("the older graph sees groups %v", got)
	}
	last := mustApply(t, c, next, gone("consumers", "a"))
	if got := last.Directory().Credential(kind, "k1"); got != nil {
		t.Errorf("Credential of a removed consumer = %+v", got)
	}
	back := mustApply(t, c, last, consumer("a", "ann"))
	if got := back.Directory().Credential(kind, "k1"); got == nil || !slices.Equal(got.Consumer.Groups, []string{"staff"}) {
		t.Errorf("Credential of a consumer that came back = %+v", got)
	}
}

func TestDirectoryDoesNotAllocate(t *testing.T) {
	long := strings.Repeat("k", 200)
	g := mustApply(t, compiler(t), nil, consumer("a", "ann"), key("k", "a", long))
	d := g.Directory()
	wrong := long[:199] + "x"
	if n := testing.AllocsPerRun(100, func() {
		if d.Credential("keyauth_credentials", long) == nil || d.Credential("keyauth_credentials", wrong) != nil || d.Consumer("ann") == nil {
			t.Error("not found")
		}
	}); n != 0 {
		t.Errorf("lookups allocate %v times", n)
	}
}

func TestServiceStates(t *testing.T) {
	t.Parallel()
	c := compiler(t)
	off := put("services", "s", &entityv1.Service{Host: proto.String("h"), Enabled: proto.Bool(false)})
	g := mustApply(t, c, nil, off, route("r", "s", "/r"), route("alone", "", "/alone"))
	if match(g, "/r") != nil {
		t.Error("a route of a disabled service is served")
	}
	if ep := match(g, "/alone"); ep == nil || ep.Service != nil || ep.Upstream != nil {
		t.Errorf("a route without service = %+v, want it with nothing behind", ep)
	}
	g = mustApply(t, c, g, service("s", "h"))
	ep := match(g, "/r")
	if ep == nil || ep.Service.Host != "h" || ep.Upstream == nil {
		t.Fatalf("a route whose service is enabled again = %+v", ep)
	}
	if ep.RedirectStatus != 426 || !ep.StripPath || ep.PreserveHost || !ep.RequestBuffering || !ep.ResponseBuffering || ep.Protocols != HTTP|HTTPS {
		t.Errorf("defaults of a route = %+v", ep)
	}
	spec := ep.Upstream.Spec
	if spec.Port != 80 || spec.Protocol != "http" || spec.Retries != 5 || spec.ReadTimeout != time.Minute || spec.TLSVerify || spec.TLSVerifyDepth != 1 {
		t.Errorf("defaults of a service = %+v", spec)
	}
	if next := mustApply(t, c, g, route("other", "", "/other")); match(next, "/r") != ep {
		t.Error("an endpoint is made anew though nothing of it changed")
	}
}

func TestServicesShareTheirBalancer(t *testing.T) {
	t.Parallel()
	c := compiler(t)
	name, at, up := "pool", "10.0.0.1:81", "u"
	g := mustApply(t, c, nil, put("upstreams", up, &entityv1.Upstream{Name: &name}), put("upstreams", "idle", &entityv1.Upstream{Name: proto.String("idle")}),
		put("targets", "t", &entityv1.Target{Upstream: &up, Target: &at}), service("s", name), service("z", name))
	b := g.Balancer(up)
	if b == nil || g.Balancer("idle") == nil || g.Balancer("none") != nil {
		t.Fatal("an upstream has no balancer, or what is none has one")
	}
	for _, id := range []string{"s", "z"} {
		if n, _ := g.services.Get(id); n.upstream.Spec.Balancer != b.Spec() {
			t.Errorf("service %s has a balancer of its own", id)
		}
	}
	if next := mustApply(t, c, g, service("y", name)); next.Balancer(up) != b {
		t.Error("a new service makes the balancer anew")
	}
	next := mustApply(t, c, g, gone("targets", "t"))
	begin, end := next.BalancerTurnover(g)
	if len(begin) != 1 || len(end) != 1 || end[0] != b || begin[0] != next.Balancer(up) {
		t.Errorf("turnover = %v, %v", begin, end)
	}
}

func TestBalancerFollowsUpstreamAndTargets(t *testing.T) {
	t.Parallel()
	c := compiler(t)
	target := func(id, upstream, at string, created float64) Change {
		return put("targets", id, &entityv1.Target{Upstream: &upstream, Target: &at, CreatedAt: &created})
	}
	g := mustApply(t, c, nil, service("s", "pool"), route("r", "s", "/"), target("t2", "u", "b.test", 2), target("t1", "u", "10.0.0.1:81", 1))
	if b := match(g, "/").Upstream.Spec.Balancer; b != nil {
		t.Fatalf("balancer = %+v before there is an upstream", b)
	}
	g = mustApply(t, c, g, put("upstreams", "u", &entityv1.Upstream{Name: proto.String("pool"), HashOn: proto.String("header"),
		HashOnHeader: proto.String("X-H"), HashFallback: proto.String("cookie"), HashOnCookie: proto.String("crumb"),
		Healthchecks: &entityv1.Upstream_Healthchecks{Active: &entityv1.Upstream_Healthchecks_Active{
			Timeout: proto.Float64(0.5), Healthy: &entityv1.Upstream_Healthchecks_Active_Healthy{Interval: proto.Float64(2), HttpStatuses: []int64{200}}}}}))
	b := match(g, "/").Upstream.Spec.Balancer
	if b == nil || b.Algorithm != "round-robin" || b.Slots != 10_000 || b.CookiePath != "/" ||
		b.Hash[0].On != "header" || b.Hash[0].Name != "X-H" || b.Hash[1].On != "cookie" || b.Hash[1].Name != "crumb" {
		t.Fatalf("balancer = %+v", b)
	}
	a := b.Health.Active
	if a.Timeout != 500*time.Millisecond || a.HealthyInterval != 2*time.Second || a.UnhealthyInterval != 0 || a.Path != "/" || !a.VerifyCert || a.Concurrency != 10 {
		t.Errorf("active checks = %+v", a)
	}
	if len(b.Targets) != 2 || b.Targets[0].Host != "10.0.0.1" || b.Targets[0].Port != 81 || b.Targets[1].Host != "b.test" || b.Targets[1].Port != 8000 || b.Targets[1].Weight != 100 {
		t.Errorf("targets = %+v", b.Targets)
	}
	g = mustApply(t, c, g, gone("targets", "t1"))
	if b := match(g, "/").Upstream.Spec.Balancer; len(b.Targets) != 1 {
		t.Errorf("targets = %+v after one is removed", b.Targets)
	}
	g = mustApply(t, c, g, gone("upstreams", "u"))
	if b := match(g, "/").Upstream.Spec.Balancer; b != nil {
		t.Errorf("balancer = %+v after the upstream is removed", b)
	}
}

func TestJSONIsKongsWithoutNulls(t *testing.T) {
	t.Parallel()
	text := "a \"quoted\" \\ line\nend\x7f é"
	r := &entityv1.Route{Id: proto.String("r"), Name: &text, CreatedAt: proto.Int64(1), StripPath: proto.Bool(false), Service: proto.String("s"),
		Tags: []string{"t"}, Headers: map[string]*entityv1.Strings{"B": {Values: []string{"1", "2"}}, "A": {}}, RegexPriority: proto.Int64(-3)}
	for _, v := range []struct {
		got  []byte
		want map[string]any
	}{
		{routeJSON(r), map[string]any{"id": "r", "name": text, "created_at": 1.0, "strip_path": false, "service": map[string]any{"id": "s"},
			"tags": []any{"t"}, "headers": map[string]any{"A": []any{}, "B": []any{"1", "2"}}, "regex_priority": -3.0}},
		{serviceJSON(&entityv1.Service{Port: proto.Int64(80), Host: proto.String("h"), Enabled: proto.Bool(true)}),
			map[string]any{"port": 80.0, "host": "h", "enabled": true}},
		{consumerJSON(&entityv1.Consumer{CustomId: proto.String("c")}), map[string]any{"custom_id": "c"}},
		{consumerJSON(&entityv1.Consumer{}), map[string]any{}},
	} {
		var got map[string]any
		if err := json.Unmarshal(v.got, &got); err != nil {
			t.Errorf("%s: %v", v.got, err)
			continue
		}
		v.want["ws_id"] = "00000000-0000-0000-0000-000000000000"
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(v.want)
		if !bytes.Equal(a, b) {
			t.Errorf("JSON = %s, want %s", a, b)
		}
	}
}

func FuzzJSONText(f *testing.F) {
	f.Add("a\"\\\x00\x1f\x7f é\u2028<>")
	f.Fuzz(func(t *testing.T, s string) {
		s = strings.ToValidUTF8(s, "?") // as all texts of messages are
		var got string
		if err := json.Unmarshal(appendJSON(nil, s), &got); err != nil || got != s {
			t.Errorf("appendJSON(%q) reads as %q, %v", s, got, err)
		}
	})
}

// FuzzApply gives arbitrary bodies of every kind to Apply: it refuses or accepts, and what it
// accepts can be served and taken away again.
func FuzzApply(f *testing.F) {
	names := sorted(kinds)
	for i, c := range []Change{route("r", "s", "~/a(b)?", "/x"), service("s", "h"), consumer("c", "n"), key("k", "c", "x"), configured("p", "auth", "", "", "", "t")} {
		f.Add(uint8(slices.Index(names, c.Kind)), c.Body, uint8(i), c.Body)
	}
	c := compiler(f)
	f.Fuzz(func(t *testing.T, k1 uint8, b1 []byte, k2 uint8, b2 []byte) {
		x := Change{Kind: names[int(k1)%len(names)], ID: "x", Body: append([]byte{}, b1...)}
		y := Change{Kind: names[int(k2)%len(names)], ID: "y", Body: append([]byte{}, b2...)}
		g, err := c.Apply(nil, []Change{service("s", "h"), x, y}, 1)
		var r *Refusal
		switch {
		case errors.As(err, &r):
			return
		case err != nil:
			t.Fatalf("Apply = %v, want a *Refusal", err)
		}
		match(g, "/x")
		g.Directory().Credential("keyauth_credentials", "x")
		g.Certificate("a.b.c")
		if g, err = c.Apply(g, []Change{gone(x.Kind, "x"), gone(y.Kind, "y"), gone("services", "s")}, 2); err != nil {
			t.Fatalf("removal = %v", err)
		}
		if empty, _ := c.Apply(nil, nil, 2); g.dump() != empty.dump() {
			t.Errorf("what is removed leaves a trace:\n%s", difference(g.dump(), empty.dump()))
		}
	})
}

func TestCheckHasNoEffectOfItsOwn(t *testing.T) {
	t.Parallel()
	set := plugins(t)
	if err := Check(set, "", []Change{service("s", "h"), route("r", "s", "/"), configured("p", "auth", "r", "", "", "fine")}); err != nil {
		t.Errorf("Check of a sound configuration = %v", err)
	}
	err := Check(set, "", []Change{configured("p", "auth", "", "", "", "bad")})
	if err == nil || err.Error() != "compile plugins/p: config: text must not be bad" {
		t.Errorf("Check of a bad one = %v", err)
	}
	h := Inert(plugin.Scope{PluginID: "p"})
	l, err := h.Limiter(plugin.Rule{})
	var d plugin.Decision
	if err != nil || l.Take(nil, "x", 1, &d) != nil || !d.Allowed || d.Counted {
		t.Errorf("an inert limiter decided %+v", d)
	}
	if h.Scope().PluginID != "p" || h.Logger() == nil || h.Metrics() == nil {
		t.Error("an inert host lacks something")
	}
}

func TestScopeIsToldToTheHost(t *testing.T) {
	t.Parallel()
	c := compiler(t)
	var got []plugin.Scope
	c.Host = func(s plugin.Scope) plugin.Host { got = append(got, s); return Inert(s) }
	mustApply(t, c, nil, configured("p", "auth", "r", "s", "c", "x"))
	if want := (plugin.Scope{PluginID: "p", InstanceID: "p", RouteID: "r", ServiceID: "s", ConsumerID: "c"}); len(got) != 1 || got[0] != want {
		t.Errorf("Host was asked for %+v, want %+v", got, want)
	}
}

// A kind that the desk stores and the graph does not know would keep nodes from every
// revision that has one.
func TestEveryKindOfTheModelIsKnown(t *testing.T) {
	t.Parallel()
	s, err := model.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range s.Tables() {
		if _, ok := kinds[table.Kind]; !ok {
			t.Errorf("the graph does not know %s", table.Kind)
		}
	}
}

// TestTokensAndTheirApplications: an operator's token is found by both its texts until it ends,
// and its application by id; a token that changes is no longer found by its older texts.
func TestTokensAndTheirApplications(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	c := compiler(t)
	c.Now = func() time.Time { return now }
	token := func(access string) Change {
		return put("oauth2_tokens", id(3), &entityv1.Oauth2Token{
			AccessToken: proto.String(access), RefreshToken: proto.String("renew"), Credential: proto.String(id(2)),
			ExpiresIn: proto.Int64(60), CreatedAt: proto.Int64(now.Unix()), ExpiresAt: proto.Int64(now.Unix() + 600),
		})
	}
	g := mustApply(t, c, nil,
		put("consumers", id(1), &entityv1.Consumer{Username: proto.String("bob")}),
		put("oauth2_credentials", id(2), &entityv1.Oauth2Credential{
			Consumer: proto.String(id(1)), ClientId: proto.String("app"), ClientSecret: proto.String("s"), RedirectUris: []string{"https://a.test"},
		}), token("first"))
	client := g.Directory().CredentialByID("oauth2_credentials", id(2))
	if client == nil || client.Consumer.Username != "bob" || client.Key != "app" || !client.Secret.(*plugin.OAuth2Client).Matches("s") {
		t.Fatalf("application = %+v", client)
	}
	for _, text := range []string{"first", "renew"} {
		if got := g.Directory().Token(text); got == nil || got.Credential != id(2) || got.ExpiresIn != time.Minute {
			t.Errorf("Token(%q) = %+v", text, got)
		}
	}
	g = mustApply(t, c, g, token("second"))
	if d := g.Directory(); d.Token("first") != nil || d.Token("second") == nil || d.Token("renew") == nil {
		t.Error("a token that changed is found by what it was")
	}
	_, err := c.Apply(g, []Change{put("oauth2_tokens", id(4), &entityv1.Oauth2Token{AccessToken: proto.String("renew"), Credential: proto.String(id(2))})}, 3)
	if err == nil || !strings.Contains(err.Error(), "is already taken by oauth2_tokens/"+id(3)) {
		t.Errorf("the same text twice: %v", err)
	}
	now = now.Add(10 * time.Minute)
	if g.Directory().Token("second") != nil {
		t.Error("a token that has ended is found")
	}
	now = now.Add(-10 * time.Minute)
	g = mustApply(t, c, g, gone("oauth2_tokens", id(3)))
	if g.Directory().Token("second") != nil || g.Directory().Token("renew") != nil {
		t.Error("a token that was deleted is found")
	}
}
