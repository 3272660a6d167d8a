// Package deck runs the real decK against the built gateway: what a team that moves from
// Kong does on its first day. decK is a program of its own with a licence and a dependency
// tree of its own, so it is not part of the module: `make deck DECK=PATH` is given one.
package deck

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/all"
	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

func TestMain(m *testing.M) { stack.Main(m) }

// deck is decK against one gateway.
type deck struct {
	t       *testing.T
	path    string
	gateway *stack.Process
}

// program returns decK's path. A test without one is not run, and says so.
func program(t *testing.T) string {
	t.Helper()
	path := os.Getenv("SEKI_TEST_DECK")
	if path == "" {
		t.Skip("run by make deck DECK=PATH")
	}
	return path
}

// onBothStores runs a test on the embedded store and on PostgreSQL.
func onBothStores(t *testing.T, test func(t *testing.T, d *deck)) {
	path := program(t)
	for name, url := range map[string]func(*testing.T) string{
		"embedded":   func(*testing.T) string { return "" },
		"postgresql": func(t *testing.T) string { return services.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			p := stack.Start(t, "run", "--data-dir", t.TempDir(), "--database-url", url(t),
				"--proxy-listen", "127.0.0.1:0", "--proxy-tls-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
				"--console-listen", "off", "--grpc-listen", "127.0.0.1:0", "--status-listen", "127.0.0.1:0")
			p.WaitReady()
			test(t, &deck{t, path, p})
		})
	}
}

