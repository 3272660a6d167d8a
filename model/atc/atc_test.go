package atc

import (
	"fmt"
	"strings"
	"testing"
)

// show writes an expression with every pair in parentheses.
func show(e *Expression) string {
	switch e.Logic {
	case And:
		return "(" + show(e.Left) + " && " + show(e.Right) + ")"
	case Or:
		return "(" + show(e.Left) + " || " + show(e.Right) + ")"
	case Not:
		return "!(" + show(e.Left) + ")"
	}
	p := e.Predicate
	field := p.Field
	if p.Lower {
		field = "lower(" + field + ")"
	}
	if p.Any {
		field = "any(" + field + ")"
	}
	op := "not in"
	for _, o := range operators {
		if o.op == p.Operator {
			op = o.text
		}
	}
	return field + " " + op + " " + showValue(p.Value)
}

func showValue(v Value) string {
	switch v.Type {
	case Int:
		return fmt.Sprint(v.Int)
	case Address:
		return v.Addr.String()
	case Network:
		return v.CIDR.String()
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(v.Text) + `"`
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, want string }{
		{`http.path == "/a"`, `http.path == "/a"`},
		{"\n\thttp.path\r\n^=\"\\\"\\\\\\n\\t\\r\" ", `http.path ^= "\"\\\n\t\r"`},
		{`http.path ~ r#"^/a"\d+$"#`, `http.path ~ "^/a\"\\d+$"`},
		{`http.path =^ r#""#`, `http.path =^ ""`},
		{`a.b != 1`, `a.b != 1`},
		{`a >= -12 && a > 0x1F && a <= 017 && a < 08`, `(((a >= -12 && a > 31) && a <= 15) && a < 8)`},
		{`net.src.ip in 10.0.0.0/8`, `net.src.ip in 10.0.0.0/8`},
		{`net.src.ip not  in fe80::/10`, `net.src.ip not in fe80::/10`},
		{`net.src.ip == ::1`, `net.src.ip == ::1`},
		{`net.src.ip == 1.2.3.4`, `net.src.ip == 1.2.3.4`},
		{`a contains "x"`, `a contains "x"`},
		{`any(lower(http.headers.x_y)) == "1"`, `any(lower(http.headers.x_y)) == "1"`},
		{`lower( any ( a ) ) == "1"`, `any(lower(a)) == "1"`},
		// atc-router gives || the higher precedence.
		{`a == 1 && b == 2 || c == 3`, `(a == 1 && (b == 2 || c == 3))`},
		{`a == 1 || b == 2 && c == 3`, `((a == 1 || b == 2) && c == 3)`},
		{`a == 1 || b == 2 || c == 3`, `((a == 1 || b == 2) || c == 3)`},
		{`(a == 1 && b == 2) || c == 3`, `((a == 1 && b == 2) || c == 3)`},
		{`!(a == 1) && ! ( b == 2 || c == 3 )`, `(!(a == 1) && !((b == 2 || c == 3)))`},
		{`lower == "1"`, `lower == "1"`},
	} {
		e, err := Parse(c.text)
		if err != nil {
			t.Errorf("Parse(%q): %v", c.text, err)
			continue
		}
		if got := show(e); got != c.want {
			t.Errorf("Parse(%q) = %s, want %s", c.text, got, c.want)
		}
	}
}

// TestSyntaxErrors are in the words of pest, which atc-router shows as they are.
func TestSyntaxErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, at, mark, why string }{
		{`== 123`, "1:1", "^---", "expected term"},
		{``, "1:1", "^---", "expected term"},
		{`a == `, "1:6", "     ^---", "expected rhs"},
		{`a`, "1:2", " ^---", "expected binary_operator"},
		{`a == 1 b`, "1:8", "       ^---", "expected EOI, and_op, or or_op"},
		{`a == 1 &&`, "1:10", "         ^---", "expected term"},
		{`a == "x`, "1:8", "       ^---", "expected str_char or str_esc"},
		{`a == -x`, "1:7", "      ^---", "expected oct_digits or dec_digits"},
		{`(a == 1`, "1:8", "       ^---", "expected and_op or or_op"},
		{"a == 1\n&& ?", "2:4", "   ^---", "expected term"},
		{`a ~ 1`, "1:5", "    ^", "regex operator can only be used with String operands"},
		{`a ~ "("`, "1:5", "    ^-^", "regex parse error:\n    (\n    ^\nerror: unclosed group"},
		{`a ~ "a)b"`, "1:5", "    ^---^", "regex parse error:\n    a)b\n     ^\nerror: unopened group"},
		{`upper(a) == "A"`, "1:1", "^------^", "unknown transformation function: upper"},
		{`a == 1.2.3.256`, "1:6", "     ^-------^", "invalid IPv4 address syntax"},
		{`a == 1:::2`, "1:6", "     ^---^", "invalid IPv6 address syntax"},
		{`a in 10.0.0.1/8`, "1:6", "     ^--------^", "host part of address was not zero"},
		{`a == 99999999999999999999`, "1:6", "     ^------------------^", "number too large to fit in target type"},
	} {
		_, err := Parse(c.text)
		if err == nil {
			t.Errorf("Parse(%q) is accepted, want %q", c.text, c.why)
			continue
		}
		got := err.Error()
		if !strings.Contains(got, "--> "+c.at+"\n") || !strings.Contains(got, " | "+c.mark+"\n") || !strings.HasSuffix(got, " = "+c.why) {
			t.Errorf("Parse(%q):\n%s\nwant it at %s, marked %q: %s", c.text, got, c.at, c.mark, c.why)
		}
	}
	_, err := Parse("== 123")
	if want := " --> 1:1\n  |\n1 | == 123\n  | ^---\n  |\n  = expected term"; err.Error() != want {
		t.Errorf("Parse says\n%s\nwant\n%s", err, want)
	}
}

