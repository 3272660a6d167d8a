package guide

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/test/stack"
)

// TestOperationsPages runs every command of docs/guide, in both languages, on what `make run` is.
func TestOperationsPages(t *testing.T) {
	t.Parallel()
	var first []string
	for _, page := range []string{"operations.md", "operations.ja.md"} {
		lines := pageCommands(t, filepath.Join(stack.Root(), "docs/guide", page))
		if len(lines) < 25 {
			t.Errorf("%s has %d commands", page, len(lines))
		}
		if first == nil {
			first = lines
		}
		if strings.Join(lines, "\n") != strings.Join(first, "\n") {
			t.Errorf("the two languages have other commands:\n%q\n%q", first, lines)
		}
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			w := embedded(t)
			w.setup(t)
			w.docker.env = append(w.docker.env, "SEKI_ADMIN="+w.admin, "SEKI_PROXY="+w.proxies[0],
				"SEKI_NODES="+strings.TrimPrefix(w.status[0], "http://"), "SEKI_SERVER="+w.grpc,
				"SEKI_ALERT_LOG="+filepath.Join(w.tmp, "alerts.log"), "SEKI_METRICS_LOG="+filepath.Join(w.tmp, "metrics.log"))
			for _, line := range lines {
				out := w.sh(t, strings.ReplaceAll(line, "seki ", stack.Binary(t)+" "))
				if want := pageWants[line]; !strings.Contains(out, want) {
					t.Errorf("%s says\n%s\nwant %q", line, out, want)
				}
			}
		})
	}
}

// pageWants is what a command's output must hold; one without must only succeed.
var pageWants = map[string]string{
	"seki doctor --daily":                   "0 critical",
	"seki monitor --once":                   "[OK] database: reachable",
	"seki doctor --weekly || true":          "key-auth refuses what it must",
	"seki doctor --monthly --quiet || true": "checks: ",
	"seki monitor --once --json":            `"level":"OK"`,
	"seki revert --dry-run --to 1":          "dry run: nothing was written",
	"seki group":                            "default  head",
	`seki block consumer ai-dev-user --for 30m --reason "its key leaked"`: "in force on all 1 nodes",
	"seki block list":                   "its key leaked",
	"seki unblock consumer ai-dev-user": "is no longer blocked",
	"seki drill /tmp/kong_backup":       "restored into a scratch store",
	`seki explain $(curl -si http://localhost:8080/api/v1/gateway/ | tr -d '\r' | sed -n 's/^X-Kong-Request-Id: //p')`: "no-key: no API key is in the request",
}

// pageCommands are the lines of a page's code blocks.
func pageCommands(t *testing.T, path string) (list []string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range block.FindAllStringSubmatch(string(raw), -1) {
		for _, line := range strings.Split(b[1], "\n") {
			if line != "" && !strings.HasPrefix(line, "#") {
				list = append(list, line)
			}
		}
	}
	return list
}
