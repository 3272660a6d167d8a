package router

import (
	"strings"
	"testing"
)

func TestNormalizePath(t *testing.T) {
	t.Parallel()
	var recorded [][2]string
	load(t, "normalize.json", &recorded)
	if len(recorded) != 16 {
		t.Errorf("%d recorded paths, want 16", len(recorded))
	}
	ours := [][2]string{
		{"*", "*"}, {".", ""}, {"..", ""}, {"./a", "a"}, {"a/../b", "/b"}, {"/..", "/"}, {"/.", "/"}, {"//", "/"},
		{"/a/./", "/a/"}, {"/a/b/..", "/a/"}, {"/...", "/..."}, {"/a/..b", "/a/..b"}, {"/%2e%2E/x", "/x"},
		{"/%zz%", "/%zz%"}, {"/%%341", "/%%341"}, {"/%4%31", "/%4%31"}, {"/%20%3f%5B", "/ %3F%5B"}, {"/a%00", "/a\x00"},
	}
	for _, v := range append(recorded, ours...) {
		if got := NormalizePath(v[0]); got != v[1] {
			t.Errorf("NormalizePath(%q) = %q, want %q", v[0], got, v[1])
		}
	}
}

func FuzzNormalizePath(f *testing.F) {
	for _, s := range []string{"", "/", "/a/../b", "/%2e%2e/%2F", "//a//", "/%%341", "/%4%31", "./../x", "/a/.%2e/%c3%a9", "%", "/.a/..b/..."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		once := NormalizePath(path)
		if twice := NormalizePath(once); twice != once {
			t.Errorf("NormalizePath(%q) = %q, and of that %q", path, once, twice)
		}
		if strings.HasPrefix(path, "/") && !strings.HasPrefix(once, "/") {
			t.Errorf("NormalizePath(%q) = %q, which begins with no slash", path, once)
		}
		for _, bad := range []string{"//", "/./", "/../"} {
			if strings.Contains(once, bad) {
				t.Errorf("NormalizePath(%q) = %q, which has %q", path, once, bad)
			}
		}
	})
}