// run calls decK and returns what it printed; it must end with success.
func (d *deck) run(args ...string) string {
	d.t.Helper()
	out, err := d.try(args...)
	if err != nil {
		d.t.Fatalf("deck %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (d *deck) try(args ...string) (string, error) {
	args = append([]string{"--analytics=false", "--kong-addr", d.gateway.URLs["admin"]}, args...)
	out, err := exec.Command(d.path, args...).CombinedOutput()
	return string(out), err
}

// changes expects decK's summary.
func (d *deck) changes(out string, created, updated, deleted int) {
	d.t.Helper()
	want := fmt.Sprintf("Summary:\n  Created: %d\n  Updated: %d\n  Deleted: %d\n", created, updated, deleted)
	if !strings.Contains(out, want) {
		d.t.Errorf("decK printed\n%s\nwant\n%s", out, want)
	}
}

// dump returns the state as decK writes it.
func (d *deck) dump(args ...string) []byte {
	d.t.Helper()
	file := filepath.Join(d.t.TempDir(), "dump.yaml")
	d.run(append([]string{"gateway", "dump", "--yes", "-o", file}, args...)...)
	raw, err := os.ReadFile(file)
	if err != nil {
		d.t.Fatal(err)
	}
	return raw
}

// write puts a state into a file.
func (d *deck) write(raw []byte) string {
	d.t.Helper()
	file := filepath.Join(d.t.TempDir(), "state.yaml")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		d.t.Fatal(err)
	}
	return file
}

// head returns the newest revision, which a sync that changes nothing must not move.
func (d *deck) head() string {
	d.t.Helper()
	out, code := stack.Shell(d.t, []string{"SEKI_SERVER=" + d.gateway.Addr("admin gRPC")}, stack.Binary(d.t)+" log --size 1")
	if code != 0 {
		d.t.Fatalf("seki log: exit %d: %s", code, out)
	}
	return out
}

// states are the files of the rounds by name.
func states(t *testing.T) map[string][]byte {
	t.Helper()
	read := func(file string) []byte {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	entities := read("../parity/testdata/deck-sessions/main.yaml")
	return map[string][]byte{
		// Its keys are written so that nobody's scanner takes them for keys.
		"entities": bytes.ReplaceAll(entities, []byte("PRIVATE_KEY-"), []byte("PRIVATE KEY-")),
		"plugins":  read("testdata/plugins.yaml"),
	}
}

// TestRounds takes each state through what decK promises: validate, sync, a diff of nothing,
// a second sync that writes nothing, and a dump that survives a reset.
func TestRounds(t *testing.T) {
	onBothStores(t, func(t *testing.T, d *deck) {
		d.run("gateway", "ping")
		for name, raw := range states(t) {
			t.Run(name, func(t *testing.T) {
				d := &deck{t, d.path, d.gateway}
				file := d.write(raw)
				d.run("gateway", "reset", "--force")
				d.run("gateway", "validate", file)
				d.run("gateway", "sync", file)
				before := d.head()
				d.changes(d.run("gateway", "diff", file), 0, 0, 0)
				d.changes(d.run("gateway", "sync", file), 0, 0, 0)
				if after := d.head(); after != before {
					t.Errorf("a second sync moved the head from\n%s\nto\n%s", before, after)
				}
				d.survives("--with-id", func(raw []byte) string { return string(raw) })
				// Without ids credentials get new ones, and decK writes them in the order of ids.
				d.survives("--with-id=false", anyOrder)
			})
		}
	})
}

// survives expects the same dump after a reset and a sync of it, as form sees it.
func (d *deck) survives(flag string, form func([]byte) string) {
	d.t.Helper()
	first := d.dump(flag)
	d.run("gateway", "reset", "--force")
	d.run("gateway", "sync", d.write(first))
	if second := d.dump(flag); form(first) != form(second) {
		d.t.Errorf("dump %s, reset, sync, dump: before\n%s\nafter\n%s", flag, first, second)
	}
}

// anyOrder is a dump with its lines sorted, markers of lists taken off.
func anyOrder(raw []byte) string {
	lines := strings.Split(strings.ReplaceAll(string(raw), "- ", "  "), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// TestTags keeps two teams on one gateway apart by select tags.
func TestTags(t *testing.T) {
	onBothStores(t, func(t *testing.T, d *deck) {
		state := func(team, path string) string {
			return d.write([]byte(fmt.Sprintf(`{_format_version: "3.0", _info: {select_tags: [%[1]s]},
				services: [{name: %[1]s, url: "http://127.0.0.1:9", routes: [{name: %[1]s, paths: [%[2]s]}]}]}`, team, path)))
		}
		d.changes(d.run("gateway", "sync", state("blue", "/blue")), 2, 0, 0)
		d.changes(d.run("gateway", "sync", state("green", "/green")), 2, 0, 0)
		d.changes(d.run("gateway", "sync", state("blue", "/other")), 0, 1, 0)
		d.changes(d.run("gateway", "diff", state("green", "/green")), 0, 0, 0)
		d.run("gateway", "reset", "--force", "--select-tag", "blue")
		if left := d.dump("--select-tag", "green"); !bytes.Contains(left, []byte("/green")) {
			t.Errorf("after a reset of blue, green is\n%s", left)
		}
		if left := d.dump(); bytes.Contains(left, []byte("/other")) {
			t.Errorf("after a reset of blue there is\n%s", left)
		}
		out, err := d.try("gateway", "diff", "--non-zero-exit-code", state("blue", "/blue"))
		var code *exec.ExitError
		if !errors.As(err, &code) || code.ExitCode() != 2 {
			t.Errorf("a diff with changes ended with %v, want exit code 2\n%s", err, out)
		}
	})
}

// TestEveryPluginHasARound holds plugins.yaml to what is shipped.
func TestEveryPluginHasARound(t *testing.T) {
	var state struct {
		Services []struct {
			Plugins []struct{ Name string }
			Routes  []struct{ Plugins []struct{ Name string } }
		}
	}
	if err := yaml.Unmarshal(states(t)["plugins"], &state); err != nil {
		t.Fatal(err)
	}
	var named []string
	for _, s := range state.Services {
		for _, p := range s.Plugins {
			named = append(named, p.Name)
		}
		for _, r := range s.Routes {
			for _, p := range r.Plugins {
				named = append(named, p.Name)
			}
		}
	}
	set, err := plugin.Load(all.Definitions()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range set.All() {
		if !slices.Contains(named, p.Name) {
			t.Errorf("testdata/plugins.yaml has no %s", p.Name)
		}
	}
}
