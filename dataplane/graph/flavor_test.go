package graph

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/dataplane/router"
	"github.com/sekifuda/sekifuda/model"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// TestFlavors: an expression is served under its own flavor and left out under the other,
// where it must not become a route that matches everything.
func TestFlavors(t *testing.T) {
	t.Parallel()
	expression := put("routes", "e", &entityv1.Route{Id: proto.String("e"), Service: proto.String("s"), Expression: proto.String(`http.path ^= "/e"`)})
	for flavor, want := range map[string]bool{model.Expressions: true, model.TraditionalCompatible: false} {
		c := compiler(t)
		c.RouterFlavor = flavor
		g := mustApply(t, c, nil, service("s", "h"), expression, route("r", "s", "/r"))
		if got := match(g, "/e/x") != nil; got != want {
			t.Errorf("%s: the expression is served: %v, want %v", flavor, got, want)
		}
		if match(g, "/r") == nil || match(g, "/other") != nil {
			t.Errorf("%s: another route is served wrongly", flavor)
		}
	}
	c := compiler(t)
	c.RouterFlavor = model.Expressions
	bad := put("routes", "b", &entityv1.Route{Id: proto.String("b"), Expression: proto.String(`http.path == 1`)})
	_, err := c.Apply(nil, []Change{bad}, 1)
	if r, ok := err.(*Refusal); !ok || r.Violations[0].Field != "expression" {
		t.Errorf("a bad expression: %v", err)
	}
}

// TestFlavorsMustAgree: a node that was started for other routes than the desk's refuses, and says
// what to do.
func TestFlavorsMustAgree(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		desk, node string
		refused    bool
	}{
		{"", "", false}, {"", model.TraditionalCompatible, false}, {model.TraditionalCompatible, "", false},
		{model.Expressions, model.Expressions, false}, {model.Expressions, "", true}, {"", model.Expressions, true},
	} {
		c := compiler(t)
		c.RouterFlavor = tt.node
		_, err := c.Apply(nil, []Change{put(feedv1.SettingsKind, feedv1.SettingsID, &feedv1.Settings{RouterFlavor: tt.desk})}, 1)
		r, refused := err.(*Refusal)
		if refused != tt.refused || refused && (r.Violations[0].Object != "settings/gateway" || !strings.Contains(r.Violations[0].Reason, "--router-flavor")) {
			t.Errorf("desk %q, node %q: %v", tt.desk, tt.node, err)
		}
	}
}

// TestFamilies: a route for connections has the plugins that are for such, and no others.
func TestFamilies(t *testing.T) {
	t.Parallel()
	stream := &entityv1.Route{Id: proto.String("t"), Service: proto.String("s"), Protocols: []string{"tcp"},
		Destinations: []*entityv1.Route_Destination{{Port: proto.Int64(9000)}}}
	global, web := pluginEntity("g", "log", "", "", "", "both"), pluginEntity("w", "auth", "", "s", "", "web")
	global.Protocols, web.Protocols = []string{"http", "tcp"}, []string{"http", "https"}
	g := mustApply(t, compiler(t), nil, service("s", "h"), put("routes", "t", stream), route("r", "s", "/"),
		put("plugins", "g", global), put("plugins", "w", web))
	q := &router.Request{Port: 9000}
	q.AsStream()
	var m router.Match[*Endpoint]
	if !g.Match(q, &m) || m.Value.Protocols != TCP {
		t.Fatalf("the route for connections is not found: %+v", m.Value)
	}
	if c := m.Value.Chain; applied(c, "log", nil) != "both" || applied(c, "auth", nil) != "" {
		t.Errorf("it has plugins %v", c.Steps)
	}
	if c := match(g, "/").Chain; applied(c, "log", nil) != "both" || applied(c, "auth", nil) != "web" {
		t.Errorf("a route of HTTP has plugins %v", c.Steps)
	}
	q.Port = 9001
	if g.Match(q, &m) {
		t.Error("another port is found")
	}
}
