package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/test/stack"
)

// within sends a request of a window.
func within(t *testing.T, token, method, url, body string) (int, string) {
	t.Helper()
	return as(t, map[string]string{"Sekifuda-Window": token}, method, url, body)
}

// as sends a request with more headers.
func as(t *testing.T, header map[string]string, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(raw)
}

// TestChangeWindow writes a service, its route and a plugin in a window, which nobody else
// sees until all are live at once.
func TestChangeWindow(t *testing.T) {
	t.Parallel()
	onBothStores(t, func(t *testing.T, p *stack.Process) {
		admin, up := p.URLs["admin"], echo(t)
		put(t, admin+"/services/before", `{"host":"h"}`)
		first := revision(t, admin)
		expect := func(wantCode int, code int, out string) {
			t.Helper()
			if code != wantCode {
				t.Errorf("%d %s, want %d", code, out, wantCode)
			}
		}
		write := func(want int, method, path, body string) {
			t.Helper()
			code, out := within(t, "w1", method, admin+path, body)
			expect(want, code, out)
		}
		write(200, "PUT", "/services/s", `{"url":"`+up.URL+`"}`)
		write(200, "PUT", "/services/s/routes/r", `{"paths":["/s"]}`)
		write(200, "PATCH", "/routes/r", `{"tags":["x"]}`)
		write(200, "PUT", "/services/before", `{"host":"other"}`)
		write(201, "POST", "/services/s/plugins", `{"name":"key-auth"}`)
		// Rules hold within the window, and against what is live.
		write(409, "POST", "/services", `{"name":"s","host":"h"}`)
		write(409, "POST", "/services", `{"name":"before","host":"h"}`)
		write(400, "POST", "/routes", `{"paths":["/x"],"service":{"name":"none"}}`)
		write(400, "DELETE", "/services/s", "")
		write(400, "PUT", "/services/t", `{}`)

		if code, out := within(t, "w1", "GET", admin+"/services/s/routes?tags=x", ""); code != 200 || !strings.Contains(out, `"/s"`) {
			t.Errorf("a read of the window: %d %s", code, out)
		}
		if code, out := call(t, "GET", admin+"/services/s", ""); code != 404 {
			t.Errorf("a read beside the window: %d %s", code, out)
		}
		if code, out := within(t, "w2", "GET", admin+"/services/s", ""); code != 404 {
			t.Errorf("a read of another window: %d %s", code, out)
		}
		if got := revision(t, admin); got != first {
			t.Errorf("the window made revision %d of %d", got, first)
		}
		if code, _ := call(t, "GET", p.URLs["proxy"]+"/s", ""); code != 404 {
			t.Errorf("the window's route is live: %d", code)
		}
		out, exit := stack.Shell(t, nil, stack.Binary(t)+" window list --admin "+admin)
		if exit != 0 || !strings.Contains(out, "w1  4 entities") {
			t.Errorf("window list: %d %s", exit, out)
		}
		out, exit = stack.Shell(t, nil, stack.Binary(t)+" window publish w1 --message move --admin "+admin)
		if want := fmt.Sprintf("revision %d, 4 entities\n", first+1); exit != 0 || out != want {
			t.Errorf("window publish: %d %q, want %q", exit, out, want)
		}
		for path, want := range map[string]int{"/s": 401} {
			if code, out := call(t, "GET", p.URLs["proxy"]+path, ""); code != want {
				t.Errorf("GET %s: %d %s, want %d", path, code, out, want)
			}
		}
		if code, out := within(t, "w1", "GET", admin+"/services/before", ""); code != 200 || !strings.Contains(out, `"host":"other"`) {
			t.Errorf("after it was published: %d %s", code, out)
		}
	})
}

// revision is the head revision, as a write that changes nothing tells it.
func revision(t *testing.T, admin string) uint64 {
	t.Helper()
	var log struct{ Revision uint64 }
	code, out := as(t, map[string]string{"Sekifuda-Window": "none"}, "POST", admin+"/sekifuda/windows/none/publish", "")
	if code != http.StatusNotFound {
		t.Fatalf("%d %s", code, out)
	}
	if code, out = within(t, "head", "DELETE", admin+"/services/no-such", ""); code != http.StatusNoContent {
		t.Fatalf("%d %s", code, out)
	}
	code, out = call(t, "POST", admin+"/sekifuda/windows/head/publish", "")
	if err := json.Unmarshal([]byte(out), &log); err != nil || code != 200 {
		t.Fatalf("%d %s", code, out)
	}
	return log.Revision
}

