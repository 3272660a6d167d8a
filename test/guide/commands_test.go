package guide

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"

	"github.com/sekifuda/sekifuda/test/stack"
)

var (
	block     = regexp.MustCompile("(?s)```bash\n(.*?)```")
	threshold = regexp.MustCompile(`^(WARNING|CRITICAL): `)
)

// guideCommands are the command lines of the guide's code blocks, in order. The inline
// commands of its checklists come first.
func guideCommands(t *testing.T) []string {
	t.Helper()
	raw, err := os.ReadFile("testdata/guide.ja.md")
	if err != nil {
		t.Fatal(err)
	}
	list := []string{"curl http://localhost:8001/status", "docker logs ai-kong --tail 50"}
	for _, b := range block.FindAllStringSubmatch(string(raw), -1) {
		for _, line := range strings.Split(b[1], "\n") {
			if line == "" || strings.HasPrefix(line, "#") || threshold.MatchString(line) {
				continue
			}
			list = append(list, line)
		}
	}
	return list
}

// expectations are what a command's output must hold; a command without one must only
// succeed. A command whose output is a file is looked at by backup.
var expectations = map[string]func(t *testing.T, w *world, out string){
	"curl http://localhost:8001/status":           wantStatusBody,
	"curl -s http://localhost:8001/status | jq .": wantStatusBody,
	"curl http://localhost:8080/": func(t *testing.T, _ *world, out string) {
		if !strings.Contains(out, "no Route matched with those values") {
			t.Errorf("%s", out)
		}
	},
	"curl http://localhost:8001/consumers/ai-dev-user/key-auth": func(t *testing.T, _ *world, out string) {
		if !strings.Contains(out, `"key":"ai-dev-key-2025"`) {
			t.Errorf("%s", out)
		}
	},
	`curl http://localhost:8001/plugins | jq '.data[] | select(.name=="rate-limiting")'`: func(t *testing.T, _ *world, out string) {
		if !strings.Contains(out, `"minute": 100`) || !strings.Contains(out, `"hour": 1000`) {
			t.Errorf("%s", out)
		}
	},
	`curl http://localhost:8001/plugins | jq '.data[] | {name: .name, service: .service.id}'`: func(t *testing.T, _ *world, out string) {
		for _, name := range []string{"key-auth", "rate-limiting", "cors", "bot-detection", "ip-restriction", "request-size-limiting", "request-transformer", "file-log", "prometheus"} {
			if !strings.Contains(out, `"name": "`+name+`"`) {
				t.Errorf("no %s in %s", name, out)
			}
		}
	},
	`curl http://localhost:8001/services/api-gateway`: func(t *testing.T, _ *world, out string) {
		if !strings.Contains(out, `"name":"api-gateway"`) {
			t.Errorf("%s", out)
		}
	},
}

func wantStatusBody(t *testing.T, _ *world, out string) {
	start := strings.Index(out, "{")
	if start < 0 {
		t.Fatalf("%s", out)
	}
	var got struct {
		Database struct{ Reachable bool }
		Server   map[string]int64
		Memory   map[string]any
	}
	if err := json.NewDecoder(strings.NewReader(out[start:])).Decode(&got); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	if !got.Database.Reachable {
		t.Errorf("database not reachable: %s", out)
	}
	for _, f := range []string{"connections_active", "connections_accepted", "connections_handled", "connections_reading", "connections_writing", "connections_waiting", "total_requests"} {
		if _, ok := got.Server[f]; !ok {
			t.Errorf("no server.%s in %s", f, out)
		}
	}
}

