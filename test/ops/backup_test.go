package ops

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/sekifuda/sekifuda/test/stack"
)

// verdict is what a request with a key comes to.
func (c *clinic) verdict(gate *stack.Process, key string) string {
	c.Helper()
	req, err := http.NewRequest(http.MethodGet, gate.URLs["proxy"]+"/api", nil)
	if err != nil {
		c.Fatal(err)
	}
	req.Header.Set("apikey", key)
	req.Header.Set("User-Agent", "curl/8")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		c.Fatal(err)
	}
	defer res.Body.Close()
	return fmt.Sprint(res.StatusCode, res.Header.Get("X-RateLimit-Limit-Minute"))
}

// TestDisaster backs an installation up, takes everything away, and rebuilds it from the backup:
// the same entities, and the same verdicts on requests.
func TestDisaster(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	dir := t.TempDir()
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	keyFile, otherFile := filepath.Join(dir, "key"), filepath.Join(dir, "other")
	c.file(keyFile, key.String()+"\n")
	c.file(otherFile, other.String()+"\n")
	seki := func(gate *stack.Process, want int, line string) string {
		t.Helper()
		out, code := stack.Shell(t, []string{"SEKI_SERVER=" + gate.Addr("admin gRPC")}, stack.Binary(t)+" "+line)
		if code != want {
			t.Errorf("seki %s: exit %d, want %d: %s", line, code, want, out)
		}
		return out
	}
	list := func(gate *stack.Process) string {
		t.Helper()
		var all strings.Builder
		for _, kind := range []string{"services", "routes", "consumers", "plugins", "keyauth_credentials"} {
			all.WriteString(seki(gate, 0, "get "+kind+" --output json"))
		}
		return all.String()
	}
	before := list(c.gate)
	backups := filepath.Join(dir, "backups")
	if err := os.Mkdir(backups, 0o700); err != nil {
		t.Fatal(err)
	}
	if out := seki(c.gate, 1, "backup --to "+backups); !strings.Contains(out, "name who can open it by --recipients, --key-file or SEKI_BACKUP_PASSPHRASE, or say --plain") {
		t.Errorf("a backup without a key says %s", out)
	}
	if out := seki(c.gate, 0, "backup --to "+backups+" --recipients "+key.Recipient().String()); !strings.Contains(out, "written and read back") {
		t.Errorf("backup says %s", out)
	}
	files, _ := filepath.Glob(filepath.Join(backups, "*.backup"))
	if len(files) != 1 {
		t.Fatalf("files are %v", files)
	}
	file := files[0]
	if raw, _ := os.ReadFile(file); strings.Contains(string(raw), "a-long-enough-key") {
		t.Error("the backup shows a key")
	}

	// Another installation, with something that was not in the backup.
	fresh := stack.Start(t, "run", "--data-dir", t.TempDir(), "--proxy-listen", "127.0.0.1:0", "--proxy-tls-listen", "off",
		"--admin-listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0", "--status-listen", "127.0.0.1:0", "--console-listen", "off")
	fresh.WaitReady()
	there := &clinic{T: t, gate: fresh, admin: fresh.URLs["admin"]}
	there.put("/services/stray", `{"host":"stray.test"}`)
	if out := seki(fresh, 0, "restore "+file+" --key-file "+keyFile+" --dry-run"); !strings.Contains(out, "1 to delete") || !strings.Contains(out, "nothing was written") {
		t.Errorf("a dry run says %s", out)
	}
	if got := c.verdict(fresh, "a-long-enough-key"); got != "404" {
		t.Errorf("after a dry run the verdict is %s", got)
	}
	seki(fresh, 0, "restore "+file+" --key-file "+keyFile)
	if after := list(fresh); after != before {
		t.Errorf("restored is\n%s\nwant\n%s", after, before)
	}
	for key, want := range map[string]string{"a-long-enough-key": "200100000", "guess": "401"} {
		stack.Eventually(t, func() error {
			if got, old := there.verdict(fresh, key), c.verdict(c.gate, key); got != want || old != want {
				return fmt.Errorf("the verdict on %s is %s, was %s, want %s", key, got, old, want)
			}
			return nil
		})
	}
	if out := seki(fresh, 0, "restore "+file+" --key-file "+keyFile); !strings.Contains(out, "0 to write, 0 to delete") {
		t.Errorf("a second restore says %s", out)
	}

	if out := seki(c.gate, 0, "drill "+backups+" --key-file "+keyFile); !strings.Contains(out, "restored into a scratch store, compared, and compiled") {
		t.Errorf("drill says %s", out)
	}
	if notes, _ := filepath.Glob(filepath.Join(backups, "drills", "*.json")); len(notes) != 1 {
		t.Errorf("the rehearsal is noted in %v", notes)
	}
	damaged := filepath.Join(dir, "damaged")
	raw, _ := os.ReadFile(file)
	raw[len(raw)/2] ^= 1
	c.file(damaged, string(raw))
	c.file(filepath.Join(dir, "short"), string(raw[:len(raw)/3]))
	for line, want := range map[string]string{
		"restore " + damaged + " --key-file " + keyFile:   "the backup is damaged",
		"drill " + damaged + " --key-file " + keyFile:     "the backup is damaged",
		"restore " + dir + "/short --key-file " + keyFile: "the backup is damaged",
		"restore " + file + " --key-file " + otherFile:    "encrypted for another key",
		"restore " + file:          "name its key by --key-file",
		"restore " + keyFile:       "this is no backup of Sekifuda",
		"restore " + dir + "/none": "no such file",
		"drill " + dir:             "no *.backup in",
		"backup --plain --to " + dir + "/no/such/folder/file": "no such file",
	} {
		if out := seki(fresh, 1, line); !strings.Contains(out, want) {
			t.Errorf("seki %s says %q, want %q", line, out, want)
		}
	}
	if after := list(fresh); after != before {
		t.Error("a restore that failed changed something")
	}
}

