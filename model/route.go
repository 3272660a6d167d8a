package model

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/sekifuda/sekifuda/model/schema"
)

func routeMeaning(flavor string) schema.Meaning {
	return schema.Meaning{
		RouterFlavor: flavor,
		Values: map[string]schema.ValueCheck{
			"route_host": checkRouteHost,
			"route_path": checkRoutePath,
		},
		Records: map[string]schema.RecordCheck{
			// Kong only logs that path_handling v1 goes.
			"route_path_handling": func(schema.Body) string { return "" },
			"route_expression":    checkRouteExpression,
		},
	}
}

// checkRouteHost checks a host of a route with its wildcard out of the way.
func checkRouteHost(v any) string {
	s, ok := v.(string)
	if !ok {
		return ""
	}
	plain := strings.Replace(s, "*", "abc", 1)
	if msg := schema.CheckHostPort(plain); msg != "" {
		return strings.Replace(msg, plain, s, 1)
	}
	return ""
}

// checkRoutePath wants a plain path in the form in which requests are matched, or "~" and a
// regular expression.
func checkRoutePath(v any) string {
	s, ok := v.(string)
	if !ok {
		return ""
	}
	if msg, percent := schema.CheckPath(s); percent {
		return msg
	}
	if re, isRegex := strings.CutPrefix(s, "~"); isRegex {
		if err := compileRegex(re); err != nil && !beyondRE2(err) {
			return fmt.Sprintf("invalid regex: '%s' (PCRE returned: %s)", re, pcreText(re, err))
		}
		return ""
	}
	if normal := NormalPath(s); normal != s {
		return "non-normalized path, consider use '" + normal + "' instead"
	}
	return ""
}

func compileRegex(re string) error {
	_, err := regexp.Compile(re)
	return err
}

// beyondRE2 tells what PCRE takes and linear matching cannot do: looking around and back.
// Kong 3.9.1 refuses it too, one step later.
func beyondRE2(err error) bool {
	var bad *syntax.Error
	if !errors.As(err, &bad) {
		return false
	}
	switch bad.Code {
	case syntax.ErrInvalidPerlOp:
		return true
	case syntax.ErrInvalidEscape:
		return len(bad.Expr) == 2 && bad.Expr[1] >= '1' && bad.Expr[1] <= '9'
	}
	return false
}

// pcreText words an error as nginx does with PCRE2, where the two engines mean the same.
func pcreText(re string, err error) string {
	var bad *syntax.Error
	if !errors.As(err, &bad) {
		return err.Error()
	}
	at := len(re)
	text := bad.Code.String()
	switch bad.Code {
	case syntax.ErrMissingParen:
		text = "missing closing parenthesis"
	case syntax.ErrUnexpectedParen:
		text, at = "unmatched closing parenthesis", unmatchedParen(re)
	case syntax.ErrMissingBracket:
		text = "missing terminating ] for character class"
	case syntax.ErrMissingRepeatArgument:
		text = "quantifier does not follow a repeatable item"
		at = max(strings.Index(re, bad.Expr), 0)
	case syntax.ErrTrailingBackslash:
		text = `\ at end of pattern`
	case syntax.ErrInvalidCharRange:
		text = "range out of order in character class"
	}
	if at < len(re) {
		return fmt.Sprintf("pcre2_compile() failed: %s in \"%s\" at \"%s\"", text, re, re[at:])
	}
	return fmt.Sprintf("pcre2_compile() failed: %s in \"%s\"", text, re)
}

// unmatchedParen returns the offset of the first ")" that closes nothing.
func unmatchedParen(re string) int {
	depth := 0
	for i := 0; i < len(re); i++ {
		switch re[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth < 0 {
				return i
			}
		}
	}
	return len(re)
}

// checkFields stands for Kong's compilation of a route's fields to one expression: what
// passed before and still cannot be matched is refused here.
func checkFields(b schema.Body) string {
	paths, _ := b["paths"].([]any)
	for _, p := range paths {
		s, _ := p.(string)
		if re, isRegex := strings.CutPrefix(s, "~"); isRegex {
			if err := compileRegex(re); err != nil {
				return expressionFault(err.Error())
			}
		}
	}
	headers, _ := b["headers"].(schema.Body)
	for _, values := range headers {
		list, _ := values.([]any)
		for _, v := range list {
			s, _ := v.(string)
			if re, isRegex := strings.CutPrefix(s, "~*"); isRegex {
				if err := compileRegex(re); err != nil {
					return expressionFault(err.Error())
				}
			}
		}
	}
	return ""
}
