package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

// stream begins an answer and ends it when the test says so, or the client is gone.
func stream(t *testing.T) (up *httptest.Server, end chan struct{}) {
	t.Helper()
	end = make(chan struct{})
	up = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "begun")
		w.(http.Flusher).Flush()
		select {
		case <-end:
		case <-r.Context().Done():
		}
		fmt.Fprintln(w, "ended")
	}))
	t.Cleanup(up.Close)
	return up, end
}

// TestConcurrencyIsLimitedOverTheFleet has two gates share two slots: by streams that end, whose
// client goes away, and whose gate is killed.
func TestConcurrencyIsLimitedOverTheFleet(t *testing.T) {
	t.Parallel()
	up, end := stream(t)
	redis := services.NewRedis(t)
	gates := []*stack.Process{run(t, t.TempDir(), "--redis-url", redis.URL), run(t, t.TempDir(), "--redis-url", redis.URL)}
	id := func(n int) string { return strings.Replace(uuid, "5b2b", fmt.Sprint("000", n), 1) }
	for _, g := range gates {
		admin := g.URLs["admin"]
		put(t, admin+"/services/"+id(1), `{"name":"s","url":"`+up.URL+`"}`)
		for i, config := range []string{`{"limit":2}`, `{"limit":2,"queue":1,"queue_timeout":120}`} {
			route := id(2 + i)
			put(t, admin+"/services/s/routes/"+route, fmt.Sprintf(`{"name":"r%d","paths":["/r%d"]}`, i, i))
			put(t, admin+"/routes/"+route+"/plugins/"+id(4+i), `{"name":"concurrency-limiting","config":`+config+`}`)
		}
	}
	begin := func(ctx context.Context, gate int, path string) (*http.Response, *bufio.Reader) {
		t.Helper()
		q, err := http.NewRequestWithContext(ctx, http.MethodGet, gates[gate].URLs["proxy"]+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		body := bufio.NewReader(res.Body)
		if line, err := body.ReadString('\n'); res.StatusCode == http.StatusOK && (err != nil || line != "begun\n") {
			t.Fatalf("the stream begins with %q, %v", line, err)
		}
		return res, body
	}
	refused := func(gate int, path string) {
		t.Helper()
		res, _ := begin(t.Context(), gate, path)
		if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "1" || res.Header.Get("X-ConcurrencyLimit-Remaining") != "0" {
			t.Errorf("a third of two: %d %v", res.StatusCode, res.Header)
		}
	}
	admitted := func(ctx context.Context, gate int, path string) *bufio.Reader {
		t.Helper()
		var body *bufio.Reader
		stack.Eventually(t, func() error {
			res, b := begin(ctx, gate, path)
			if body = b; res.StatusCode != http.StatusOK {
				return fmt.Errorf("%d", res.StatusCode)
			}
			return nil
		})
		return body
	}
	first := admitted(t.Context(), 0, "/r0")
	ctx, leave := context.WithCancel(t.Context())
	admitted(ctx, 1, "/r0")
	refused(0, "/r0")
	refused(1, "/r0")
	if out := fleetLimits(t, gates[0], id(4)); !strings.Contains(out, " running 2 2 0 for all nodes") {
		t.Errorf("seki limits says %q", out)
	}
	if out, code := stack.Shell(t, []string{"SEKI_SERVER=" + gates[0].Addr("admin gRPC")}, stack.Binary(t)+" explain"); code != 0 || !strings.Contains(out, "too-many-at-once  concurrency-limiting") {
		t.Errorf("seki explain: exit %d %s", code, out)
	}
	leave() // its slot goes to the other gate
	admitted(t.Context(), 0, "/r0")
	refused(1, "/r0")
	end <- struct{}{}
	end <- struct{}{}
	if line, err := first.ReadString('\n'); err != nil || line != "ended\n" {
		t.Errorf("the first stream ends with %q, %v", line, err)
	}

	// Who waits gets the slot of a gate that is killed.
	admitted(t.Context(), 0, "/r1")
	admitted(t.Context(), 1, "/r1")
	codes := make(chan int, 2)
	for range 2 {
		go func() {
			code := 0
			if res, err := http.Get(gates[0].URLs["proxy"] + "/r1"); err == nil {
				code = res.StatusCode
				res.Body.Close()
			}
			codes <- code
		}()
	}
	if code := <-codes; code != http.StatusTooManyRequests {
		t.Errorf("of two, for whom there is room for one, the first is answered %d", code)
	}
	gates[1].Kill()
	if code := <-codes; code != http.StatusOK {
		t.Errorf("who waited gets %d", code)
	}
	close(end)
}

func fleetLimits(t *testing.T, g *stack.Process, plugin string) string {
	t.Helper()
	out, code := stack.Shell(t, []string{"SEKI_SERVER=" + g.Addr("admin gRPC")}, stack.Binary(t)+" limits --plugin "+plugin)
	if code != 0 {
		t.Errorf("seki limits: exit %d %s", code, out)
	}
	return strings.Join(strings.Fields(out), " ")
}