// TestBackupsInSteps makes a whole backup and two that go on from it, in a folder, and restores
// what was at a revision in between, into another installation.
func TestBackupsInSteps(t *testing.T) {
	t.Parallel()
	backupsInSteps(t, t.TempDir(), nil)
}

// backupsInSteps does it in a folder or bucket, with more environment.
func backupsInSteps(t *testing.T, at string, env []string) {
	t.Helper()
	c, folder := newClinic(t), at
	at = "'" + at + "'"                      // for the shell
	key, err := age.GenerateX25519Identity() // a passphrase would cost a second each time
	if err != nil {
		t.Fatal(err)
	}
	keyFile := filepath.Join(t.TempDir(), "key")
	c.file(keyFile, key.String()+"\n")
	seki := func(gate *stack.Process, want int, line string) string {
		t.Helper()
		out, code := stack.Shell(t, append([]string{"SEKI_SERVER=" + gate.Addr("admin gRPC"), "SEKI_KEY_FILE=" + keyFile}, env...), stack.Binary(t)+" "+line)
		if code != want {
			t.Errorf("seki %s: exit %d, want %d: %s", line, code, want, out)
		}
		return out
	}
	revision := func() string {
		_, rest, _ := strings.Cut(seki(c.gate, 0, "status"), "revision   ")
		rev, _, _ := strings.Cut(rest, " ")
		return rev
	}
	if out := seki(c.gate, 0, "backup --incremental --to "+at); !strings.Contains(out, "entities of revision") {
		t.Errorf("the first backup says %s", out)
	}
	c.put("/services/first", `{"host":"first.test"}`)
	middle := revision()
	c.put("/services/second", `{"host":"second.test"}`)
	if out := seki(c.gate, 0, "backup --incremental --to "+at); !strings.Contains(out, "2 changes of revisions") {
		t.Errorf("the second backup says %s", out)
	}
	if code, out := ask(t, http.MethodDelete, c.admin+"/services/first", ""); code != http.StatusNoContent {
		t.Fatalf("DELETE: %d %s", code, out)
	}
	if out := seki(c.gate, 0, "backup --incremental --to "+at); !strings.Contains(out, "1 changes of revisions") {
		t.Errorf("the third backup says %s", out)
	}
	if out := seki(c.gate, 0, "drill "+at); !strings.Contains(out, "restored into a scratch store, compared, and compiled") {
		t.Errorf("drill says %s", out)
	}

	fresh := stack.Start(t, "run", "--data-dir", t.TempDir(), "--proxy-listen", "127.0.0.1:0", "--proxy-tls-listen", "off",
		"--admin-listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0", "--status-listen", "127.0.0.1:0", "--console-listen", "off")
	fresh.WaitReady()
	there := func(want string) {
		t.Helper()
		var have []string
		for _, name := range []string{"first", "second"} {
			if code, _ := ask(t, http.MethodGet, fresh.URLs["admin"]+"/services/"+name, ""); code == http.StatusOK {
				have = append(have, name)
			}
		}
		if got := strings.Join(have, " "); got != want {
			t.Errorf("restored are %q, want %q", got, want)
		}
	}
	seki(fresh, 0, "restore "+at+" --revision "+middle)
	there("first")
	seki(fresh, 0, "restore "+at)
	there("second")
	if out := seki(fresh, 1, "restore "+at+" --revision 1000000"); !strings.Contains(out, "before 1000000") {
		t.Errorf("a revision to come says %s", out)
	}
	if out := seki(fresh, 1, "backup --incremental --to "+at); !strings.Contains(out, "of another history") {
		t.Errorf("a backup of another installation into the same place says %s", out)
	}
	if strings.HasPrefix(folder, "s3://") {
		return
	}
	all := filepath.Join(t.TempDir(), "history")
	seki(c.gate, 0, "backup --history --to "+all)
	seki(fresh, 0, "restore "+all+" --revision "+middle)
	there("first")
	partials, _ := filepath.Glob(filepath.Join(folder, "*-to-*.backup"))
	if len(partials) != 2 {
		t.Fatalf("partial backups are %v", partials)
	}
	if out := seki(fresh, 1, "restore "+partials[0]); !strings.Contains(out, "name the ones before it first") {
		t.Errorf("a partial backup alone says %s", out)
	}
	if raw, err := os.ReadFile(filepath.Join(folder, "drills", "sekifuda_drill.prom")); err != nil || !strings.Contains(string(raw), "sekifuda_drill_loss_seconds ") {
		t.Errorf("the rehearsal publishes %s, %v", raw, err)
	}
}

// ask sends a request and returns its status and answer.
func ask(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	code, out, err := stack.Try(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return code, out
}
