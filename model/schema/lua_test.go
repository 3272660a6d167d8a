package schema

import (
	"errors"
	"strings"
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

func TestDecodeJSONKeepsInvalidBytes(t *testing.T) {
	t.Parallel()
	b, err := DecodeJSON([]byte("{\"a\xff\":\"\xc3y\",\"b\":[\"\u65e5\xfe\"]}"))
	if err != nil {
		t.Fatal(err)
	}
	if b["a\xff"] != "\xc3y" || b["b"].([]any)[0] != "日\xfe" {
		t.Errorf("DecodeJSON = %q", b)
	}
	for bad, other := range map[string]bool{
		"": false, "null": true, "[]": true, `"x"`: true, "{": false, `{"a":1e999}`: false, "\xff": false,
	} {
		if _, err := DecodeJSON([]byte(bad)); err == nil || errors.Is(err, ErrNotObject) != other {
			t.Errorf("DecodeJSON(%q) = %v, want an error, ErrNotObject: %v", bad, err, other)
		}
	}
}

func TestInvalidUTF8NamesThePosition(t *testing.T) {
	t.Parallel()
	want := "invalid utf-8 character sequence detected at position 4"
	if got := invalidUTF8("日" + "\xff"); got != want {
		t.Errorf("invalidUTF8 = %q, want %q", got, want)
	}
	if got := invalidUTF8("a\uFFFDb"); got != "" {
		t.Errorf("invalidUTF8 of a replacement character = %q, want nothing", got)
	}
}

func TestHosts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ check, in, want string }{
		{"host", "a.test", ""}, {"host", "a_b.test.", ""}, {"host", "1.2.3.4", ""}, {"host", "::1", ""},
		{"host", "a:80", "must not have a port"}, {"host", "[::1]:80", "must not have a port"},
		{"host", "a:99999", "must not have a port"}, {"host", "h h", "invalid value: h h"},
		{"host", "-a", "invalid value: -a"}, {"host", "a..b", "invalid value: a..b"},
		{"host", "1.2.3", "invalid value: 1.2.3"}, {"host", "1.2.3.400", "invalid value: 1.2.3.400"},
		{"host", "[", "invalid value: ["}, {"host", ":", "invalid value: :"}, {"host", "[::1", "invalid value: [::1"},
		{"sni", "1.2.3.4", "must not be an IP"}, {"sni", "::1", "must not be an IP"},
		{"sni", "a:1", "must not have a port"}, {"sni", "a", ""},
		{"wildcard", "*.a", ""}, {"wildcard", "a.*", ""},
		{"wildcard", "a.*.b", "wildcard must be leftmost or rightmost character"},
		{"wildcard", "*.a.*", "only one wildcard must be specified"},
		{"wildcard", "*", "wildcard must be leftmost or rightmost character"},
		{"port", "a:80", ""}, {"port", "a:x", "invalid value: a:x"}, {"port", "a:70000", "invalid port number"},
		{"range", "10.0.0.0/8", ""}, {"range", "::/0", ""}, {"range", "::1", ""},
		{"range", "10.0.0.0/33", "invalid ip or cidr range: '10.0.0.0/33'"},
		{"range", "10.0.0.0/-1", "invalid ip or cidr range: '10.0.0.0/-1'"},
		{"range", "a", "invalid ip or cidr range: 'a'"},
	} {
		check := map[string]func(string) string{
			"host": CheckHost, "sni": CheckSNI, "wildcard": CheckWildcardHost, "port": CheckHostPort, "range": checkRange,
		}[c.check]
		if got := check(c.in); got != c.want {
			t.Errorf("%s(%q) = %q, want %q", c.check, c.in, got, c.want)
		}
	}
}

// FuzzHosts reads any text as every kind of host: nothing may panic, and what is read as an
// address is read the same again.
func FuzzHosts(f *testing.F) {
	for _, s := range []string{"a:80", "[::1]:80", "::1", "1.2.3.4:5", "*.a", "a.*", "[", "::", "1.", "001.2.3.4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		CheckHost(s)
		CheckHostPort(s)
		CheckSNI(s)
		CheckWildcardHost(s)
		checkRange(s)
		a, ok, _ := ParseAddress(s)
		if !ok {
			return
		}
		again, ok, _ := ParseAddress(a.Bracketed())
		if a.Port = 0; !ok || again != a {
			t.Fatalf("%q is %v, then %v", s, a, again)
		}
		if strings.ContainsAny(a.Host, " /\x00") {
			t.Fatalf("%q gave host %q", s, a.Host)
		}
	})
}
