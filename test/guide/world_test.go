package guide

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

// world is one running installation with what stands behind it.
type world struct {
	admin     string
	grpc      string
	proxies   []string
	status    []string
	client    *http.Client
	api       *apiServer
	ollama    *ollamaServer
	accessLog string
	limitEnv  []string
	docker    *docker
	tmp       string

	database *services.PostgresServer // nil: embedded
	dbURL    string
}

func newWorld(t *testing.T) *world {
	w := &world{client: &http.Client{}, tmp: t.TempDir()}
	w.accessLog = filepath.Join(w.tmp, "access.log")
	w.api, w.ollama = startAPI(t), startOllama(t)
	t.Cleanup(w.client.CloseIdleConnections)
	return w
}

// embedded is `make run`: both planes, no services.
func embedded(t *testing.T) *world {
	w := newWorld(t)
	ports := stack.FreePorts(t, 3) // the guide stops and starts it: its addresses must stay
	p := stack.Start(t, "run", "--data-dir", filepath.Join(w.tmp, "data"),
		"--proxy-listen", ports[0], "--proxy-tls-listen", "127.0.0.1:0", "--admin-listen", ports[1],
		"--console-listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0", "--status-listen", ports[2])
	p.WaitReady()
	w.grpc = p.Addr("admin gRPC")
	w.admin, w.proxies, w.status = p.URLs["admin"], []string{p.URLs["proxy"]}, []string{p.URLs["status"]}
	w.docker = newDocker(t, w, map[string]*stack.Process{"ai-kong": p})
	return w
}

// fleet is one control plane and two nodes on PostgreSQL and Redis.
func fleet(t *testing.T) *world {
	w := newWorld(t)
	w.database = services.NewPostgres(t)
	w.dbURL = guideDatabase(t, w.database)
	redis := services.NewRedis(t).URL
	ports := stack.FreePorts(t, 2)
	cp := stack.Start(t, "controlplane", "--database-url", w.dbURL, "--data-dir", filepath.Join(w.tmp, "cp"),
		"--admin-listen", ports[0], "--grpc-listen", "127.0.0.1:0", "--feed-listen", ports[1], "--feed-insecure",
		"--console-listen", "off", "--status-listen", "127.0.0.1:0")
	w.admin = cp.URLs["admin"]
	processes := map[string]*stack.Process{"ai-kong": cp}
	for _, id := range []string{"n1", "n2"} {
		n := stack.Start(t, "dataplane", "--control-plane", ports[1], "--feed-insecure", "--node-id", id,
			"--data-dir", filepath.Join(w.tmp, id), "--redis-url", redis, "--proxy-listen", "127.0.0.1:0",
			"--proxy-tls-listen", "off", "--status-listen", "127.0.0.1:0")
		n.WaitReady()
		w.proxies = append(w.proxies, n.URLs["proxy"])
		w.status = append(w.status, n.URLs["status"])
		processes[id] = n
	}
	u, err := url.Parse(redis)
	if err != nil {
		t.Fatal(err)
	}
	w.limitEnv = []string{"LIMIT_POLICY=redis", "REDIS_HOST=" + u.Hostname(), "REDIS_PORT=" + u.Port()}
	w.docker = newDocker(t, w, processes)
	return w
}

// apiServer stands for the guide's API gateway on port 8000.
type apiServer struct {
	url string
}

func startAPI(t *testing.T) *apiServer {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"path": r.URL.Path, "headers": r.Header, "size": n})
	}))
	t.Cleanup(s.Close)
	return &apiServer{url: s.URL}
}

// ollamaTokens is how many tokens the Ollama look-alike generates.
const ollamaTokens = 5

// ollamaServer answers /api/generate in Ollama's wire format: one JSON object per line. It
// writes a token only after next was received for the one before.
type ollamaServer struct {
	url  string
	next chan struct{}
}

func startOllama(t *testing.T) *ollamaServer {
	o := &ollamaServer{next: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/generate", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		for i := range ollamaTokens {
			fmt.Fprintf(w, `{"model":"tiny","created_at":"2025-06-10T00:00:0%dZ","response":"word%d ","done":false}`+"\n", i, i)
			w.(http.Flusher).Flush()
			select {
			case <-o.next:
			case <-r.Context().Done():
				return
			}
		}
		fmt.Fprintln(w, `{"model":"tiny","created_at":"2025-06-10T00:00:09Z","response":"","done":true,"eval_count":5}`)
	})
	mux.HandleFunc("GET /api/tags", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, `{"models":[{"name":"tiny","size":1}]}`)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	o.url = s.URL
	return o
}