// commands runs every command line of the guide in its order.
func commands(t *testing.T, w *world) {
	list := guideCommands(t)
	if len(list) != 35 {
		t.Fatalf("the guide has %d commands, want 35: look at what changed", len(list))
	}
	for _, line := range list {
		if w.database == nil && strings.Contains(line, "ai-postgres pg") || w.database == nil && strings.Contains(line, "ai-postgres psql") {
			t.Logf("not on the embedded store: %s", line) // the data folder is the backup there
			continue
		}
		if line == "/tmp/kong_alerts.sh" { // its section follows that on stopping
			w.sh(t, "docker compose up -d ai-kong")
			w.wantUp(t)
		}
		if strings.Contains(line, "psql -U ai_user") {
			w.loseDatabase(t)
		}
		if strings.Contains(line, "{plugin-id}") {
			w.patchLimit(t, line)
			continue
		}
		out := w.sh(t, line)
		if strings.HasPrefix(line, "docker compose up") {
			w.wantUp(t)
		}
		if want := expectations[line]; want != nil {
			want(t, w, out)
		}
	}
	w.wantBackup(t)
	stack.Eventually(t, func() error { return w.works(t) })
}

// wantUp waits until the control plane answers and every node is connected to it.
func (w *world) wantUp(t *testing.T) {
	t.Helper()
	stack.Eventually(t, func() error {
		res, err := http.Get(w.admin + "/clustering/data-planes")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		var list struct{ Data []struct{} }
		if err := json.NewDecoder(res.Body).Decode(&list); err != nil {
			return err
		}
		if len(list.Data) != len(w.proxies) {
			return fmt.Errorf("%d nodes, want %d", len(list.Data), len(w.proxies))
		}
		return nil
	})
}

// patchLimit runs the guide's PATCH of the rate limit and takes it back.
func (w *world) patchLimit(t *testing.T, line string) {
	t.Helper()
	id := strings.TrimSpace(w.sh(t, `curl -s http://localhost:8001/plugins | jq -r '.data[] | select(.name=="rate-limiting") | .id'`))
	out := w.sh(t, strings.ReplaceAll(line, "{plugin-id}", id))
	if !strings.Contains(out, `"minute":200`) {
		t.Errorf("PATCH config.minute=200: %s", out)
	}
	w.sh(t, `curl -fsS -X PATCH http://localhost:8001/plugins/`+id+` -d "config.minute=100"`)
}

// wantBackup checks the JSON backup that the guide's curl lines made.
func (w *world) wantBackup(t *testing.T) {
	t.Helper()
	for file, want := range map[string]string{
		"services.json": "api-gateway", "routes.json": "/api/v1/gateway", "consumers.json": "ai-dev-user", "plugins.json": "rate-limiting",
	} {
		raw, err := os.ReadFile(filepath.Join(w.tmp, "kong_backup", file))
		if err != nil {
			t.Error(err)
			continue
		}
		if !json.Valid(raw) || !strings.Contains(string(raw), want) {
			t.Errorf("%s: %.200s", file, raw)
		}
	}
	if w.database == nil {
		return
	}
	raw, err := os.ReadFile(filepath.Join(w.tmp, "kong_backup", "postgres_backup.sql"))
	if err != nil || !strings.Contains(string(raw), "COPY") {
		t.Errorf("pg_dump: %v, %d bytes", err, len(raw))
	}
}

// TestComposeFile holds the compose file to the guide: it is valid and has its services.
func TestComposeFile(t *testing.T) {
	t.Parallel()
	o, err := cli.NewProjectOptions([]string{filepath.Join(stack.Root(), "deploy/compose/docker-compose.yml")}, cli.WithProfiles([]string{"*"}))
	if err != nil {
		t.Fatal(err)
	}
	p, err := o.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, port := range map[string]string{"ai-kong": "8080", "ai-postgres": "5432", "ai-redis": "6379", "ai-ollama": "11434"} {
		s, err := p.GetService(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s.ContainerName != name {
			t.Errorf("container of %s is named %q", name, s.ContainerName)
		}
		found := false
		for _, pc := range s.Ports {
			found = found || pc.Published == port
		}
		if !found {
			t.Errorf("%s does not publish %s", name, port)
		}
	}
	if got := len(p.Services["ai-kong"].DependsOn); got != 2 {
		t.Errorf("ai-kong depends on %d services, want PostgreSQL and Redis", got)
	}
}