func TestDepthIsBounded(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		strings.Repeat("(", 1e6), strings.Repeat("!(", 1e6), strings.Repeat("lower(", 1e6),
		strings.Repeat("(", 1000) + "a == 1" + strings.Repeat(")", 1000),
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), "nested deeper than 500") {
			t.Errorf("Parse(%.10s...) = %v, want it refused for its depth", text, err)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	const (
		unknown  = "Unknown LHS field"
		mismatch = "Type mismatch between the LHS and RHS values of predicate"
		segments = "illformed http.path.segments.* field"
	)
	for _, c := range []struct{ text, want string }{
		{`http.path == "/" && net.dst.port == 80`, ""},
		{`net.port == 80`, ""},
		{`net.port==80||net.port  >  1`, ""},
		{`net.port in 10.0.0.0/8`, unknown},
		{`http.headers.x_y == "1" || http.queries.q == "1"`, ""},
		{`http.headers.a.b == "1"`, unknown},
		{`http.port == 80`, unknown},
		{`a == "1"`, unknown},
		{`http.path == 1`, mismatch},
		{`net.dst.port == "80"`, mismatch},
		{`net.src.ip == 10.0.0.0/8`, mismatch},
		{`http.path ^= 1`, mismatch},
		{`lower(net.dst.port) == 1`, "lower-case transformation function only supported with String type fields"},
		{`net.dst.port ~ "1"`, "Regex operators only supports string operands"},
		{`net.dst.port ^= 1`, "Regex/Prefix/Postfix operators only supports string operands"},
		{`http.path > "a"`, "Greater/GreaterOrEqual/Lesser/LesserOrEqual operators only supports integer operands"},
		{`http.path in 10.0.0.0/8`, "In/NotIn operators only supports IP in CIDR"},
		{`net.src.ip in 10.0.0.1`, "In/NotIn operators only supports IP in CIDR"},
		{`net.dst.port contains 1`, "Contains operator only supports string operands"},
		{`http.path.segments.0 == "a" && http.path.segments.0_1 == "a/b" && http.path.segments.len == 2`, ""},
		{`http.path.segments.01 == "a"`, segments},
		{`http.path.segments.1_1 == "a"`, segments},
		{`http.path.segments.x == "a"`, segments},
		{`http.path.segments.1_ == "a"`, segments},
		{`!(http.path == 1)`, mismatch},
		{`http.path == "/" && (http.path == "/" || net.src.port == "1")`, mismatch},
	} {
		got := ""
		if _, err := Compile(c.text, HTTPFields); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("Compile(%q) = %q, want %q", c.text, got, c.want)
		}
	}
	if _, err := Compile(`http.path == "/"`, StreamFields); err == nil || err.Error() != unknown {
		t.Errorf("a stream route knows paths: %v", err)
	}
}

// FuzzCompile wants no panic of any text, and that what is read can be written and read again.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{
		`http.path == "/a" && !(net.src.ip in 10.0.0.0/8 || any(lower(http.headers.x)) ~ r#"^a(b)?$"#)`,
		`net.dst.port >= 0x10 || net.src.ip not in fe80::/10`, `http.path.segments.1_2 =^ "\"\\"`, `((`, `a == "`, "a ==\n1 &", `a ~ "(?P<x>"`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := Compile(text, HTTPFields)
		if err != nil {
			_ = err.Error()
			return
		}
		written := show(e)
		again, err := Parse(written)
		if err != nil {
			t.Fatalf("%q is written as %q, which is refused: %v", text, written, err)
		}
		if got := show(again); got != written {
			t.Fatalf("%q is read again as %q", written, got)
		}
	})
}
