package expression

import (
	"fmt"
	"strings"
)

// Template is a text with expressions in it, as $(expression).
type Template struct {
	parts []part
}

type part struct {
	text string
	expr *Expr // nil: text
}

// CompileTemplate reads a template. A $( that is not closed is text. Names that its Env does
// not have are nil, those of Lua's library too: Kong gives templates none.
func CompileTemplate(text string) (*Template, error) {
	t := &Template{}
	for {
		at := strings.Index(text, "$(")
		if at < 0 {
			t.add(text, nil)
			return t, nil
		}
		inner, rest, closed := cutExpression(text[at+2:])
		if !closed {
			t.add(text[:at+2], nil)
			text = text[at+2:]
			continue
		}
		t.add(text[:at], nil)
		e, err := (&parser{lexer: lexer{rest: inner}, bare: true}).parse()
		if err != nil {
			return nil, fmt.Errorf("$(%s): %w", inner, err)
		}
		t.add("", e)
		text = rest
	}
}

func (t *Template) add(text string, e *Expr) {
	if last := len(t.parts) - 1; e == nil && last >= 0 && t.parts[last].expr == nil {
		t.parts[last].text += text
		return
	}
	if text != "" || e != nil {
		t.parts = append(t.parts, part{text, e})
	}
}

// cutExpression cuts at the parenthesis that closes the expression.
func cutExpression(s string) (inner, rest string, closed bool) {
	depth, quote := 1, byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0 && c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				return s[:i], s[i+1:], true
			}
		}
	}
	return "", "", false
}

// Literal returns the text of a template without expressions.
func (t *Template) Literal() (string, bool) {
	switch {
	case len(t.parts) == 0:
		return "", true
	case len(t.parts) == 1 && t.parts[0].expr == nil:
		return t.parts[0].text, true
	}
	return "", false
}

// Eval evaluates the template. nil and false are empty texts.
func (t *Template) Eval(env Env) (string, error) {
	if s, ok := t.Literal(); ok {
		return s, nil
	}
	var b strings.Builder
	for _, p := range t.parts {
		if p.expr == nil {
			b.WriteString(p.text)
			continue
		}
		v, err := p.expr.Eval(env)
		if err != nil {
			return "", err
		}
		if v.True() {
			b.WriteString(v.String())
		}
	}
	return b.String(), nil
}
