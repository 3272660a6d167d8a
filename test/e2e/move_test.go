package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

// TestStoreMoves moves an embedded store to PostgreSQL while clients send requests and write, and
// looks for every write and every number afterwards, in this process, after kill -9, and at a
// second replica.
func TestStoreMoves(t *testing.T) {
	t.Parallel()
	dir, database, up := t.TempDir(), services.Postgres(t), echo(t)
	p := run(t, dir)
	admin, proxy := p.URLs["admin"], p.URLs["proxy"]
	put(t, admin+"/services/s", `{"url":"`+up.URL+`"}`)
	put(t, admin+"/services/s/routes/r", `{"paths":["/r"]}`)
	put(t, admin+"/routes/r/plugins/"+uuid, `{"name":"key-auth"}`)
	put(t, admin+"/consumers/c", `{}`)
	put(t, admin+"/consumers/c/key-auth/"+strings.Replace(uuid, "5b2b", "0001", 1), `{"key":"secret-1"}`)
	for i := range 200 {
		put(t, fmt.Sprintf("%s/consumers/before-%d", admin, i), `{"tags":["t"]}`)
	}
	p.Answers("/r?apikey=secret-1", 200, "GET /")
	seki := func(line string) (string, int) {
		return stack.Shell(t, []string{"SEKI_SERVER=" + p.Addr("admin gRPC")}, stack.Binary(t)+" "+line)
	}
	first, _ := seki("status")

	stop := make(chan struct{})
	var wg sync.WaitGroup
	var sent, written atomic.Int64
	for w := range 3 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				url := fmt.Sprintf("%s/consumers/w%d-%d", admin, w, i)
				if code, out, err := stack.Try(http.MethodPut, url, `{}`); err != nil || code != http.StatusOK {
					t.Errorf("a write while the store moves: %d %s %v", code, out, err)
				}
				written.Add(1)
			}
		})
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if code, out, err := stack.Try(http.MethodGet, proxy+"/r?apikey=secret-1", ""); err != nil || code != http.StatusOK {
					t.Errorf("a request while the store moves: %d %s %v", code, out, err)
				}
				sent.Add(1)
			}
		})
	}
	more := func(n *atomic.Int64) {
		from := n.Load()
		stack.Eventually(t, func() error {
			if n.Load() < from+20 {
				return fmt.Errorf("%d more", n.Load()-from)
			}
			return nil
		})
	}
	more(&written)
	out, code := seki("store move '" + database + "'")
	if code != 0 || !strings.Contains(out, "moved to ") || !strings.Contains(out, "rows, read back") {
		t.Fatalf("seki store move: exit %d %s", code, out)
	}
	t.Log(strings.Split(out, "\n")[0], "under", sent.Load(), "requests")
	more(&written)
	more(&sent)
	close(stop)
	wg.Wait()

	check := func(what, admin string) {
		t.Helper()
		for w := range 3 {
			if code, _ := call(t, http.MethodGet, fmt.Sprintf("%s/consumers/w%d-0", admin, w), ""); code != http.StatusOK {
				t.Errorf("%s: an early write is gone", what)
			}
		}
		if n := countConsumers(t, admin); int64(n) != written.Load()+201 {
			t.Errorf("%s: %d consumers, want %d", what, n, written.Load()+201)
		}
	}
	check("after the move", admin)
	last, _ := seki("status")
	if history(first) != history(last) || !strings.Contains(last, "postgres, reachable") {
		t.Errorf("before the move:\n%s\nafter it:\n%s", first, last)
	}
	if out, code := seki("audit verify"); code != 0 {
		t.Errorf("seki audit verify: %s", out)
	}
	if out, code := seki("show 1"); code != 0 || !strings.Contains(out, "services") {
		t.Errorf("seki show 1: %s", out)
	}
	if raw, err := os.ReadFile(p.Log); err != nil || strings.Contains(string(raw), "resynced") || strings.Contains(string(raw), "lost") {
		t.Errorf("nodes did not go on as they were: %s", raw)
	}
	if out, code := seki("store move '" + database + "'"); code != 1 || !strings.Contains(out, "nothing was moved") && !strings.Contains(out, "moved before") {
		t.Errorf("a second move: exit %d %s", code, out)
	}

	p.Kill()
	p.Restart()
	p.Answers("/r?apikey=secret-1", 200, "GET /")
	check("after a restart", admin)
	other := stack.StartReplica(t, database)
	other.WaitReady()
	check("at a second replica", other.URLs["admin"])
	if _, out := call(t, http.MethodGet, other.URLs["admin"]+"/consumers/c/key-auth", ""); !strings.Contains(out, "secret-1") {
		t.Errorf("the second replica cannot read secrets: %s", out)
	}
}

func history(status string) string {
	_, rest, _ := strings.Cut(status, "history ")
	id, _, _ := strings.Cut(rest, ")")
	return id
}

func countConsumers(t *testing.T, admin string) (n int) {
	t.Helper()
	for next := "/consumers?size=1000"; next != ""; {
		var page struct {
			Data []json.RawMessage
			Next *string
		}
		if _, out := call(t, http.MethodGet, admin+next, ""); json.Unmarshal([]byte(out), &page) != nil {
			t.Fatalf("GET %s: %s", next, out)
		}
		n, next = n+len(page.Data), ""
		if page.Next != nil {
			next = *page.Next + "&size=1000"
		}
	}
	return n
}

// TestStoreDoesNotMove refuses targets in clear words, and leaves everything as it was.
func TestStoreDoesNotMove(t *testing.T) {
	t.Parallel()
	p, used := run(t, t.TempDir()), services.Postgres(t)
	other := stack.StartReplica(t, used)
	other.WaitReady()
	admin := p.URLs["admin"]
	put(t, admin+"/consumers/c", `{}`)
	for url, want := range map[string]string{
		used: "the database is not empty",
		"postgres://u:hush@127.0.0.1:1/x?connect_timeout=1": "127.0.0.1:1/x",
		"mysql://somewhere/x":                               "open somewhere/x",
	} {
		out, code := stack.Shell(t, []string{"SEKI_SERVER=" + p.Addr("admin gRPC")}, "echo '"+url+"' | "+stack.Binary(t)+" store move -")
		if code != 1 || !strings.Contains(out, want) || strings.Contains(out, "hush") {
			t.Errorf("seki store move %s: exit %d %s", url, code, out)
		}
	}
	out, code := stack.Shell(t, []string{"SEKI_SERVER=" + other.Addr("admin gRPC")}, stack.Binary(t)+" store move "+used)
	if code != 1 || !strings.Contains(out, "in postgres already") {
		t.Errorf("a store in PostgreSQL: exit %d %s", code, out)
	}
	put(t, admin+"/consumers/d", `{}`)
	p.Kill()
	p.Restart()
	if n := countConsumers(t, p.URLs["admin"]); n != 2 {
		t.Errorf("%d consumers, want 2", n)
	}
}
