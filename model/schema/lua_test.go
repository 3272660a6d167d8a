package schema

import (
	"testing"

	"github.com/sekifuda/sekifuda/model/fault"
)

func TestCompilePattern(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"^%u+$", "GET", true},
		{"^%u+$", "GeT", false},
		{"^%u+$", "GET\n", false},
		{"//", "a//b", true},
		{"//", "a/b", false},
		{"^%*%.", "*.a", true},
		{"^%*%.", "a.*", false},
		{"%.%*$", "a.*", true},
		{"^[^*]*%*?[^*]*$", "*.a.*", false},
		{"^[^*]*%*?[^*]*$", "a.*", true},
		{"^[^*]*$", "日本", true},
		{"^[a-z][a-z%d-]-[a-z%d]+$", "my-env", true},
		{"^[a-z][a-z%d-]-[a-z%d]+$", "a", false},
		{"^[a-z][a-z%d-]-[a-z%d]+$", "ab-", false},
		{"^[%a_-][%a%d_-]*$", "A_1-", true},
		{"^[%a_-][%a%d_-]*$", "1A", false},
		{"^[^*&%%\\`]+$", "/a/b.log", true},
		{"^[^*&%%\\`]+$", "a%b", false},
		{"^[^*&%%\\`]+$", `a\b`, false},
		{"^[^*&%%\\`]+$", "a`b", false},
		{"^[Hh][Oo]%-[Tt]$", "hO-T", true},
		{"^[^:]+:.*$", "a:", true},
		{"^[^:]+:.*$", ":a", false},
		{"^%S+$", "a b", false},
		{"^%D$", "x", true},
		{"^[%D]$", "7", false},
		{"^[]]$", "]", true},
		{"^[a-]$", "-", true},
		{"a$b", "a$b", true},
		{"^.$", "\n", true},
		{"^%x%x$", "fG", false},
	} {
		re, err := compilePattern(c.pattern)
		if err != nil {
			t.Errorf("compilePattern(%q): %v", c.pattern, err)
			continue
		}
		if got := re.MatchString(c.text); got != c.want {
			t.Errorf("%q on %q = %v, want %v", c.pattern, c.text, got, c.want)
		}
	}
}

func TestCompilePatternRefusesWhatItCannotDo(t *testing.T) {
	t.Parallel()
	for _, p := range []string{"(a)", "%b()", "%f[a]", "%1", "a%", "[a", "[z-a]", "\xff"} {
		if _, err := compilePattern(p); err == nil {
			t.Errorf("compilePattern(%q) was accepted", p)
		}
	}
}

// FuzzPattern compiles any pattern and runs it on any text; a text that is all letters must
// match the pattern that is the same letters between anchors.
func FuzzPattern(f *testing.F) {
	f.Add("^[^*]*%*?[^*]*$", "a.*")
	f.Add("[%a-%d]", "-")
	f.Add("%", "x")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if re, err := compilePattern(pattern); err == nil {
			re.MatchString(text)
		}
		for i := range len(text) {
			if !isAlnum(text[i]) {
				return
			}
		}
		re, err := compilePattern("^" + text + "$")
		if err != nil || !re.MatchString(text) || re.MatchString(text+"x") {
			t.Fatalf("^%s$ does not mean %q: %v", text, text, err)
		}
	})
}

func TestPrettyLua(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		tree any
		want string
	}{
		{fault.Tree{"host": "required field missing"}, "{\n  host = \"required field missing\"\n}"},
		{[]any{"a", nil, "c"}, "{\n  \"a\",\n  [3] = \"c\"\n}"},
		{[]any{nil, "b"}, "{\n  [2] = \"b\"\n}"},
		{fault.Tree{"@entity": []any{"x"}, "b": fault.Tree{"c": "d"}},
			"{\n  [\"@entity\"] = {\n    \"x\"\n  },\n  b = {\n    c = \"d\"\n  }\n}"},
		{fault.Tree{"end": `say "it"`}, "{\n  [\"end\"] = \"say \\\"it\\\"\"\n}"},
		{fault.Tree{"a": "two\nlines"}, "{\n  a = [[two\nlines]]\n}"},
		{fault.Tree{"a": "]]\n"}, "{\n  a = [=[]]\n]=]\n}"},
	} {
		if got := prettyLua(c.tree); got != c.want {
			t.Errorf("prettyLua(%v) = %q, want %q", c.tree, got, c.want)
		}
	}
}

func TestLuaString(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		v    any
		want string
	}{
		{nil, "nil"}, {true, "true"}, {"s", "s"}, {5.0, "5"}, {0.02, "0.02"}, {100000.0, "100000"},
		{2147483648.0, "2147483648"}, {-1.0, "-1"}, {Body{}, "table"},
	} {
		if got := luaString(c.v); got != c.want {
			t.Errorf("luaString(%v) = %q, want %q", c.v, got, c.want)
		}
	}
}
