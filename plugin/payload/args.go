package payload

import "strings"

// Args is a query or a form body: name=value pairs joined by "&".
type Args struct {
	pairs   []pair
	changed bool
}

// pair is one argument; raw is how it was sent, "" for one of ours.
type pair struct {
	name, value string
	flag        bool // without "=": Kong calls it true, which is no text
	raw         string
}

var _ Editor = (*Args)(nil)

// ParseArgs reads a query or a form body. Whatever the bytes, it gives some arguments.
func ParseArgs(s string) *Args {
	a := &Args{}
	for raw := range strings.SplitSeq(s, "&") {
		if raw == "" {
			continue
		}
		name, value, ok := strings.Cut(raw, "=")
		if name == "" {
			// Kept as sent, but nobody can name it.
			a.pairs = append(a.pairs, pair{raw: raw, flag: true})
			continue
		}
		a.pairs = append(a.pairs, pair{name: Unescape(name), value: Unescape(value), flag: !ok, raw: raw})
	}
	return a
}

// Lookup implements Editor.
func (a *Args) Lookup(name string) (text string, count int) {
	found := false
	for i := range a.pairs {
		if a.pairs[i].name != name || name == "" {
			continue
		}
		count++
		if !found && !a.pairs[i].flag {
			text, found = a.pairs[i].value, true
		}
	}
	return text, count
}

// Texts yields every name and text in order.
func (a *Args) Texts(yield func(name, text string) bool) {
	for _, p := range a.pairs {
		if p.name != "" && !yield(p.name, p.value) {
			return
		}
	}
}

// Remove implements Editor.
func (a *Args) Remove(name string) {
	kept := a.pairs[:0]
	for _, p := range a.pairs {
		if p.name != name || name == "" {
			kept = append(kept, p)
		}
	}
	a.changed = a.changed || len(kept) != len(a.pairs)
	a.pairs = kept
}

// Rename implements Editor.
func (a *Args) Rename(name, to string) {
	if name == to || a.count(name) == 0 {
		return
	}
	a.Remove(to)
	for i := range a.pairs {
		if p := &a.pairs[i]; p.name == name {
			p.name, p.raw, a.changed = to, "", true
		}
	}
}

// Replace implements Editor.
func (a *Args) Replace(name, value string) {
	for i := range a.pairs {
		if a.pairs[i].name == name && name != "" {
			head := append([]pair(nil), a.pairs[:i]...)
			rest := Args{pairs: append([]pair(nil), a.pairs[i+1:]...)}
			rest.Remove(name)
			a.pairs = append(append(head, pair{name: name, value: value}), rest.pairs...)
			a.changed = true
			return
		}
	}
}

// Add implements Editor.
func (a *Args) Add(name, value string) {
	if a.count(name) == 0 {
		a.pairs, a.changed = append(a.pairs, pair{name: name, value: value}), true
	}
}

// Append implements Editor. The value stands behind the last of its name, as Kong sends it;
// an argument without "=" has no value that could be kept.
func (a *Args) Append(name, value string) {
	if a.count(name) == 1 && a.Flag(name) {
		a.Replace(name, value)
		return
	}
	at := len(a.pairs)
	for i := range a.pairs {
		if a.pairs[i].name == name {
			at = i + 1
		}
	}
	a.pairs = append(a.pairs, pair{})
	copy(a.pairs[at+1:], a.pairs[at:])
	a.pairs[at], a.changed = pair{name: name, value: value}, true
}

func (a *Args) count(name string) int {
	_, n := a.Lookup(name)
	return n
}

// Len returns the number of arguments.
func (a *Args) Len() int { return len(a.pairs) }

// Changed implements Editor.
func (a *Args) Changed() bool { return a.changed }

// Bytes implements Editor.
func (a *Args) Bytes() []byte {
	var b []byte
	for i, p := range a.pairs {
		if i > 0 {
			b = append(b, '&')
		}
		if p.raw != "" {
			b = append(b, p.raw...)
			continue
		}
		b = appendEscaped(b, p.name)
		if !p.flag {
			b = appendEscaped(append(b, '='), p.value)
		}
	}
	return b
}

// Unescape decodes %XX and "+". What is no escape stays.
func Unescape(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			b = append(b, ' ')
		case s[i] == '%' && i+2 < len(s) && hexValue(s[i+1]) >= 0 && hexValue(s[i+2]) >= 0:
			b = append(b, byte(hexValue(s[i+1])<<4|hexValue(s[i+2])))
			i += 2
		default:
			b = append(b, s[i])
		}
	}
	return string(b)
}

func hexValue(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// appendEscaped escapes all but the characters that never need it, as nginx encodes
// arguments.
func appendEscaped(b []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := 0; i < len(s); i++ {
		c := s[i]
		if 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b = append(b, c)
			continue
		}
		b = append(b, '%', hex[c>>4], hex[c&15])
	}
	return b
}

// Flag reports whether the first argument of that name was sent without "=".
func (a *Args) Flag(name string) bool {
	for _, p := range a.pairs {
		if p.name == name && name != "" {
			return p.flag
		}
	}
	return false
}
