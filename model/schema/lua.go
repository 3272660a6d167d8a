package schema

import (
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sekifuda/sekifuda/model/fault"
)

// compilePattern translates a Lua pattern to a regular expression. Only whether a pattern
// matches is asked, so greed does not matter and RE2 keeps the time linear in the input.
//
// The subset: anchors, ".", classes (%a %c %d %l %p %s %u %w %x and their complements),
// escaped characters, sets with ranges, and the repetitions * + - ?. Captures, %b, %f and
// back-references are refused: no rule needs them.
func compilePattern(p string) (*regexp.Regexp, error) {
	var b strings.Builder
	b.WriteString("(?s)")
	i := 0
	if strings.HasPrefix(p, "^") {
		b.WriteString(`\A`)
		i = 1
	}
	for i < len(p) {
		if p[i] == '$' && i == len(p)-1 {
			b.WriteString(`\z`)
			break
		}
		item, n, err := patternItem(p[i:])
		if err != nil {
			return nil, fmt.Errorf("read pattern %q: %w", p, err)
		}
		i += n
		b.WriteString(item)
		if i < len(p) {
			if rep := repetition(p[i]); rep != "" {
				b.WriteString(rep)
				i++
			}
		}
	}
	re, err := regexp.Compile(b.String())
	if err != nil {
		return nil, fmt.Errorf("read pattern %q: %w", p, err)
	}
	return re, nil
}

func repetition(c byte) string {
	switch c {
	case '*', '-':
		return "*"
	case '+':
		return "+"
	case '?':
		return "?"
	}
	return ""
}

// patternItem translates one single-character item and tells how long it was.
func patternItem(p string) (string, int, error) {
	switch p[0] {
	case '(', ')':
		return "", 0, fmt.Errorf("captures are not supported")
	case '.':
		return ".", 1, nil
	case '[':
		return patternSet(p)
	case '%':
		if len(p) < 2 {
			return "", 0, fmt.Errorf("ends with %%")
		}
		if c, ok := patternClass(p[1]); ok {
			return "[" + c + "]", 2, nil
		}
		if isAlnum(p[1]) {
			return "", 0, fmt.Errorf("%%%c is not supported", p[1])
		}
		return regexp.QuoteMeta(p[1:2]), 2, nil
	}
	return literal(p)
}

// literal takes one whole UTF-8 sequence: RE2 matches characters where Lua matches bytes.
func literal(p string) (string, int, error) {
	r, n := utf8.DecodeRuneInString(p)
	if r == utf8.RuneError {
		return "", 0, fmt.Errorf("not valid utf-8")
	}
	return regexp.QuoteMeta(p[:n]), n, nil
}

func patternSet(p string) (string, int, error) {
	var b strings.Builder
	b.WriteByte('[')
	i := 1
	if i < len(p) && p[i] == '^' {
		b.WriteByte('^')
		i++
	}
	for first := true; i < len(p); first = false {
		switch c := p[i]; {
		case c == ']' && !first:
			b.WriteByte(']')
			return b.String(), i + 1, nil
		case c == '%' && i+1 < len(p):
			if class, ok := patternClass(p[i+1]); ok {
				b.WriteString(class)
			} else {
				b.WriteString(setChar(p[i+1]))
			}
			i += 2
		case i+2 < len(p) && p[i+1] == '-' && p[i+2] != ']':
			if p[i] > p[i+2] {
				return "", 0, fmt.Errorf("range %q is empty", p[i:i+3])
			}
			b.WriteString(setChar(p[i]) + "-" + setChar(p[i+2]))
			i += 3
		default:
			b.WriteString(setChar(c))
			i++
		}
	}
	return "", 0, fmt.Errorf("a set does not end")
}

func setChar(c byte) string {
	if isAlnum(c) {
		return string(rune(c))
	}
	return fmt.Sprintf(`\x%02x`, c)
}