// sh runs a command line of the guide against this world: addresses, folders and `docker`
// are the world's own, all else is as written.
func (w *world) sh(t *testing.T, line string) string {
	t.Helper()
	out, code := stack.Shell(t, w.docker.env, w.local(line))
	if code != 0 {
		t.Fatalf("%s: exit code %d\n%s", line, code, out)
	}
	return out
}

func (w *world) local(line string) string {
	return strings.NewReplacer(
		"http://localhost:8001", w.admin,
		"http://localhost:8080", w.proxies[0],
		"http://localhost:8000", w.api.url,
		"/tmp/kong_backup", filepath.Join(w.tmp, "kong_backup"),
		"/tmp/kong_alerts.sh", filepath.Join(stack.Root(), "deploy/guide/kong_alerts.sh"),
		"/Users/shingoyamaguchi02/Development/_core_config/docker", filepath.Join(stack.Root(), "deploy/compose"),
	).Replace(line)
}

// docker stands for the docker command: containers are this world's processes. It is a
// script on the PATH that asks the test.
type docker struct {
	env []string
}

func newDocker(t *testing.T, w *world, processes map[string]*stack.Process) *docker {
	dir := filepath.Join(w.tmp, "bin")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			http.Error(rw, err.Error(), http.StatusBadRequest)
			return
		}
		serveDocker(t, w, processes, rw, r.Form["a"])
	}))
	t.Cleanup(s.Close)
	script := `#!/bin/bash
# Stands for docker: what runs inside a container runs here, the rest is the test's.
if [ "$1" = exec ]; then
	shift
	[ "$1" = -i ] && shift
	[ "$1" = ai-postgres ] || { echo "no such container: $1" >&2; exit 1; }
	shift
	exec "$@"
fi
args=()
for a in "$@"; do args+=(--data-urlencode "a=$a"); done
exec curl -fsS "$SEKI_TEST_DOCKER" "${args[@]}"
`
	for name, text := range map[string]string{"docker": script, "sleep": "#!/bin/sh\nexit 0\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	d := &docker{env: []string{"PATH=" + dir + ":" + services.PostgresPath() + ":" + os.Getenv("PATH"), "SEKI_TEST_DOCKER=" + s.URL,
		"KONG_ALERTS_ADMIN=" + w.admin, "KONG_ALERTS_PROXY=" + w.proxies[0],
		"KONG_ALERTS_LOG=" + filepath.Join(w.tmp, "kong_alerts.log"), "KONG_METRICS_LOG=" + filepath.Join(w.tmp, "kong_metrics.log")}}
	if w.database != nil {
		u, err := url.Parse(w.dbURL)
		if err != nil {
			t.Fatal(err)
		}
		d.env = append(d.env, "PGHOST="+u.Hostname(), "PGPORT="+u.Port(), "PGPASSWORD=ai_password")
	}
	return d
}

func serveDocker(t *testing.T, w *world, processes map[string]*stack.Process, rw http.ResponseWriter, args []string) {
	line := strings.Join(args, " ")
	switch {
	case strings.HasPrefix(line, "compose up -d "):
		for _, name := range args[3:] {
			if p := processes[name]; p != nil && p.Ended() {
				p.Restart()
			}
		}
	case strings.HasPrefix(line, "compose stop "):
		for _, name := range args[2:] {
			if p := processes[name]; p != nil {
				p.Stop()
			}
		}
	case line == "ps":
		fmt.Fprintln(rw, "CONTAINER ID   IMAGE   NAMES\n0   api-gateway   api-gateway")
	case strings.HasPrefix(line, "logs ai-kong"):
		raw, err := os.ReadFile(processes["ai-kong"].Log)
		if err != nil {
			http.Error(rw, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = rw.Write(raw)
	default:
		t.Errorf("docker %s: not a command of the guide", line)
		http.Error(rw, "not a command of the guide", http.StatusBadRequest)
	}
}
