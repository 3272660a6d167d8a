package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/test/stack"
)

// kongFile is a configuration with every kind of reference, as a file of decK's.
const kongFile = `
_format_version: "3.0"
_info:
  select_tags: [moved]
  defaults:
    service: {retries: 3}
_plugin_configs:
  headers: {key_names: [x-key]}
services:
- name: api
  url: %s
  routes:
  - name: r
    paths: [/r]
    plugins: [{name: basic-auth}]
  plugins: [{name: key-auth, _config: headers, enabled: false}]
- name: pool
  host: pool
upstreams:
- name: pool
  targets: [{target: "127.0.0.1:1"}, {target: "127.0.0.1:2", weight: 0}]
consumers:
- username: u
  basicauth_credentials: [{username: name, password: word}]
  keyauth_credentials: [{key: k}]
  acls: [{group: g}]
plugins:
- {name: rate-limiting, consumer: u, config: {minute: 100, policy: cluster}}
`

var dates = regexp.MustCompile(`(?m)^ *(created_at|updated_at): .*\n`)

// dump is all there is, without dates.
func dump(t *testing.T, p *stack.Process) string {
	t.Helper()
	_, out := call(t, http.MethodGet, p.URLs["admin"]+"/config", "")
	var body struct{ Config string }
	if err := json.Unmarshal([]byte(out), &body); err != nil {
		t.Fatal(err)
	}
	return dates.ReplaceAllString(body.Config, "")
}

// TestImport moves a configuration from a decK file, from an Admin API, and from an export,
// each into an empty gateway.
func TestImport(t *testing.T) {
	t.Parallel()
	up := echo(t)
	dir := t.TempDir()
	deck := filepath.Join(dir, "deck.yaml")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(deck, fmt.Sprintf(kongFile, up.URL))
	bin := stack.Binary(t)
	seki := func(p *stack.Process, args string) (string, int) {
		t.Helper()
		return stack.Shell(t, nil, bin+" import kong --server "+p.Addr("admin gRPC")+" "+args)
	}
	moved := func(from string) *stack.Process {
		t.Helper()
		p := run(t, t.TempDir())
		out, exit := seki(p, "--dry-run --from "+from)
		if exit != 0 || !strings.Contains(out, "dry run: nothing was written") || strings.Contains(dump(t, p), "services:") {
			t.Fatalf("dry run from %s: %d\n%s", from, exit, out)
		}
		out, exit = seki(p, "--from "+from)
		if exit != 0 || !strings.HasSuffix(out, "revision 1\n") {
			t.Fatalf("from %s: %d\n%s", from, exit, out)
		}
		for _, line := range []string{"services               2 to create", "differs  rate-limiting with policy cluster"} {
			if !strings.Contains(out, line) {
				t.Errorf("from %s: the report lacks %q:\n%s", from, line, out)
			}
		}
		if out, exit = seki(p, "--from "+from); exit != 0 || !strings.HasSuffix(out, "nothing to write\n") {
			t.Errorf("again from %s: %d\n%s", from, exit, out)
		}
		req, _ := http.NewRequest(http.MethodGet, p.URLs["proxy"]+"/r", nil)
		for password, want := range map[string]int{"word": 200, "wrong": 401} {
			req.SetBasicAuth("name", password)
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != want {
				t.Errorf("from %s: password %q: %d, want %d", from, password, res.StatusCode, want)
			}
		}
		return p
	}
	first := moved(deck)
	want := dump(t, first)
	if !strings.Contains(want, "retries: 3") || !strings.Contains(want, "- x-key") || strings.Count(want, "- moved") != 13 {
		t.Errorf("defaults, shared configs or tags are not there:\n%s", want)
	}
	if got := dump(t, moved(first.URLs["admin"])); got != want {
		t.Errorf("over the Admin API:\n%s\nwant\n%s", got, want)
	}
	export := filepath.Join(dir, "export.yaml")
	write(export, want)
	if got := dump(t, moved(export)); got != want {
		t.Errorf("from an export:\n%s\nwant\n%s", got, want)
	}
}

// TestImportRefuses leaves nothing behind of a source that does not fit as a whole.
func TestImportRefuses(t *testing.T) {
	t.Parallel()
	p := run(t, t.TempDir())
	file := filepath.Join(t.TempDir(), "kong.yaml")
	for _, c := range []struct {
		name, text, flags, says string
		exit, services          int
	}{
		{"a plugin that is not here", "services: [{name: a, host: h, plugins: [{name: oidc-of-a-friend}]}]", "", `services[0].plugins[0]: plugin "oidc-of-a-friend" is not here`, 1, 0},
		{"a kind that is not here", "services: [{name: a, host: h}]\nconsumer_groups: [{name: g}]", "", "consumer_groups: 1 entities of a kind", 1, 0},
		{"a bad entity", "services: [{name: a, host: h}, {name: b, port: 99999999, host: h}]", "", "services[1]: schema violation (port:", 1, 0},
		{"no YAML", "]", "", "yaml:", 1, 0},
		{"the rest of it", "services: [{name: a, host: h, plugins: [{name: oidc-of-a-friend}]}, {name: b, port: 99999999, host: h, routes: [{name: r, paths: [/]}]}]", "--partial", "revision 1", 0, 1},
	} {
		if err := os.WriteFile(file, []byte("_format_version: '3.0'\n"+c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, exit := stack.Shell(t, nil, stack.Binary(t)+" import kong --from "+file+" "+c.flags+" --server "+p.Addr("admin gRPC"))
		if exit != c.exit || !strings.Contains(out, c.says) {
			t.Errorf("%s: %d\n%s\nwant %d with %q", c.name, exit, out, c.exit, c.says)
		}
		var list struct{ Data []any }
		_, body := call(t, http.MethodGet, p.URLs["admin"]+"/services", "")
		if err := json.Unmarshal([]byte(body), &list); err != nil || len(list.Data) != c.services {
			t.Errorf("%s: %d services are there, want %d", c.name, len(list.Data), c.services)
		}
	}
	out, exit := stack.Shell(t, nil, stack.Binary(t)+" import kong --from http://127.0.0.1:1 --server "+p.Addr("admin gRPC"))
	if exit != 1 || !strings.Contains(out, "no Admin API answers") {
		t.Errorf("a source that is not there: %d %s", exit, out)
	}
}
