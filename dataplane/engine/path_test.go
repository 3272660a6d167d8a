package engine

import (
	"encoding/json"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"
)

func readVectors[T any](t testing.TB, name string) []T {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var v []T
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v) == 0 {
		t.Fatalf("%s is empty", name)
	}
	return v
}

// upstreamURI is UpstreamPath with its result as one string.
func upstreamURI(service, prefix, path string, strip bool) string {
	whole, out, copied := UpstreamPath(nil, service, prefix, path, strip)
	if copied {
		whole = string(out)
	}
	return string(appendPath(nil, whole))
}

func TestUpstreamPathAsKong(t *testing.T) {
	t.Parallel()
	for _, v := range readVectors[struct {
		Service  string `json:"service_path"`
		Route    string `json:"route_path"`
		Strip    bool   `json:"strip_path"`
		Request  string
		Upstream string
	}](t, "upstream_uri.json") {
		if got := upstreamURI(v.Service, v.Route, normalized(v.Request), v.Strip); got != v.Upstream {
			t.Errorf("UpstreamPath(%q, %q, %q, %v) = %q, want %q", v.Service, v.Route, v.Request, v.Strip, got, v.Upstream)
		}
	}
}

// normalized stands in for the router's normalisation, which these tests do not judge.
func normalized(p string) string {
	if !strings.Contains(p, "%") && !strings.Contains(p, "//") && !strings.Contains(p, "/.") {
		return p
	}
	var out []byte
	for i := 0; i < len(p); i++ {
		c := p[i]
		if c == '%' && i+2 < len(p) {
			n, err := strconv.ParseUint(p[i+1:i+3], 16, 8)
			if err == nil && strings.IndexByte("!*'();:@&=+$,/?%#[]", byte(n)) < 0 {
				out = append(out, byte(n))
				i += 2
				continue
			}
		}
		if c == '/' && len(out) > 0 && out[len(out)-1] == '/' {
			continue
		}
		out = append(out, c)
	}
	clean := path.Clean(string(out))
	if clean != "/" && strings.HasSuffix(string(out), "/") {
		clean += "/"
	}
	return clean
}

func TestUpstreamPathEscapes(t *testing.T) {
	t.Parallel()
	if got, want := upstreamURI("/base x", "/r", "/r/é|\"\r\n", true), "/base%20x/%C3%A9%7C%22%0D%0A"; got != want {
		t.Errorf("path = %q, want %q", got, want)
	}
}

func TestNegotiateAsKong(t *testing.T) {
	t.Parallel()
	for _, v := range readVectors[struct {
		Accept      string
		ContentType string `json:"content_type"`
	}](t, "accept.json") {
		got := negotiate(v.Accept).contentType()
		if v.ContentType == "" {
			v.ContentType = "application/grpc"
		}
		if got != v.ContentType {
			t.Errorf("negotiate(%q) = %q, want %q", v.Accept, got, v.ContentType)
		}
	}
}

func FuzzUpstreamPath(f *testing.F) {
	f.Add("/", "/a", "/a/b", true)
	f.Add("/srv/", "", "/x", false)
	f.Add("", "/r", "/r..", true)
	f.Fuzz(func(t *testing.T, service, prefix, path string, strip bool) {
		if !strings.HasPrefix(path, "/") {
			path = "/" + path
		}
		if !strings.HasPrefix(service, "/") {
			service = "/" + service
		}
		got := upstreamURI(service, prefix, path, strip)
		if got == "" || got[0] != '/' {
			t.Fatalf("UpstreamPath(%q, %q, %q, %v) = %q: no path", service, prefix, path, strip, got)
		}
		for i := 0; i < len(got); i++ {
			if !plain[got[i]] {
				t.Fatalf("UpstreamPath = %q: byte %#x", got, got[i])
			}
		}
	})
}
