package e2e

import (
	"bytes"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSecretsAreNotOnDisk writes secrets, uses them, and looks for them in every file of both
// planes: database, log of changes, last good configurations.
func TestSecretsAreNotOnDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, up := run(t, dir), echo(t)
	admin := p.URLs["admin"]
	put(t, admin+"/services/up", `{"url":"`+up.URL+`"}`)
	put(t, admin+"/services/up/routes/r", `{"paths":["/r"]}`)
	put(t, admin+"/consumers/anna", `{}`)
	for path, body := range map[string]string{
		"/consumers/anna/key-auth":   `{"key":"S3CRET-api-key"}`,
		"/consumers/anna/basic-auth": `{"username":"anna","password":"S3CRET-password"}`,
		"/consumers/anna/jwt":        `{"key":"issuer","secret":"S3CRET-of-jwt"}`,
		"/consumers/anna/hmac-auth":  `{"username":"anna","secret":"S3CRET-of-hmac"}`,
		"/plugins":                   `{"name":"key-auth"}`,
		"/routes/r/plugins":          `{"name":"rate-limiting","config":{"minute":100,"policy":"local","redis":{"password":"S3CRET-of-redis"}}}`,
	} {
		if code, out := call(t, http.MethodPost, admin+path, body); code != http.StatusCreated {
			t.Fatalf("POST %s: %d %s", path, code, out)
		}
	}
	ask := func(key string) int {
		t.Helper()
		code, _ := call(t, http.MethodGet, p.URLs["proxy"]+"/r?apikey="+key, "")
		return code
	}
	check := func() {
		t.Helper()
		if code := ask("S3CRET-api-key"); code != http.StatusOK {
			t.Errorf("with the key: %d", code)
		}
		if code := ask("S3CRET-api-kez"); code != http.StatusUnauthorized {
			t.Errorf("with another: %d", code)
		}
		// The operator still sees it, and finds it by itself.
		if code, out := call(t, http.MethodGet, admin+"/key-auths/S3CRET-api-key", ""); code != http.StatusOK || !bytes.Contains([]byte(out), []byte("S3CRET-api-key")) {
			t.Errorf("the key by itself: %d %s", code, out)
		}
	}
	check()
	if code, out := call(t, http.MethodPost, admin+"/consumers/anna/key-auth", `{"key":"S3CRET-api-key"}`); code != http.StatusConflict ||
		!bytes.Contains([]byte(out), []byte(`UNIQUE violation detected on '{key=\"S3CRET-api-key\"}'`)) {
		t.Errorf("the key again: %d %s", code, out)
	}
	p.Stop()
	files := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		files++
		for i := bytes.Index(raw, []byte("S3CRET")); i >= 0; i = -1 {
			t.Errorf("%s has %q", path, raw[i:min(i+24, len(raw))])
		}
		return err
	})
	if err != nil || files < 4 {
		t.Errorf("%d files, %v", files, err)
	}
	p.Restart()
	p.WaitReady()
	check()
}

// TestEnvVault has a plugin's configuration name a variable of the node's environment: the
// plugin gets the text, the Admin API shows the reference.
func TestEnvVault(t *testing.T) {
	t.Parallel()
	got := make(chan string, 8)
	sink := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header.Get("X-Secret") }))
	t.Cleanup(sink.Close)
	p := run(t, t.TempDir())
	admin := p.URLs["admin"]
	put(t, admin+"/services/s", `{"url":"`+echo(t).URL+`"}`)
	put(t, admin+"/services/s/routes/r", `{"paths":["/"]}`)
	code, out := call(t, http.MethodPost, admin+"/plugins", `{"name":"http-log","config":{"http_endpoint":"`+sink.URL+`","headers":{"X-Secret":"{vault://env/path}"}}}`)
	if code != 201 || !strings.Contains(out, `"X-Secret":"{vault://env/path}"`) {
		t.Fatalf("%d %s", code, out)
	}
	if code, out := call(t, http.MethodGet, p.URLs["proxy"]+"/", ""); code != 200 {
		t.Fatalf("%d %s", code, out)
	}
	select {
	case secret := <-got:
		if secret != os.Getenv("PATH") {
			t.Errorf("the log's collector is told %q, want the variable PATH", secret)
		}
	case <-time.After(time.Minute):
		t.Error("nothing was logged")
	}
}
