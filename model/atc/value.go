package atc

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// rhs reads the value of a predicate.
func (p *parser) rhs(q *Predicate) bool {
	start := p.pos
	ok := p.try(ruleRHS, func() bool {
		return p.quoted(&q.Value) || p.raw(&q.Value) || p.network(&q.Value) || p.integer(&q.Value)
	})
	if !ok || q.Operator != Regex {
		return ok
	}
	if q.Value.Type != String {
		p.refuse(start, "regex operator can only be used with String operands")
		return true
	}
	q.Value.Type = Pattern
	var err error
	if q.Value.Regexp, err = regexp.Compile(q.Value.Text); err != nil {
		p.refuse(start, regexText(q.Value.Text, err))
	}
	return true
}

// escapes are what may stand behind a backslash.
var escapes = map[byte]byte{'"': '"', '\\': '\\', 'n': '\n', 'r': '\r', 't': '\t'}

func (p *parser) quoted(v *Value) bool {
	var b strings.Builder
	ok := p.try(ruleStr, func() bool {
		if !p.word(`"`) {
			return false
		}
		for p.escape(&b) || p.plain(&b) {
		}
		return p.word(`"`)
	})
	if ok {
		*v = Value{Type: String, Text: b.String()}
	}
	return ok
}

func (p *parser) escape(b *strings.Builder) bool {
	return p.try(ruleStrEsc, func() bool {
		if !p.word(`\`) || p.pos == len(p.text) {
			return false
		}
		c, ok := escapes[p.text[p.pos]]
		if ok {
			p.pos++
			b.WriteByte(c)
		}
		return ok
	})
}

func (p *parser) plain(b *strings.Builder) bool {
	start := p.pos
	ok := p.try(ruleStrChar, func() bool {
		return !strings.HasPrefix(p.rest(), `"`) && !strings.HasPrefix(p.rest(), `\`) && p.char()
	})
	b.WriteString(p.text[start:p.pos])
	return ok
}

func (p *parser) raw(v *Value) bool {
	var from, to int
	ok := p.try(ruleRawStr, func() bool {
		if !p.word(`r#"`) {
			return false
		}
		from = p.pos
		for p.try(ruleRawStrChar, func() bool { return !strings.HasPrefix(p.rest(), `"#`) && p.char() }) {
		}
		to = p.pos
		return p.word(`"#`)
	})
	if ok {
		*v = Value{Type: String, Text: p.text[from:to]}
	}
	return ok
}

// network reads an address or a range in CIDR form.
func (p *parser) network(v *Value) bool {
	start := p.pos
	cidr := p.try(ruleIPv4CIDR, func() bool { return p.ipv4() && p.word("/") && p.run(isDigit, 1, 2) }) ||
		p.try(ruleIPv6CIDR, func() bool { return p.ipv6() && p.word("/") && p.run(isDigit, 1, 3) })
	if cidr {
		text := p.text[start:p.pos]
		*v = Value{Type: Network}
		var why string
		if v.CIDR, why = parseCIDR(text); why != "" {
			p.refuse(start, why)
		}
		return true
	}
	four := p.try(ruleIPv4, p.ipv4)
	if !four && !p.try(ruleIPv6, p.ipv6) {
		return false
	}
	*v = Value{Type: Address}
	var err error
	if v.Addr, err = netip.ParseAddr(p.text[start:p.pos]); err != nil {
		p.refuse(start, addressText(four))
	}
	return true
}

func addressText(four bool) string {
	if four {
		return "invalid IPv4 address syntax"
	}
	return "invalid IPv6 address syntax"
}

// parseCIDR wants a range that begins at its first address, as the crate cidr does.
func parseCIDR(text string) (netip.Prefix, string) {
	addr, bits, _ := strings.Cut(text, "/")
	four := !strings.Contains(addr, ":")
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return netip.Prefix{}, "couldn't parse address in network: " + addressText(four)
	}
	n, _ := strconv.Atoi(bits) // up to three digits
	if n > a.BitLen() {
		return netip.Prefix{}, "invalid length for network: Network length " + strconv.Itoa(n) + " is too long for " +
			map[bool]string{true: "Ipv4", false: "Ipv6"}[four] + " (maximum: " + strconv.Itoa(a.BitLen()) + ")"
	}
	r := netip.PrefixFrom(a, n)
	if r != r.Masked() {
		return r, "host part of address was not zero"
	}
	return r, ""
}

func (p *parser) ipv4() bool {
	ok := p.run(isDigit, 1, 3)
	for range 3 {
		ok = ok && p.word(".") && p.run(isDigit, 1, 3)
	}
	return ok
}

func (p *parser) ipv6() bool {
	if !p.word(":") && !p.run(isHex, 1, 4) || !p.word(":") {
		return false
	}
	for p.run(isHex, 1, 4) || p.word(":") {
	}
	return true
}

func (p *parser) integer(v *Value) bool {
	start, digits, base := p.pos, 0, 10
	ok := p.try(ruleInt, func() bool {
		p.word("-")
		digits = p.pos
		if p.try(ruleOctDigits, func() bool { return p.word("0") && p.run(isOctal, 1, 0) }) {
			base = 8
			return true
		}
		if p.word("0x") {
			if base = 16; p.try(ruleHexDigits, func() bool { return p.run(isHex, 1, 0) }) {
				digits += len("0x")
				return true
			}
			base, p.pos = 10, digits
		}
		return p.try(ruleDecDigits, func() bool { return p.run(isDigit, 1, 0) })
	})
	if !ok {
		return false
	}
	n, err := strconv.ParseInt(p.text[digits:p.pos], base, 64)
	if err != nil {
		p.refuse(digits, "number too large to fit in target type")
	}
	if p.text[start] == '-' {
		n = -n
	}
	*v = Value{Type: Int, Int: n}
	return true
}
