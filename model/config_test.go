package model_test

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/sekifuda/sekifuda/model/password"
	"github.com/sekifuda/sekifuda/model/schema"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
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

func TestOAuth2Config(t *testing.T) {
	t.Parallel()
	got, err := config(t, "oauth2", `{"enable_implicit_grant":true}`)
	if err != nil {
		t.Fatal(err)
	}
	again, err := config(t, "oauth2", `{"enable_implicit_grant":true}`)
	if err != nil {
		t.Fatal(err)
	}
	if key, _ := got["provision_key"].(string); len(key) != 32 || key == again["provision_key"] {
		t.Errorf("provision keys %q and %q, want two of 32 characters", key, again["provision_key"])
	}
	for said, want := range map[string]string{
		`{}`: `{"config":"at least one of these fields must be true: enable_authorization_code, enable_implicit_grant, enable_client_credentials, enable_password_grant"}`,
		`{"enable_implicit_grant":true,"mandatory_scope":true}`: `{"config":{"@entity":["failed conditional validation given value of field 'mandatory_scope'"],"scopes":"required field missing"}}`,
	} {
		_, err := config(t, "oauth2", said)
		if err == nil || jsonText(faultBody(t, err)["fields"]) != want {
			t.Errorf("config %s: %v, want %s", said, err, want)
		}
	}
}

// TestOAuth2Schemas holds the two kinds of an operator against Kong's own schemas.
func TestOAuth2Schemas(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join("testdata", "oauth2.json"))
	if err != nil {
		t.Fatal(err)
	}
	for kind, want := range decode(t, data) {
		if got := jsonText(asJSON(t, all.Table(kind).JSON())); got != jsonText(want) {
			t.Errorf("%s:\n got %s\nwant %s", kind, got, jsonText(want))
		}
	}
}

// TestSecretsOfApplications: hashed when it is asked for, and both fields change together.
func TestSecretsOfApplications(t *testing.T) {
	t.Parallel()
	table := all.Table("oauth2_credentials")
	insert := func(more string) *entityv1.Oauth2Credential {
		t.Helper()
		body := decode(t, []byte(`{"name":"app","consumer":{"id":"00000000-0000-4000-8000-000000000001"}`+more+`}`))
		m, err := table.Insert(body, insertTime)
		if err != nil {
			t.Fatal(err)
		}
		return m.(*entityv1.Oauth2Credential)
	}
	if got := insert(`,"client_secret":"s"`).GetClientSecret(); got != "s" {
		t.Errorf("plain secret = %q", got)
	}
	hashed := insert(`,"client_secret":"s","hash_secret":true`)
	if got := hashed.GetClientSecret(); !password.MatchesPBKDF2(got, "s") {
		t.Errorf("hashed secret = %q", got)
	}
	if got := insert(`,"hash_secret":true`).GetClientSecret(); !password.IsPBKDF2(got) {
		t.Errorf("secret that was made = %q", got)
	}
	if again := insert(`,"hash_secret":true,"client_secret":"` + hashed.GetClientSecret() + `"`); again.GetClientSecret() != hashed.GetClientSecret() {
		t.Errorf("a hash that was brought along became %q", again.GetClientSecret())
	}
	update := func(patch string) (string, error) {
		m, err := table.Update(hashed, decode(t, []byte(patch)), updateTime)
		if err != nil {
			return jsonText(faultBody(t, err)["fields"]), err
		}
		return m.(*entityv1.Oauth2Credential).GetClientSecret(), nil
	}
	const both = `{"@entity":["all or none of these fields must be set: 'hash_secret', 'client_secret'"]}`
	for _, patch := range []string{`{"client_secret":"x"}`, `{"hash_secret":false}`} {
		if got, err := update(patch); err == nil || got != both {
			t.Errorf("PATCH %s = %s, want %s", patch, got, both)
		}
	}
	if got, err := update(`{"client_secret":"x","hash_secret":true}`); err != nil || !password.MatchesPBKDF2(got, "x") {
		t.Errorf("PATCH of both = %q, %v", got, err)
	}
	if got, err := update(`{"name":"other"}`); err != nil || got != hashed.GetClientSecret() {
		t.Errorf("PATCH of the name = %q, %v", got, err)
	}
}
