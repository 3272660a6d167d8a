package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/test/services"
	"github.com/sekifuda/sekifuda/test/stack"
)

// onBothStores runs a test on the embedded store and on PostgreSQL.
func onBothStores(t *testing.T, test func(t *testing.T, p *stack.Process)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		test(t, run(t, t.TempDir()))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, run(t, t.TempDir(), "--database-url", services.NewPostgres(t).URL))
	})
}

// post sends a body of that type with our own header, and returns status, revision and answer.
func post(t *testing.T, url, contentType string, body io.Reader) (code int, revision, answer string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header.Set("Sekifuda-Wait", "enforced=100%; timeout=30s")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("Sekifuda-Revision"), string(raw)
}

// TestDeclarativeConfig loads files over what is there: one revision each, all or nothing.
func TestDeclarativeConfig(t *testing.T) {
	t.Parallel()
	onBothStores(t, func(t *testing.T, p *stack.Process) {
		admin, up := p.URLs["admin"], echo(t)
		put(t, admin+"/services/old", `{"host":"h"}`)
		put(t, admin+"/services/old/routes/old", `{"paths":["/old"]}`)
		put(t, admin+"/consumers/kept", `{}`)
		put(t, admin+"/consumers/kept/basic-auth/kept", `{"password":"secret"}`)
		cert, key := selfSigned(t, "api.example")
		file := fmt.Sprintf(`
_format_version: "3.0"
consumers:
- username: kept
  keyauth_credentials: [{key: k}]
services:
- name: new
  url: %s
  plugins: [{name: key-auth}]
  routes: [{name: new, paths: [/new]}]
certificates:
- cert: %q
  key: %q
  snis: [{name: api.example}]
`, up.URL, cert, key)
		code, rev, out := post(t, admin+"/config", "text/yaml", strings.NewReader(file))
		if code != http.StatusCreated {
			t.Fatalf("load: %d %s", code, out)
		}
		var all map[string]map[string]map[string]any
		if err := json.Unmarshal([]byte(out), &all); err != nil || len(all["services"]) != 1 || len(all["snis"]) != 1 || all["services"]["x"] != nil {
			t.Errorf("answer = %s, %v", out, err)
		}
		for path, want := range map[string]int{"/new?apikey=k": 200, "/new": 401, "/old": 404} {
			if code, out := call(t, http.MethodGet, p.URLs["proxy"]+path, ""); code != want {
				t.Errorf("GET %s: %d %s, want %d", path, code, out, want)
			}
		}
		for path, want := range map[string]int{"/services/old": 404, "/consumers/kept/basic-auth/kept": 404, "/certificates/api.example": 200} {
			if code, _ := call(t, http.MethodGet, admin+path, ""); code != want {
				t.Errorf("GET %s: %d, want %d", path, code, want)
			}
		}

		// The same again, in each way in which it can be sent, is nothing new.
		raw, _ := json.Marshal(map[string]any{"config": file, "check_hash": 1})
		var form bytes.Buffer
		w := multipart.NewWriter(&form)
		_ = w.WriteField("config", file)
		w.Close()
		for _, c := range []struct{ query, kind, body string }{
			{"?check_hash=1", "text/yaml", file}, {"", "application/json", string(raw)},
			{"?check_hash=1", w.FormDataContentType(), form.String()},
		} {
			if code, _, out := post(t, admin+"/config"+c.query, c.kind, strings.NewReader(c.body)); code != http.StatusNotModified || out != "" {
				t.Errorf("again as %s: %d %s", c.kind, code, out)
			}
		}
		code, again, out := post(t, admin+"/config", "application/yaml", strings.NewReader(file))
		if code != http.StatusCreated || again != rev {
			t.Errorf("again without check_hash: %d revision %s, want %s; %s", code, again, rev, out)
		}

		// What GET shows is a file that changes nothing.
		put(t, admin+"/consumers/kept/basic-auth/kept", `{"password":"secret"}`)
		_, out = call(t, http.MethodGet, admin+"/config", "")
		if code, _, out := post(t, admin+"/config?check_hash=1", "application/json", strings.NewReader(out)); code != http.StatusNotModified {
			t.Errorf("what GET shows: %d %s", code, out)
		}

		// A file with one bad entity changes nothing at all.
		for _, bad := range []string{
			strings.Replace(file, "/new]", "new]", 1),
			file + "plugins: [{name: key-auth, service: other}]",
			file + "routes: [{name: r, paths: ['~/(']}]",
			"services: []", "]", "3",
		} {
			if code, _, out := post(t, admin+"/config", "text/yaml", strings.NewReader(bad)); code != http.StatusBadRequest || !strings.Contains(out, `"code":14`) {
				t.Errorf("%s: %d %s", bad, code, out)
			}
		}
		if code, _, out := post(t, admin+"/config?check_hash=1", "text/yaml", strings.NewReader(file+"basicauth_credentials: [{username: kept, password: secret, consumer: kept}]")); code != http.StatusNotModified {
			t.Errorf("after bad files: %d %s", code, out)
		}
		for _, c := range []struct {
			kind, body, answer string
			code               int
		}{
			{"", "", `{"message":"expected a declarative configuration"}`, 400},
			{"application/json", "{", `{"message":"Cannot parse JSON body"}`, 400},
			{"application/json", `{}`, "", 400},
			{"image/png", "x", "", 415},
			{"text/yaml", strings.Repeat("#", 10<<20+1), "", 413},
		} {
			if code, _, out := post(t, admin+"/config", c.kind, strings.NewReader(c.body)); code != c.code || c.answer != "" && out != c.answer {
				t.Errorf("%s %.20q: %d %s", c.kind, c.body, code, out)
			}
		}
	})
}