// patternClass returns the inside of a bracket expression, in the C locale.
func patternClass(c byte) (string, bool) {
	name, ok := map[byte]string{
		'a': "alpha", 'c': "cntrl", 'd': "digit", 'l': "lower", 'p': "punct",
		's': "space", 'u': "upper", 'w': "alnum", 'x': "xdigit",
	}[c|0x20]
	if !ok || !isAlnum(c) {
		return "", false
	}
	if c&0x20 == 0 {
		return "[:^" + name + ":]", true
	}
	return "[:" + name + ":]", true
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// luaString prints a value as Lua's tostring does.
func luaString(v any) string {
	switch v := v.(type) {
	case nil:
		return "nil"
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'g', 14, 64)
	}
	return "table"
}

func joinValues(list []any) string {
	parts := make([]string, len(list))
	for i, v := range list {
		parts[i] = luaString(v)
	}
	return strings.Join(parts, ", ")
}

func quoted(words []string) string {
	parts := make([]string, len(words))
	for i, w := range words {
		parts[i] = "'" + w + "'"
	}
	return strings.Join(parts, ", ")
}

// prettyLua writes a tree as a Lua table on several lines, as Kong does for what lies deeper
// than two levels.
func prettyLua(v any) string { return luaValue(v, "") }

// oneLine in the place of an indent has a table written on one line, without spaces.
const oneLine = "-"

// deeper is the indent of what lies within.
func deeper(indent string) string {
	if indent == oneLine {
		return oneLine
	}
	return indent + "  "
}

// equals is what stands between a key and its value.
func equals(indent string) string {
	if indent == oneLine {
		return "="
	}
	return " = "
}

func writeLua(b *strings.Builder, v any, indent string) {
	switch v := v.(type) {
	case string:
		b.WriteString(quoteLua(v))
	case fault.Tree:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		entries := make([]string, len(keys))
		for i, k := range keys {
			entries[i] = luaKey(k) + equals(indent) + luaValue(v[k], deeper(indent))
		}
		writeEntries(b, entries, indent)
	case []any:
		writeEntries(b, luaItems(v, indent), indent)
	default:
		b.WriteString(luaString(v))
	}
}

// luaItems writes list items bare up to the first gap and with their index behind it.
func luaItems(list []any, indent string) []string {
	var entries []string
	gap := false
	for i, e := range list {
		if e == nil {
			gap = true
			continue
		}
		text := luaValue(e, deeper(indent))
		if gap {
			text = "[" + strconv.Itoa(i+1) + "]" + equals(indent) + text
		}
		entries = append(entries, text)
	}
	return entries
}

func luaValue(v any, indent string) string {
	var b strings.Builder
	writeLua(&b, v, indent)
	return b.String()
}

func writeEntries(b *strings.Builder, entries []string, indent string) {
	if indent == oneLine {
		b.WriteString("{" + strings.Join(entries, ",") + "}")
		return
	}
	b.WriteString("{\n")
	for i, e := range entries {
		b.WriteString(indent + "  " + e)
		if i < len(entries)-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteString(indent + "}")
}

var (
	luaName     = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	luaReserved = map[string]bool{
		"and": true, "break": true, "do": true, "else": true, "elseif": true, "end": true,
		"false": true, "for": true, "function": true, "goto": true, "if": true, "in": true,
		"local": true, "nil": true, "not": true, "or": true, "repeat": true, "return": true,
		"then": true, "true": true, "until": true, "while": true,
	}
)

func luaKey(k string) string {
	if luaName.MatchString(k) && !luaReserved[k] {
		return k
	}
	return "[" + quoteLua(k) + "]"
}

var luaEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", `\r`, "\x00", `\0`)

// quoteLua quotes a text; one with line breaks goes between long brackets.
func quoteLua(s string) string {
	if !strings.Contains(s, "\n") || strings.Contains(s, "\r") {
		return `"` + strings.ReplaceAll(luaEscapes.Replace(s), "\n", "\\\n") + `"`
	}
	eq := ""
	for strings.Contains(s, "]"+eq+"]") || strings.Contains(s, "["+eq+"[") {
		eq += "="
	}
	if strings.HasPrefix(s, "\n") {
		s = "\n" + s
	}
	return "[" + eq + "[" + s + "]" + eq + "]"
}
