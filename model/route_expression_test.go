package model_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/model"
	"github.com/sekifuda/sekifuda/model/schema"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

func flavored(t *testing.T, flavor string) *schema.Table {
	t.Helper()
	s, err := model.NewFlavored(flavor, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s.Table("routes")
}

func TestExpressionRoutes(t *testing.T) {
	t.Parallel()
	table := flavored(t, model.Expressions)
	const failed = "Router Expression failed validation: "
	for _, c := range []struct{ body, want string }{
		{`{"expression":"http.path ^= \"/a\"","priority":5}`, ""},
		{`{"protocols":["https"],"expression":"tls.sni == \"a.com\""}`, ""},
		{`{"protocols":["grpc"],"expression":"http.path ^= \"/a\""}`, ""},
		{`{"protocols":["tcp"],"expression":"net.dst.port == 9000"}`, ""},
		{`{"paths":["/a"]}`, ""},
		{`{"paths":["/a"],"sources":[{"ip":"10.0.0.0/8"}]}`, ""},
		{`{}`, "must set one of 'methods', 'hosts', 'headers', 'paths', 'snis', 'expression' when 'protocols' is 'https'"},
		{`{"protocols":["tcp"]}`, "must set one of 'sources', 'destinations', 'snis', 'expression' when 'protocols' is 'tcp', 'tls' or 'udp'"},
		{`{"expression":"http.path ^= \"/a\"","paths":["/a"]}`, failed + "cannot set 'expression' with 'methods', 'hosts', 'paths', 'headers', 'snis', 'sources' or 'destinations' simultaneously"},
		{`{"expression":"http.path ^= \"/a\"","regex_priority":1}`, failed + "cannot set 'regex_priority' with 'expression' simultaneously"},
		{`{"paths":["/a"],"priority":1}`, failed + "cannot set 'priority' with 'methods', 'hosts', 'paths', 'headers', 'snis', 'sources' or 'destinations' simultaneously"},
		{`{"expression":"http.path ^= 1"}`, failed + "Type mismatch between the LHS and RHS values of predicate"},
		{`{"protocols":["tcp"],"expression":"http.path ^= \"/a\""}`, failed + "Unknown LHS field"},
		{`{"expression":"http.path"}`, failed + " --> 1:10\n  |\n1 | http.path\n  |          ^---\n  |\n  = expected binary_operator"},
		{`{"expression":"http.path ^= \"/a\"","priority":70368744177664}`, "value should be between 0 and 70368744177663"},
		{`{"expression":5}`, "expected a string"},
	} {
		var body schema.Body
		if err := json.Unmarshal([]byte(c.body), &body); err != nil {
			t.Fatal(err)
		}
		m, err := table.Insert(body, insertTime)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.body, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v\nwant %s", c.body, err, c.want)
		case c.want == "" && body["priority"] != nil && m.(*entityv1.Route).GetPriority() != 5:
			t.Errorf("%s: the priority is lost", c.body)
		}
	}
}

// TestFlavorDecidesTheSchema: under the other flavor the fields are not there at all.
func TestFlavorDecidesTheSchema(t *testing.T) {
	t.Parallel()
	for flavor, want := range map[string]bool{model.Expressions: true, model.TraditionalCompatible: false} {
		table := flavored(t, flavor)
		text, err := json.Marshal(table.JSON()["fields"])
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(text), `{"expression":{`) && strings.Contains(string(text), `{"priority":{"between":[0,70368744177663]`); got != want {
			t.Errorf("%s: /schemas/routes tells of expressions: %v, want %v", flavor, got, want)
		}
		_, err = table.Insert(schema.Body{"expression": `http.path == "/"`}, insertTime)
		if (err == nil) != want {
			t.Errorf("%s: a route with an expression: %v", flavor, err)
		}
	}
	_, err := flavored(t, model.TraditionalCompatible).Insert(schema.Body{"paths": []any{"/"}, "expression": "x"}, insertTime)
	if err == nil || !strings.Contains(err.Error(), "expression: unknown field") {
		t.Errorf("an expression under traditional_compatible: %v", err)
	}
	if _, err := model.NewFlavored("traditional", nil); err == nil {
		t.Error("a flavor that is not served is accepted")
	}
}
