package e2e

import (
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

// TestAdminTokens guards every door of a control plane that can be reached from elsewhere, and
// follows what was done in the audit log, also through damage.
func TestAdminTokens(t *testing.T) {
	t.Parallel()
	database := services.Postgres(t)
	tokens := filepath.Join(t.TempDir(), "tokens")
	const viewer, editor, admin = "token-of-the-viewer-01", "token-of-the-editor-01", "token-of-the-admin-001"
	if err := os.WriteFile(tokens, []byte("vera viewer "+viewer+"\ned editor "+editor+"\nada admin "+admin+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := stack.Start(t, "controlplane", "--data-dir", t.TempDir(), "--database-url", database, "--admin-listen", "0.0.0.0:0",
		"--grpc-listen", "0.0.0.0:0", "--console-listen", "0.0.0.0:0", "--status-listen", "off", "--feed-listen", "off", "--admin-token-file", tokens)
	do := func(door, method, path, token string, want int) {
		t.Helper()
		req, err := http.NewRequest(method, p.URLs[door]+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s %s%s with %q: %d, want %d", method, door, path, token, res.StatusCode, want)
		}
	}
	do("admin", "GET", "/services", "", 401)
	do("console", "GET", "/", "", 401)
	do("console", "GET", "/", viewer, 200)
	do("admin", "GET", "/services", viewer, 200)
	do("admin", "PUT", "/services/a?host=h.test", viewer, 403)
	do("admin", "DELETE", "/services/a", editor, 204)
	secretsAreHidden(t, p, viewer, editor)
	do("admin", "DELETE", "/key-auths/a-key-that-nobody-may-see", editor, 204)
	seki := func(token, line, want string, fails bool) string {
		t.Helper()
		out, code := stack.Shell(t, []string{"SEKI_SERVER=" + p.Addr("admin gRPC"), "SEKI_TOKEN=" + token}, stack.Binary(t)+" "+line)
		if fails != (code != 0) || !strings.Contains(out, want) {
			t.Errorf("seki %s with %q: exit code %d\n%s\nwant %q", line, token, code, out, want)
		}
		return out
	}
	seki(viewer, "get key-auths --output json", "(secret)", false)
	seki(editor, "get key-auths --output json", "carls-own-key", false)
	if out := seki(viewer, "show 2", "key", false); strings.Contains(out, "carls-own-key") {
		t.Errorf("seki show shows a key to who may only look:\n%s", out)
	}
	file := filepath.Join(t.TempDir(), "s.yaml")
	writeFile(t, file, "services:\n- name: b\n  host: h\n")
	seki("", "get services", "a token of --admin-token-file is needed", true)
	seki(viewer, "get services", "ID", false)
	seki(viewer, "apply -f "+file, "needs the role editor", true)
	seki(editor, "apply -f "+file+" --message because --wait 0", "revision 3", false)
	seki(editor, "nodes revoke n1", "needs the role admin", true)
	seki(admin, "nodes revoke n1 --reason stolen", "is revoked", false)
	if out := seki(viewer, "log", "because", false); !strings.Contains(out, "ed") {
		t.Errorf("the revision does not say who: %s", out)
	}
	for _, want := range []string{`vera .* PUT /services/a +403`, `ed .* DELETE /services/a +204`, `ed .* DELETE /key-auths/\*\*\* +204`,
		`- .* GET /services +401`, `ed .* ConfigService.Commit +committed +3 +because`, `ed .* AccessService.RevokeNode n1 +PermissionDenied`,
		`ada .* AccessService.RevokeNode n1 +committed +- +stolen`} {
		if out := seki(viewer, "audit --size 50", "NUMBER", false); !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("the audit log has no %q:\n%s", want, out)
		}
	}
	out := seki(viewer, "audit verify", "is whole", false)
	known := regexp.MustCompile(`\d+:[0-9a-f]{64}`).FindString(out)
	seki(viewer, "audit verify --known "+known, "is whole", false)
	damage(t, database, "UPDATE audit SET body = body || '\\x2800'::bytea WHERE seq = 3", func() {
		seki(viewer, "audit verify", "entry 3, or one before it, is not what was written", true)
	}, "UPDATE audit SET body = substr(body, 1, length(body) - 2) WHERE seq = 3")
	seki(viewer, "audit verify", "is whole", false)
	damage(t, database, "UPDATE head SET rev = rev + 1", func() {
		seki(viewer, "audit verify", "revision 4 has no entry in the audit log", true)
	}, "UPDATE head SET rev = rev - 1")
	damage(t, database, "UPDATE head SET rev = rev - 1", func() {
		seki(viewer, "audit verify", "tells of revision 3, and the history ends with 2", true)
	}, "UPDATE head SET rev = rev + 1")
	damage(t, database, "DELETE FROM audit WHERE seq > 2", func() {
		seki(viewer, "audit verify", "is whole: 2", false)
		seki(viewer, "audit verify --known "+known, "was cut off", true)
	})
	damage(t, database, "DELETE FROM audit WHERE seq = 1", func() { seki(viewer, "audit verify", "entry 1 is missing", true) })
}

// secretsAreHidden writes a key, and has who may only look look at it.
func secretsAreHidden(t *testing.T, p *stack.Process, viewer, editor string) {
	t.Helper()
	admin := p.URLs["admin"]
	put := func(path, body string) {
		t.Helper()
		if code, out := as(t, map[string]string{"Kong-Admin-Token": editor}, http.MethodPut, admin+path, body); code != http.StatusOK {
			t.Fatalf("PUT %s: %d %s", path, code, out)
		}
	}
	put("/consumers/carl", `{}`)
	put("/consumers/carl/key-auth/0001df3c-5b0d-4a6a-9d5c-0a7a3c7c7a11", `{"key":"carls-own-key"}`)
	for token, shown := range map[string]string{viewer: "(secret)", editor: "carls-own-key"} {
		for _, path := range []string{"/key-auths", "/consumers/carl/key-auth", "/key-auths/0001df3c-5b0d-4a6a-9d5c-0a7a3c7c7a11"} {
			code, out := as(t, map[string]string{"Kong-Admin-Token": token}, http.MethodGet, admin+path, "")
			if code != http.StatusOK || !strings.Contains(out, `"key":"`+shown+`"`) || token == viewer && strings.Contains(out, "carls-own-key") {
				t.Errorf("GET %s with %s: %d %s, want the key as %s", path, token, code, out, shown)
			}
		}
	}
}

// damage changes the database behind the control plane's back.
func damage(t *testing.T, database, do string, then func(), undo ...string) {
	t.Helper()
	db, err := sql.Open("pgx", database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	run := func(statement string) {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(fmt.Errorf("%s: %w", statement, err))
		}
	}
	run(do)
	then()
	for _, statement := range undo {
		run(statement)
	}
}

// TestAdminDoors refuses to open a door to other machines that asks nobody.
func TestAdminDoors(t *testing.T) {
	t.Parallel()
	loose := filepath.Join(t.TempDir(), "tokens")
	writeFile(t, loose, "ann admin token-of-ann-0123456789\n")
	if err := os.Chmod(loose, 0o644); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"--grpc-listen 0.0.0.0:0":                   "--admin-token-file",
		"--console-listen 0.0.0.0:0":                "--admin-open",
		"--admin-token-file /nowhere/tokens":        "--admin-token-file: stat /nowhere/tokens",
		"--admin-token-file " + loose:               "everybody can read it",
		"--admin-open --admin-token-file " + loose:  "say one of them",
		"--feed-listen off --kek-file " + loose:     "everybody can read it",
		"--feed-listen off --kek-file /nowhere/kek": "--kek-file",
	} {
		out, code := stack.Shell(t, nil, stack.Binary(t)+" controlplane --status-listen off --admin-listen 127.0.0.1:0 --grpc-listen 127.0.0.1:0 "+
			"--console-listen off --feed-listen off --data-dir "+t.TempDir()+" "+line)
		if code == 0 || !strings.Contains(out, want) {
			t.Errorf("seki controlplane %s: exit code %d\n%s\nwant %q", line, code, out, want)
		}
	}
}
