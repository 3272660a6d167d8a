package atc

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// rule is a rule of the grammar, by which a syntax error says what was expected. The order is
// that in which several are told.
type rule uint8

const (
	ruleEOI rule = iota
	ruleIdent
	ruleRHS
	ruleTransformFunc
	ruleLHS
	ruleInt
	ruleHexDigits
	ruleOctDigits
	ruleDecDigits
	ruleStr
	ruleStrChar
	ruleStrEsc
	ruleRawStr
	ruleRawStrChar
	ruleIPv4
	ruleIPv6
	ruleIPv4CIDR
	ruleIPv6CIDR
	ruleBinaryOperator
	ruleAnd
	ruleOr
	ruleNot
	rulePredicate
	ruleParenthesised
	ruleTerm
	ruleExpression
	ruleMatcher
)

var ruleNames = [...]string{
	"EOI", "ident", "rhs", "transform_func", "lhs", "int_literal", "hex_digits", "oct_digits", "dec_digits",
	"str_literal", "str_char", "str_esc", "rawstr_literal", "rawstr_char", "ipv4_literal", "ipv6_literal",
	"ipv4_cidr_literal", "ipv6_cidr_literal", "binary_operator", "and_op", "or_op", "not_op", "predicate",
	"parenthesised_expression", "term", "expression", "matcher",
}

// scanner walks a text by the grammar's rules. It remembers which rules failed farthest in,
// the way the parser of atc-router does, so that its messages can be said.
type scanner struct {
	text   string
	pos    int
	failed int    // the farthest place where a rule failed
	tried  []rule // those that failed there
}

// try runs the body of a rule; when that fails, the place is as before and the failure noted.
func (s *scanner) try(r rule, body func() bool) bool {
	start := s.pos
	index := 0
	if start == s.failed {
		index = len(s.tried)
	}
	before := s.triedAt(start)
	if body() {
		return true
	}
	s.pos = start
	s.note(r, start, index, before)
	return false
}

func (s *scanner) triedAt(pos int) int {
	if pos == s.failed {
		return len(s.tried)
	}
	return 0
}

// note replaces what parts of a rule noted at its start by the rule itself, unless one part
// alone failed, which tells more.
func (s *scanner) note(r rule, start, index, before int) {
	if s.triedAt(start)-before == 1 || start < s.failed {
		return
	}
	if start > s.failed {
		s.failed, index = start, 0
	}
	s.tried = append(s.tried[:index], r)
}

// expected words what would have been right at the farthest failure.
func (s *scanner) expected() string {
	slices.Sort(s.tried)
	list := slices.Compact(s.tried)
	names := make([]string, len(list))
	for i, r := range list {
		names[i] = ruleNames[r]
	}
	switch n := len(names); n {
	case 0:
		return "unknown parsing error"
	case 1:
		return "expected " + names[0]
	case 2:
		return "expected " + names[0] + " or " + names[1]
	default:
		return "expected " + strings.Join(names[:n-1], ", ") + ", or " + names[n-1]
	}
}

func (s *scanner) rest() string { return s.text[s.pos:] }

// space skips what may stand between two parts.
func (s *scanner) space() {
	for s.pos < len(s.text) && strings.IndexByte(" \t\r\n", s.text[s.pos]) >= 0 {
		s.pos++
	}
}

// word takes a text that must come next.
func (s *scanner) word(w string) bool {
	if !strings.HasPrefix(s.rest(), w) {
		return false
	}
	s.pos += len(w)
	return true
}

// char takes any one character.
func (s *scanner) char() bool {
	_, size := utf8.DecodeRuneInString(s.rest())
	s.pos += size
	return size > 0
}

// run takes between least and most bytes of a class; most 0 is no bound.
func (s *scanner) run(class func(byte) bool, least, most int) bool {
	n := 0
	for s.pos+n < len(s.text) && class(s.text[s.pos+n]) && (most == 0 || n < most) {
		n++
	}
	if n < least {
		return false
	}
	s.pos += n
	return true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isOctal(c byte) bool { return '0' <= c && c <= '7' }
func isHex(c byte) bool   { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }
func isAlpha(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isWord(c byte) bool  { return isAlpha(c) || isDigit(c) || c == '_' || c == '.' }
