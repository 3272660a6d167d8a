package guard

import (
	"reflect"
	"testing"

	"github.com/sekifuda/sekifuda/controlplane/store/scope"
)

// TestGrants reads limits of roles, in the file of tokens and in the meaning of a claim, and
// packs them for another replica.
func TestGrants(t *testing.T) {
	t.Parallel()
	a := scope.Scope{Kinds: []string{"routes", "plugins"}, Tags: []string{"team-a"}}
	all, err := ParseRoles("devs=editor, cn=a=editor:kinds=routes+plugins;tags=team-a,b=editor:tags=admin")
	want := map[string]Grant{"devs": {Role: Editor}, "cn=a": {Editor, []scope.Scope{a}}, "b": {Editor, []scope.Scope{{Tags: []string{"admin"}}}}}
	if err != nil || !reflect.DeepEqual(all, want) {
		t.Errorf("ParseRoles = %v, %v, want %v", all, err, want)
	}
	both := all["cn=a"].and(all["b"])
	if len(both.Scopes) != 2 || len(both.and(all["devs"]).Scopes) != 0 || both.and(Grant{Role: Viewer}).Role != Editor {
		t.Errorf("and = %v", both)
	}
	for _, g := range []Grant{all["devs"], all["cn=a"], both} {
		packed := append(g.person("x").pack(), "body"...)
		if got, rest, err := unpackGrant(packed); err != nil || !reflect.DeepEqual(got, g) || string(rest) != "body" {
			t.Errorf("unpackGrant = %v %q %v, want %v", got, rest, err, g)
		}
	}
	if _, _, err := unpackGrant([]byte{byte(Editor) | limited, 1, 200, 1}); err == nil {
		t.Error("limits that were cut short are taken")
	}
	for _, bad := range []string{"admin:tags=a", "viewer:tags=a", "editor:", "editor:tags=", "editor:tags=a;tags=b", "editor:kind=routes", "editor:tags=a++b"} {
		if _, err := ParseTokens([]byte("x " + bad + " token-of-somebody-0123")); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
