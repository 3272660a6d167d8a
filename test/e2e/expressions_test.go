package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// TestExpressions: the flavor belongs to the whole gateway. The Admin API takes expressions,
// the node serves them, clients are told.
func TestExpressions(t *testing.T) {
	t.Parallel()
	p := run(t, t.TempDir(), "--router-flavor", "expressions")
	admin, proxy := p.URLs["admin"], p.URLs["proxy"]
	put(t, admin+"/services/s", `{"url":"`+echo(t).URL+`"}`)
	put(t, admin+"/services/s/routes/r", `{"expression":"http.path ^= \"/old\" && any(lower(http.queries.v)) == \"two\"","priority":3}`)
	if code, body := call(t, http.MethodGet, proxy+"/old/x?v=1&v=Two", ""); code != 200 || body != "GET /x?v=1&v=Two" {
		t.Errorf("a request that the expression matches: %d %s", code, body)
	}
	if code, body := call(t, http.MethodGet, proxy+"/old/x?v=1", ""); code != 404 {
		t.Errorf("a request that it does not match: %d %s", code, body)
	}
	code, body := call(t, http.MethodPatch, admin+"/routes/r", `{"expression":"http.path ^= 1"}`)
	if code != 400 || !strings.Contains(body, "Router Expression failed validation: Type mismatch between the LHS and RHS values of predicate") {
		t.Errorf("a bad expression: %d %s", code, body)
	}
	_, body = call(t, http.MethodGet, admin+"/", "")
	var root struct {
		Configuration struct {
			Flavor string `json:"router_flavor"`
		} `json:"configuration"`
	}
	if err := json.Unmarshal([]byte(body), &root); err != nil || root.Configuration.Flavor != "expressions" {
		t.Errorf("GET / says router_flavor %q (%v)", root.Configuration.Flavor, err)
	}
}
