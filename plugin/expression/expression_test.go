package expression

import (
	"errors"
	"strings"
	"testing"
)

type fields map[string]Value

func (f fields) Index(key Value) Value  { return f[key.String()] }
func (f fields) Name(name string) Value { return f[name] }

var env = fields{
	"headers": OfTable(fields{"x_a": Of("1"), "x-b": Of("2"), "n": OfNumber(5), "word": Of("foo")}),
	"list":    OfTable(fields{"1": Of("first")}),
	"upper": OfFunc(func(args []Value) (Value, error) {
		if len(args) != 1 {
			return Value{}, errors.New("one argument")
		}
		return Of(strings.ToUpper(args[0].String())), nil
	}),
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	tests := []struct{ text, want string }{
		{"plain", "plain"},
		{"", ""},
		{"$ ( $) $", "$ ( $) $"},
		{"$(", "$("},
		{"$(headers.x_a)b$('a)", "1b$('a)"},
		{"$(b $(headers.x_a)", "$(b 1"},
		{"$(10 * headers.x_a)", "10"},
		{"$(headers.n - 1 - 1)", "3"},
		{"$(2 + 3 * 4 % 5 / 2)", "3"},
		{"$(-headers.n)", "-5"},
		{"$(-5 % 3)", "1"},
		{"$('0x10' + 0)", "16"},
		{"$(headers.n > 4 and 'more' or 'less')", "more"},
		{"$(headers.n >= 5 and 'more' or 'less')", "more"},
		{"$(headers.n < 5 and 'more' or 'less')", "less"},
		{"$(headers.n <= 5 and 'more' or 'less')", "more"},
		{"$('b' > 'a' and 'yes')", "yes"},
		{"$(1 < 2 == true and 'yes')", "yes"},
		{"$(#headers.word)", "3"},
		{"$(headers.word:upper())", "FOO"},
		{"$(headers.word:sub(2):rep(2))", "oooo"},
		{"$(headers.word:sub(-3, 1))", "f"},
		{"$(('abc'):reverse())", "cba"},
		{"$(('ABC'):lower():len())", "3"},
		{"$(headers.x_a)-$(headers['x-b'])", "1-2"},
		{`$(headers["x-b"])`, "2"},
		{"$(headers.none)", ""},
		{"$(none)", ""},
		{"$(headers.none or 'dflt')", "dflt"},
		{"$(headers.x_a or 'dflt')", "1"},
		{"$(headers.none and 'a' or 'b')", "b"},
		{"$(headers.x_a and 'a' or 'b')", "a"},
		{"$(list[1] or 'none')", "first"},
		{"$(list[2] or 'none')", "none"},
		{"$('a' .. 1 .. 'b')", "a1b"},
		{"$(1.5)", "1.5"},
		{"$(2.0)", "2"},
		{"$(true)$(false)$(nil)", "true"},
		{"$(not headers.none)", "true"},
		{"$(not not not headers.none)", "true"},
		{"$(headers.x_a == '1' and 'yes' or 'no')", "yes"},
		{"$(headers.x_a ~= '1' and 'yes' or 'no')", "no"},
		{"$(headers.n == 5 and 'yes')", "yes"},
		{"$(('a'))", "a"},
		{"$(')')", ")"},
		{`$("a\"b\\")`, `a"b\`},
		{"$(upper('x' .. 'y'))", "XY"},
		{"$(list)", "table: 0x7f0000000000"},
		{"a$(headers.x_a)b$(headers.x_a)c", "a1b1c"},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			t.Parallel()
			tmpl, err := CompileTemplate(tt.text)
			if err != nil {
				t.Fatalf("CompileTemplate(%q): %v", tt.text, err)
			}
			if got, err := tmpl.Eval(env); err != nil || got != tt.want {
				t.Errorf("Eval(%q) = %q, %v, want %q", tt.text, got, err, tt.want)
			}
		})
	}
}

func TestRunTimeErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"$(foo())":              "attempt to call a nil value",
		"$(foo.x)":              "attempt to index a nil value",
		"$(headers.n.y)":        "attempt to index a number value",
		"$(headers.x_a:y())":    "attempt to call a nil value",
		"$(string.upper('x'))":  "attempt to index a nil value",
		"$(require('inspect'))": "attempt to call a nil value",
		"$(10 * headers.word)":  "attempt to perform arithmetic on a string value",
		"$(none + 1)":           "attempt to perform arithmetic on a nil value",
		"$(#none)":              "attempt to get length of a nil value",
		"$(1 < 'a')":            "attempt to compare number with string",
		"$(list < list)":        "attempt to compare two table values",
		"$(('a'):rep(1e9))":     "too large",
		"$(('a'):sub('b'))":     "number expected, got string",
		"$('a' .. none)":        "attempt to concatenate a nil value",
		"$(upper())":            "one argument",
		"$(none or none.x)":     "attempt to index a nil value",
		"$(list == none.x)":     "attempt to index a nil value",
		"$(upper(none.x))":      "attempt to index a nil value",
		"$(list[none.x])":       "attempt to index a nil value",
		"$(not none.x)":         "attempt to index a nil value",
	} {
		tmpl, err := CompileTemplate(text)
		if err != nil {
			t.Errorf("CompileTemplate(%q): %v", text, err)
			continue
		}
		if _, err := tmpl.Eval(env); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Eval(%q) = %v, want %q", text, err, want)
		}
	}
}

func TestWhatIsNotUnderstood(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"$()":                                  "unexpected symbol near the end",
		"$(a b)":                               "'b' is not understood here",
		"$(1 +)":                               "unexpected symbol near the end",
		"$(a = 1)":                             "unexpected symbol near '='",
		"$(headers:get)":                       "function arguments expected near the end",
		"$(" + strings.Repeat("-", 200) + "1)": "nested deeper",
		"$(function() end)":                    "only expressions are",
		"$(a.)":                                "name expected",
		"$(a['b')":                             "']' expected",
		"$(a(1 2))":                            "',' expected",
		"$('\\q')":                             "escape",
		"$(1x)":                                "malformed number",
		"$(or)":                                "unexpected symbol near 'or'",
		"$(" + strings.Repeat("(", 200) + "1" + strings.Repeat(")", 200) + ")": "nested deeper",
	} {
		if _, err := CompileTemplate(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("CompileTemplate(%q) = %v, want %q", text, err, want)
		}
	}
	for _, text := range []string{"string.upper('x')", "os.getenv('x')"} {
		if _, err := Compile(text); err == nil || !strings.Contains(err.Error(), "is not available here") {
			t.Errorf("Compile(%q) = %v, want a library refused", text, err)
		}
	}
	if _, err := Compile("string.upper('x')", "string"); err != nil {
		t.Errorf("a library that is given: %v", err)
	}
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"$(a.b or 'c')", "$(((", "x$(not not 1)y", "$(a[1]('x') .. 2 == 3)", "$('\\'')", "$(\xff)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tmpl, err := CompileTemplate(s)
		if err != nil {
			return
		}
		_, _ = tmpl.Eval(env)
		if got, ok := tmpl.Literal(); ok && got != s {
			t.Errorf("Literal(%q) = %q", s, got)
		}
	})
}
