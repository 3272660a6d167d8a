package model_test

import (
	"reflect"
	"testing"

	"github.com/sekifuda/sekifuda/model/schema"
)

// config inserts a plugin and returns its config as a client sees it.
func config(t *testing.T, name, said string) (schema.Body, error) {
	t.Helper()
	table := all.Table("plugins")
	m, err := table.Insert(schema.Body{"name": name, "config": decode(t, []byte(said))}, insertTime)
	if err != nil {
		return nil, err
	}
	return table.Render(stored(t, table, m), insertTime)["config"].(schema.Body), nil
}

// TestSessionShorthands: the older spellings win over the fields that they stand for, as in
// Kong 3.9.1, which does not call them deprecated.
func TestSessionShorthands(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ said, field, want string }{
		{`{"cookie_lifetime":5,"rolling_timeout":7}`, "rolling_timeout", "5"},
		{`{"cookie_idletime":5}`, "idling_timeout", "5"},
		{`{"cookie_idletime":null}`, "idling_timeout", "0"},
		{`{"cookie_renew":5}`, "rolling_timeout", "3600"},
		{`{"cookie_discard":5}`, "stale_ttl", "5"},
		{`{"cookie_samesite":"off"}`, "cookie_same_site", `"Lax"`},
		{`{"cookie_samesite":"None"}`, "cookie_same_site", `"None"`},
		{`{"cookie_httponly":false}`, "cookie_http_only", "false"},
		{`{"cookie_persistent":true}`, "remember", "true"},
		{`{"cookie_persistent":null}`, "remember", "false"},
	} {
		got, err := config(t, "session", c.said)
		if err != nil || jsonText(got[c.field]) != c.want {
			t.Errorf("%s: %s = %s, %v, want %s", c.said, c.field, jsonText(got[c.field]), err, c.want)
		}
		if _, echoed := got["cookie_lifetime"]; echoed {
			t.Errorf("%s: a shorthand is shown", c.said)
		}
	}
	if _, err := config(t, "session", `{"cookie_samesite":"never"}`); err == nil {
		t.Error("a wrong value of a shorthand is taken")
	}
}

// TestRandomDefault: a secret that nobody says is the process's, and is kept.
func TestRandomDefault(t *testing.T) {
	t.Parallel()
	one, err := config(t, "session", `{}`)
	if err != nil {
		t.Fatal(err)
	}
	two, err := config(t, "session", `{"storage":"kong"}`)
	if err != nil {
		t.Fatal(err)
	}
	if s, _ := one["secret"].(string); len(s) != 44 || !reflect.DeepEqual(one["secret"], two["secret"]) {
		t.Errorf("secrets %q and %q, want one of 44 characters", one["secret"], two["secret"])
	}
	if said, err := config(t, "session", `{"secret":"own"}`); err != nil || said["secret"] != "own" {
		t.Errorf("secret = %v, %v, want own", said["secret"], err)
	}
}
