package expression

import (
	"fmt"
	"strconv"
	"strings"
)

type token struct {
	kind tokenKind
	text string // of a name, an operator, or the value of a string
	num  float64
}

type tokenKind uint8

const (
	end tokenKind = iota
	word
	number
	quoted
	mark
)

func (t token) String() string {
	switch t.kind {
	case end:
		return "the end"
	case quoted:
		return strconv.Quote(t.text)
	}
	return "'" + t.text + "'"
}

// marks are what is understood, longest first.
var marks = []string{"==", "~=", "<=", ">=", "..", "<", ">", "+", "-", "*", "/", "%", "#", ":", "(", ")", "[", "]", ".", ","}

// lexer takes a text apart.
type lexer struct {
	rest string
}

func (l *lexer) next() (token, error) {
	l.rest = strings.TrimLeft(l.rest, " \t\r\n")
	if l.rest == "" {
		return token{}, nil
	}
	c := l.rest[0]
	switch {
	case letter(c):
		return token{kind: word, text: l.cut(func(c byte) bool { return letter(c) || digit(c) })}, nil
	case digit(c):
		return l.number()
	case c == '"' || c == '\'':
		return l.quoted(c)
	}
	for _, m := range marks {
		if strings.HasPrefix(l.rest, m) {
			l.rest = l.rest[len(m):]
			return token{kind: mark, text: m}, nil
		}
	}
	return token{}, fmt.Errorf("unexpected symbol near '%c'", []rune(l.rest)[0])
}

func letter(c byte) bool { return c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z' }

func digit(c byte) bool { return '0' <= c && c <= '9' }

func (l *lexer) cut(in func(byte) bool) string {
	i := 0
	for i < len(l.rest) && in(l.rest[i]) {
		i++
	}
	s := l.rest[:i]
	l.rest = l.rest[i:]
	return s
}

func (l *lexer) number() (token, error) {
	text := l.cut(func(c byte) bool { return digit(c) || letter(c) || c == '.' })
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || strings.Contains(text, "_") {
		return token{}, fmt.Errorf("malformed number near '%s'", text)
	}
	return token{kind: number, text: text, num: n}, nil
}

var escapes = map[byte]byte{'n': '\n', 't': '\t', 'r': '\r', 'a': '\a', 'b': '\b', 'f': '\f', 'v': '\v', '\\': '\\', '"': '"', '\'': '\'', '\n': '\n'}

func (l *lexer) quoted(quote byte) (token, error) {
	var b strings.Builder
	for i := 1; i < len(l.rest); i++ {
		switch c := l.rest[i]; {
		case c == quote:
			l.rest = l.rest[i+1:]
			return token{kind: quoted, text: b.String()}, nil
		case c == '\n':
			return token{}, fmt.Errorf("unfinished string near '%s'", l.rest[:i])
		case c == '\\' && i+1 < len(l.rest):
			i++
			e, ok := escapes[l.rest[i]]
			if !ok {
				return token{}, fmt.Errorf("the escape '\\%c' is not understood here", l.rest[i])
			}
			b.WriteByte(e)
		default:
			b.WriteByte(c)
		}
	}
	return token{}, fmt.Errorf("unfinished string near '%s'", l.rest)
}