// TestWindowConflict changes an entity of a window beside it.
func TestWindowConflict(t *testing.T) {
	t.Parallel()
	p := run(t, t.TempDir())
	admin := p.URLs["admin"]
	put(t, admin+"/services/a", `{"host":"h"}`)
	within(t, "w", "PATCH", admin+"/services/a", `{"host":"mine"}`)
	within(t, "w", "PUT", admin+"/services/b", `{"host":"mine"}`)
	put(t, admin+"/services/a", `{"host":"theirs"}`)
	code, out := call(t, "POST", admin+"/sekifuda/windows/w/publish", "")
	if code != 409 || !strings.Contains(out, "services") || !strings.Contains(out, "(a) was changed by another write") {
		t.Errorf("publish: %d %s", code, out)
	}
	if code, _ := call(t, "GET", admin+"/services/b", ""); code != 404 {
		t.Errorf("half of a refused window is live: %d", code)
	}
	if code, out := call(t, "GET", admin+"/sekifuda/windows/w", ""); code != 200 || !strings.Contains(out, `"entities":2`) {
		t.Errorf("the refused window: %d %s", code, out)
	}
	if code, out := call(t, "DELETE", admin+"/sekifuda/windows/w", ""); code != 204 {
		t.Errorf("drop: %d %s", code, out)
	}
	for _, path := range []string{"/w", "/w/publish"} {
		method := map[bool]string{true: "POST", false: "GET"}[path != "/w"]
		if code, out := call(t, method, admin+"/sekifuda/windows"+path, ""); code != 404 {
			t.Errorf("%s %s after it was dropped: %d %s", method, path, code, out)
		}
	}
	if code, out := within(t, "bad\ttoken", "PUT", admin+"/services/b", `{"host":"h"}`); code != 409 {
		t.Errorf("a bad token: %d %s", code, out)
	}
}

// TestWindowOfAnAgent has a client's run published by itself, and nothing of one whose client
// went away in the middle.
func TestWindowOfAnAgent(t *testing.T) {
	t.Parallel()
	p := run(t, t.TempDir(), "--window-agent", "decK", "--window-quiet", "2s")
	admin := p.URLs["admin"]
	deck := map[string]string{"User-Agent": "decK/1.40"}
	for i := range 5 {
		if code, out := as(t, deck, "PUT", fmt.Sprintf("%s/services/s%d", admin, i), `{"host":"h"}`); code != 200 {
			t.Fatalf("%d %s", code, out)
		}
	}
	stack.Eventually(t, func() error {
		if code, _ := call(t, "GET", admin+"/services/s4", ""); code != 200 {
			return fmt.Errorf("%d", code)
		}
		return nil
	})
	if got := revision(t, admin); got != 1 {
		t.Errorf("a run of five writes made %d revisions", got)
	}

	// A second run, whose client goes while its last write is on the way.
	as(t, deck, "PUT", admin+"/services/half", `{"host":"h"}`)
	conn, err := net.Dial("tcp", p.Addr("admin"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "PUT /services/other HTTP/1.1\r\nHost: a\r\nUser-Agent: decK/1.40\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	conn.Close()
	stack.Eventually(t, func() error {
		_, out := call(t, "GET", admin+"/sekifuda/windows", "")
		if strings.Contains(out, "decK") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	for _, name := range []string{"half", "other"} {
		if code, _ := call(t, "GET", admin+"/services/"+name, ""); code != 404 {
			t.Errorf("%s of half a run is live", name)
		}
	}

	// A third one dies with the control plane.
	within(t, "w", "PUT", admin+"/services/half", `{"host":"h"}`)
	p.Kill()
	p.Restart()
	p.WaitReady()
	if code, _ := call(t, "GET", admin+"/services/half", ""); code != 404 {
		t.Error("a window outlived its control plane")
	}
}
