// Package arch holds the house rules that a compiler does not see: which room may import
// which.
package arch

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"sort"
	"strings"
	"testing"
)

const module = "github.com/sekifuda/sekifuda/"

// arrows is the table of ARCHITECTURE.md: a room may import those it names, and nothing
// else of the house. Anyone may import proto and model/fault. A room is the longest prefix
// that stands in the table.
var arrows = map[string][]string{
	"proto":       {},
	"model/fault": {},

	"model/schema":   {},
	"model":          {"model/schema", "model/password", "model/atc"},
	"model/password": {},
	"model/atc":      {},

	"plugin":     {"model", "model/schema", "model/password"},
	"plugin/":    {"plugin", "model", "model/schema"}, // every plugin, each only itself
	"migrations": {},

	"controlplane/store":     {"model", "model/schema", "migrations"},
	"controlplane/keyring":   {"controlplane/store"},
	"controlplane/authority": {"controlplane/store"},
	"controlplane/block":     {"controlplane/store"},
	"controlplane/snapshot":  {"model", "model/schema"},
	"controlplane/rollout":   {"model", "model/schema"},
	"controlplane/xds":       {"controlplane/snapshot"},
	"controlplane/fleet":     {},
	"controlplane/publish":   {"controlplane/store", "controlplane/snapshot", "controlplane/rollout", "controlplane/xds", "controlplane/fleet"},
	"controlplane/release":   {"controlplane/store", "controlplane/rollout", "model"},
	"controlplane/config":    {"controlplane/store", "plugin", "model", "model/schema"},
	"controlplane/adminapi":  {"controlplane/config", "controlplane/guard", "plugin", "model", "model/schema"},
	"controlplane/grpcapi":   {"controlplane/config", "controlplane/release", "controlplane/fleet", "controlplane/authority", "controlplane/block", "controlplane/keyring", "controlplane/guard", "controlplane/store", "model", "model/schema"},
	"controlplane/guard":     {"controlplane/store"},
	"controlplane/console":   {},
	"controlplane/replicas":  {"controlplane/store", "controlplane/fleet"},

	"ops": {},

	"dataplane/feed":      {},
	"dataplane/router":    {"plugin", "model/atc"},
	"dataplane/socket":    {},
	"dataplane/upstream":  {"dataplane/socket"},
	"dataplane/graph":     {"dataplane/router", "dataplane/upstream", "plugin", "model", "model/schema"},
	"dataplane/block":     {"plugin"},
	"dataplane/engine":    {"dataplane/block", "dataplane/graph", "dataplane/router", "dataplane/upstream", "dataplane/socket", "plugin"},
	"dataplane/limits":    {"plugin"},
	"dataplane/records":   {"plugin"},
	"dataplane/telemetry": {"plugin"},
}

// wiring may import its own rooms; cmd and test may import everything.
var wiring = map[string]string{
	"controlplane": "controlplane/",
	"dataplane":    "dataplane/",
}

// exceptions are edges that the table does not allow, each with its reason.
var exceptions = map[string]string{}

type pkg struct {
	ImportPath string
	Imports    []string
}

func TestArrows(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, p := range packages(t) {
		from := strings.TrimPrefix(p.ImportPath, module)
		for _, imp := range p.Imports {
			to, ours := strings.CutPrefix(imp, module)
			if !ours {
				continue
			}
			edge := from + " -> " + to
			if exceptions[edge] != "" {
				seen[edge] = true
				continue
			}
			if !allowed(from, to) {
				t.Errorf("%s: no such arrow in ARCHITECTURE.md", edge)
			}
		}
	}
	for edge := range exceptions {
		if !seen[edge] {
			t.Errorf("exception %s is not used: take it out", edge)
		}
	}
}

// TestArrowsRefuse shows that the table refuses what it should.
func TestArrowsRefuse(t *testing.T) {
	t.Parallel()
	for _, edge := range [][2]string{
		{"dataplane/engine", "controlplane/store"},
		{"controlplane/config", "dataplane/graph"},
		{"plugin/cors", "plugin/keyauth"},
		{"plugin/cors", "dataplane/limits"},
		{"dataplane/router", "dataplane/graph"},
		{"controlplane/adminapi", "controlplane/store/postgres"},
		{"model", "plugin"},
	} {
		if allowed(edge[0], edge[1]) {
			t.Errorf("allowed(%s, %s) = true, want false", edge[0], edge[1])
		}
	}
}

func allowed(from, to string) bool {
	if strings.HasPrefix(from, "cmd/") || strings.HasPrefix(from, "test/") {
		return true
	}
	if strings.HasPrefix(to, "proto/") || to == "model/fault" {
		return true
	}
	if own, ok := wiring[from]; ok {
		return strings.HasPrefix(to, own) || to == "plugin" || to == "model" || to == "model/schema"
	}
	room := roomOf(from)
	target := roomOf(to)
	if room == target && (room != "plugin/" || pluginFolder(from) == pluginFolder(to)) {
		return true
	}
	for _, r := range arrows[room] {
		if r == target {
			return true
		}
	}
	return from == "plugin/all" && strings.HasPrefix(to, "plugin/")
}

// sharedByPlugins are folders below plugin that are not plugins: the contract's own parts.
var sharedByPlugins = map[string]bool{
	"plugin/counting":   true,
	"plugin/logentry":   true,
	"plugin/payload":    true,
	"plugin/expression": true,
	"plugin/outbox":     true,
	"plugin/llm":        true,
	"plugin/rpc":        true,
	"plugin/provider":   true,
	"plugin/lua":        true,
	"plugin/function":   true,
	"plugin/stats":      true,
	"plugin/tracing":    true,
	"plugin/plugintest": true,
}

func roomOf(path string) string {
	if sharedByPlugins[path] {
		return "plugin"
	}
	if strings.HasPrefix(path, "plugin/") {
		return "plugin/"
	}
	best := ""
	for r := range arrows {
		if (path == r || strings.HasPrefix(path, r+"/")) && len(r) > len(best) {
			best = r
		}
	}
	return best
}

func pluginFolder(path string) string {
	parts := strings.Split(path, "/")
	return parts[1]
}

func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %s", exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	var list []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	if len(list) < 10 {
		t.Fatalf("go list found %d packages", len(list))
	}
	sort.Slice(list, func(i, j int) bool { return list[i].ImportPath < list[j].ImportPath })
	return list
}
