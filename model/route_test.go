package model_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/model"
	"github.com/sekifuda/sekifuda/model/schema"
)

func TestRoutePaths(t *testing.T) {
	t.Parallel()
	const pcre = "(PCRE returned: pcre2_compile() failed: "
	for _, c := range []struct{ path, want string }{
		{"/a b", ""}, {"/日本", ""}, {`~/a\d+$`, ""}, {"~/(?<id>x)", ""}, {"~/[^/]+", ""},
		{"~/a)b", "invalid regex: '/a)b' " + pcre + `unmatched closing parenthesis in "/a)b" at ")b")`},
		{`~/\)(a))`, `invalid regex: '/\)(a))' ` + pcre + `unmatched closing parenthesis in "/\)(a))" at ")")`},
		{"~/(a", "invalid regex: '/(a' " + pcre + `missing closing parenthesis in "/(a")`},
		{"~/[a", "invalid regex: '/[a' " + pcre + `missing terminating ] for character class in "/[a")`},
		{`~/a\`, `invalid regex: '/a\' ` + pcre + `\ at end of pattern in "/a\")`},
		{"~/a%zz", "invalid url-encoded value: '%zz'"},
		{"/a/./b", "non-normalized path, consider use '/a/b' instead"},
		{"/a%2fb", "non-normalized path, consider use '/a%2Fb' instead"},
	} {
		got := refusal(t, "routes", schema.Body{"paths": []any{c.path}})
		if want := c.want; want != "" {
			c.want = "schema violation (paths.1: " + want + ")"
		}
		if got != c.want {
			t.Errorf("path %q\n got %s\nwant %s", c.path, got, c.want)
		}
	}
	for _, looking := range []string{"~/a(?!b)", `~/(a)\1`} {
		got := refusal(t, "routes", schema.Body{"paths": []any{looking}})
		if !strings.HasPrefix(got, "schema violation (Router Expression failed validation: ") {
			t.Errorf("path %q: %s, want a refusal by the router", looking, got)
		}
	}
}

func TestRouteHosts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ host, want string }{
		{"a.test", ""}, {"*.a.test:80", ""}, {"a.*", ""}, {"1.2.3.4", ""},
		{"a b", "schema violation (hosts.1: invalid value: a b)"},
		{"*.a b", "schema violation (hosts.1: invalid value: *.a b)"},
		{"a.*.b", "schema violation (hosts.1: invalid wildcard: must be placed at leftmost or rightmost label)"},
	} {
		if got := refusal(t, "routes", schema.Body{"hosts": []any{c.host}}); got != c.want {
			t.Errorf("host %q: %s, want %s", c.host, got, c.want)
		}
	}
}

func TestServiceURLs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ url, want string }{
		{"http://h", `["http","h",80,null]`},
		{"HTTPS://h/", `["https","h",443,"/"]`},
		{"http://u:p@h:1/a%20b?q#f", `["http","h",1,"/a%20b"]`},
		{"//h/x", `["http","h",80,"/x"]`},
		{"//h:443", `["https","h",443,null]`},
		{"http://[::1]:8/", `["http","::1",8,"/"]`},
	} {
		m, err := all.Table("services").Insert(schema.Body{"url": c.url}, insertTime)
		if err != nil {
			t.Errorf("url %q: %v", c.url, err)
			continue
		}
		b := all.Table("services").Render(m, insertTime)
		if got := jsonText([]any{b["protocol"], b["host"], b["port"], b["path"]}); got != c.want {
			t.Errorf("url %q = %s, want %s", c.url, got, c.want)
		}
	}
	for _, bad := range []string{"http://", "http://h:x/", "://", "h", "\x7f"} {
		got := refusal(t, "services", schema.Body{"url": bad})
		if !strings.Contains(got, "host: required field missing") {
			t.Errorf("url %q: %s, want a missing host", bad, got)
		}
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want string }{
		{"a", "a:8000"}, {"a:0", "a:8000"}, {"a:1", "a:1"}, {"1.2.3.4", "1.2.3.4:8000"},
		{"::1", "[0000:0000:0000:0000:0000:0000:0000:0001]:8000"},
		{"[::1]:5", "[0000:0000:0000:0000:0000:0000:0000:0001]:5"}, {"a b", "a b"},
	} {
		if got := model.NormalTarget(c.in); got != c.want {
			t.Errorf("NormalTarget(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

var badEscape = regexp.MustCompile(`%($|[^0-9A-Fa-f]|.$|.[^0-9A-Fa-f])`)

// FuzzNormalPath holds the normal form to be its own normal form, of paths whose escapes are
// sound: a lone "%" may come to stand before two digits, and is refused in a route.
func FuzzNormalPath(f *testing.F) {
	for _, p := range []string{"/a/../b", "/%2e%2E/", "//a//", "/%", "/%zz%41", "a/..", "/a/.", "%2f", "%%410"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		if badEscape.MatchString(p) {
			return
		}
		once := model.NormalPath(p)
		if twice := model.NormalPath(once); twice != once {
			t.Fatalf("%q is %q, then %q", p, once, twice)
		}
	})
}

// FuzzRoutePath sends any path: it is refused, or stored as it was sent.
func FuzzRoutePath(f *testing.F) {
	for _, p := range []string{"/a", "~/a(", "~/(?=a)", `~/\1`, "~", "/\xff", "~/[z-a]", "~/a**", "~/" + strings.Repeat("(", 50)} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		table := all.Table("routes")
		m, err := table.Insert(schema.Body{"paths": []any{p}}, insertTime)
		if err != nil {
			checkFault(t, table, err)
			return
		}
		if got := table.Render(m, insertTime)["paths"].([]any)[0]; got != p {
			t.Fatalf("sent %q, stored %q", p, got)
		}
	})
}
