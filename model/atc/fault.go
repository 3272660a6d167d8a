package atc

import (
	"errors"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode/utf8"
)

// errorAt says what is wrong at a place, with the line it stands in, as atc-router does.
func errorAt(text string, pos int, why string) error {
	line, col := place(text, pos)
	return errors.New(frame(lineOf(text, pos), line, indent(lineOf(text, pos), col)+"^---", col, why))
}

// errorSpan says what is wrong with a part.
func errorSpan(text string, from, to int, why string) error {
	line, col := place(text, from)
	shown := lineOf(text, from)
	end, endCol := place(text, to)
	if end != line { // the part goes on in other lines: all of this one is meant
		endCol = utf8.RuneCountInString(shown) + 1
	}
	mark := "^"
	if n := endCol - col; n > 1 {
		mark += strings.Repeat("-", n-2) + "^"
	}
	return errors.New(frame(shown, line, indent(shown, col)+mark, col, why))
}

func frame(shown string, line int, mark string, col int, why string) string {
	number := strconv.Itoa(line)
	pad := strings.Repeat(" ", len(number))
	return pad + "--> " + number + ":" + strconv.Itoa(col) + "\n" +
		pad + " |\n" +
		number + " | " + shown + "\n" +
		pad + " | " + mark + "\n" +
		pad + " |\n" +
		pad + " = " + why
}

// place is the line and column of a byte, from 1, in characters.
func place(text string, pos int) (line, col int) {
	before := text[:pos]
	line = 1 + strings.Count(before, "\n")
	return line, 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
}

func lineOf(text string, pos int) string {
	from := strings.LastIndexByte(text[:pos], '\n') + 1
	if n := strings.IndexByte(text[pos:], '\n'); n >= 0 {
		text = text[:pos+n]
	}
	return strings.TrimSuffix(text[from:], "\r")
}

// indent stands below what comes before a column; tabs stay tabs.
func indent(shown string, col int) string {
	var b strings.Builder
	for _, c := range shown {
		if col--; col == 0 {
			break
		}
		if c == '\t' {
			b.WriteByte('\t')
		} else {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// regexTexts words the reasons for which both engines refuse a regex as Rust's does.
var regexTexts = map[syntax.ErrorCode]string{
	syntax.ErrMissingParen:          "unclosed group",
	syntax.ErrUnexpectedParen:       "unopened group",
	syntax.ErrMissingBracket:        "unclosed character class",
	syntax.ErrMissingRepeatArgument: "repetition operator missing expression",
	syntax.ErrInvalidCharRange:      "invalid character class range, the start must be <= the end",
	syntax.ErrTrailingBackslash:     "incomplete escape sequence, reached end of pattern prematurely",
	syntax.ErrInvalidPerlOp:         "look-around, including look-ahead and look-behind, is not supported",
}

// regexText words why a regex was refused, with a mark below the part.
func regexText(pattern string, err error) string {
	var bad *syntax.Error
	if !errors.As(err, &bad) {
		return err.Error()
	}
	at := max(strings.Index(pattern, bad.Expr), 0)
	width := 1
	why := regexTexts[bad.Code]
	switch bad.Code {
	case syntax.ErrMissingParen:
		at = unclosed(pattern)
	case syntax.ErrUnexpectedParen:
		at = unopened(pattern)
	case syntax.ErrTrailingBackslash:
		at = len(pattern) - 1
	case syntax.ErrInvalidPerlOp:
		width = len(bad.Expr)
	case syntax.ErrInvalidEscape:
		why, width = "unrecognized escape sequence", len(bad.Expr)
		if len(bad.Expr) == 2 && '1' <= bad.Expr[1] && bad.Expr[1] <= '9' {
			why = "backreferences are not supported"
		}
	}
	if why == "" {
		why = bad.Code.String()
	}
	return "regex parse error:\n    " + pattern + "\n    " + strings.Repeat(" ", at) + strings.Repeat("^", max(width, 1)) + "\nerror: " + why
}

// unclosed is where the last group begins that does not end.
func unclosed(pattern string) int { opened, _ := parens(pattern); return opened }

// unopened is the first ")" that ends nothing.
func unopened(pattern string) int { _, closed := parens(pattern); return closed }

func parens(pattern string) (open, closed int) {
	var stack []int
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '\\':
			i++
		case '(':
			stack = append(stack, i)
		case ')':
			if len(stack) == 0 {
				return 0, i
			}
			stack = stack[:len(stack)-1]
		}
	}
	if len(stack) > 0 {
		open = stack[len(stack)-1]
	}
	return open, 0
}
