package router

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// pathRegex is a compiled regex path. The dialect is RE2's, in Go's syntax.
type pathRegex struct {
	re      *regexp.Regexp
	literal string   // with which every match begins
	grams   []string // of gramLength, lower case: each is in every path that matches
	names   []string // of the groups; nil when there are none
}

// compilePathRegex reads a pattern without its "~". It is anchored at its start as a whole:
// Kong puts "^" before the text, which leaves a second alternative free to match anywhere.
func compilePathRegex(pattern string) (*pathRegex, error) {
	re, err := regexp.Compile("^(?:" + pattern + ")")
	if err != nil {
		return nil, regexReason(err)
	}
	// A pattern such as ")|(" is only well-formed with what is put around it.
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, regexReason(err)
	}
	p := &pathRegex{re: re}
	if re.NumSubexp() > 0 {
		p.names = re.SubexpNames()[1:]
	}
	var l literals
	l.walk(tree.Simplify())
	l.flush()
	p.literal = l.prefix
	p.grams = l.grams()
	return p, nil
}

// regexReason takes the reason out of a regexp error, without the text we put around it.
func regexReason(err error) error {
	var e *syntax.Error
	if errors.As(err, &e) {
		return errors.New("invalid regex: " + e.Code.String())
	}
	return err
}

// fill reports what the regex matched and captured; a group that took no part is "".
func (p *pathRegex) fill(path string, prefix *string, names, values *[]string, missing *uint64) {
	loc := p.re.FindStringSubmatchIndex(path)
	if loc == nil {
		return // not reached: who asks has seen it match
	}
	*prefix = path[:loc[1]]
	*names = p.names
	for i := 2; i < len(loc); i += 2 {
		v := ""
		if loc[i] >= 0 {
			v = path[loc[i]:loc[i+1]]
		} else {
			*missing |= 1 << (i/2 - 1)
		}
		*values = append(*values, v)
	}
}

// literals collects the texts that every match of a regex contains. Consecutive ones are
// joined. Those that regard no case are kept in lower case.
type literals struct {
	run    strings.Builder // the text that is being joined, in lower case
	runs   []string
	prefix string // exact text at the very start
	broken bool   // the prefix has ended
}

func (l *literals) walk(re *syntax.Regexp) {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpBeginText, syntax.OpBeginLine:
	case syntax.OpLiteral:
		l.literal(re)
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			l.walk(sub)
		}
	case syntax.OpCapture:
		l.walk(re.Sub[0])
	case syntax.OpPlus:
		// Once at least; what follows the last time is not what followed the first.
		l.walk(re.Sub[0])
		l.flush()
	case syntax.OpRepeat:
		l.flush()
		if re.Min > 0 {
			l.walk(re.Sub[0])
			l.flush()
		}
	default:
		l.flush()
	}
}

func (l *literals) literal(re *syntax.Regexp) {
	fold := re.Flags&syntax.FoldCase != 0
	for _, r := range re.Rune {
		switch {
		case fold && (r >= utf8.RuneSelf || lowerRune(r) == 'k' || lowerRune(r) == 's'):
			// These have other cases outside of ASCII.
			l.flush()
			continue
		case fold && isLetter(r):
			l.broken = true
		}
		if r == utf8.RuneError {
			l.flush() // also stands for any byte that is not UTF-8
			continue
		}
		if !l.broken {
			l.prefix += string(r)
		}
		l.run.WriteString(lowerASCII(string(r)))
	}
}

func (l *literals) flush() {
	l.broken = true
	if l.run.Len() > 0 {
		l.runs = append(l.runs, l.run.String())
		l.run.Reset()
	}
}

// grams cuts the texts behind the prefix into pieces of gramLength. The prefix itself is no
// use: all that stand at the same node have it.
func (l *literals) grams() []string {
	var out []string
	seen := map[string]bool{}
	for i, run := range l.runs {
		from := 0
		if i == 0 && strings.HasPrefix(run, lowerASCII(l.prefix)) {
			from = max(0, len(l.prefix)-gramLength+1)
		}
		for ; from+gramLength <= len(run); from++ {
			if g := run[from : from+gramLength]; !seen[g] {
				seen[g] = true
				out = append(out, g)
			}
		}
	}
	return out
}

func lowerRune(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		return r | 0x20
	}
	return r
}

func isLetter(r rune) bool { r = lowerRune(r); return 'a' <= r && r <= 'z' }

func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		b[i] = lower(c)
	}
	return string(b)
}

// anchoredLiteral returns the text with which everything begins that a regex matches, when it
// begins with "^"; "" when none is sure.
func anchoredLiteral(pattern string) string {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return ""
	}
	tree = tree.Simplify()
	if tree.Op != syntax.OpConcat || tree.Sub[0].Op != syntax.OpBeginText {
		return ""
	}
	var l literals
	l.walk(tree)
	return l.prefix
}
