package model_test

import (
	"testing"

	"github.com/sekifuda/sekifuda/model/schema"
	"github.com/sekifuda/sekifuda/plugin"
	entityv1 "github.com/sekifuda/sekifuda/proto/sekifuda/entity/v1"
)

// TestPasswordIsHashedAtTheWrite holds what is stored against what verifies: it stays with
// the entity when something else changes, is new with a new password, and is never shown.
func TestPasswordIsHashedAtTheWrite(t *testing.T) {
	t.Parallel()
	table := all.Table("basicauth_credentials")
	m, err := table.Insert(schema.Body{
		"username": "bob", "password": "s3cret",
		"consumer": schema.Body{"id": "00000000-0000-4000-8000-000000000009"},
	}, insertTime)
	if err != nil {
		t.Fatal(err)
	}
	inserted := m.(*entityv1.BasicauthCredential)
	if got := inserted.GetPassword(); len(got) != 40 {
		t.Errorf("password = %q, want the hex of a SHA-1", got)
	}
	renamed, err := table.Update(m, schema.Body{"username": "rob"}, updateTime)
	if err != nil {
		t.Fatal(err)
	}
	if got := renamed.(*entityv1.BasicauthCredential).GetPasswordHash(); got != inserted.GetPasswordHash() {
		t.Errorf("after a rename the hash is %q, want %q", got, inserted.GetPasswordHash())
	}
	changed, err := table.Update(m, schema.Body{"password": "newer"}, updateTime)
	if err != nil {
		t.Fatal(err)
	}
	_, secret, err := plugin.CredentialOf(plugin.BasicCredentials, changed)
	if err != nil {
		t.Fatal(err)
	}
	if s := secret.(*plugin.BasicSecret); !s.Slow() || !s.Matches("newer") || s.Matches("s3cret") {
		t.Error("the stored hash does not recognise the new password alone")
	}
	if _, shown := table.Render(changed, insertTime)["password_hash"]; shown {
		t.Error("the hash is shown")
	}
}
