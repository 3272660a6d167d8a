package logentry

import (
	"crypto/tls"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/sekifuda/sekifuda/plugin"
)

// appendHeaders appends header lines as an object with lower-case names; a name that stands
// there more than once has a list. Credentials are not written.
func appendHeaders(b []byte, h *plugin.Header) []byte {
	b = append(b, '{')
	first := true
	fields := h.Fields()
	for i := range fields {
		name := fields[i].Name
		if seen(fields[:i], name) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(b, '"')
		b = appendLower(b, name)
		b = append(b, `":`...)
		if plugin.EqualName(name, "authorization") || plugin.EqualName(name, "proxy-authorization") {
			b = append(b, `"REDACTED"`...)
			continue
		}
		b = appendValues(b, fields[i:], name)
	}
	return append(b, '}')
}

func seen(fields []plugin.Field, name string) bool {
	for i := range fields {
		if plugin.EqualName(fields[i].Name, name) {
			return true
		}
	}
	return false
}

// appendValues appends every value of name, as a list when there are several.
func appendValues(b []byte, fields []plugin.Field, name string) []byte {
	if !seen(fields[1:], name) {
		return appendString(b, fields[0].Value)
	}
	b = append(b, '[')
	for i := range fields {
		if !plugin.EqualName(fields[i].Name, name) {
			continue
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, fields[i].Value)
	}
	return append(b, ']')
}

func appendLower(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		b = append(b, c) // a header's name is a token: nothing to escape
	}
	return b
}

// appendQuery appends query arguments as an object; an argument without "=" is true, one that
// stands there more than once has a list.
func appendQuery(b []byte, query string) []byte {
	if query == "" {
		return append(b, "{}"...)
	}
	var names []string
	values := map[string][]any{}
	for _, pair := range strings.Split(query, "&") {
		if pair == "" {
			continue
		}
		k, v, ok := strings.Cut(pair, "=")
		name := unescape(k)
		if values[name] == nil {
			names = append(names, name)
		}
		if !ok {
			values[name] = append(values[name], true)
			continue
		}
		values[name] = append(values[name], unescape(v))
	}
	b = append(b, '{')
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, name)
		b = append(b, ':')
		b = appendArgument(b, values[name])
	}
	return append(b, '}')
}

func appendArgument(b []byte, values []any) []byte {
	if len(values) > 1 {
		b = append(b, '[')
	}
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		if s, ok := v.(string); ok {
			b = appendString(b, s)
		} else {
			b = append(b, "true"...)
		}
	}
	if len(values) > 1 {
		b = append(b, ']')
	}
	return b
}

func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

func appendTLS(b []byte, s *tls.ConnectionState) []byte {
	verified := "NONE"
	if len(s.PeerCertificates) > 0 {
		verified = "SUCCESS"
	}
	b = append(b, `,"tls":{"version":"`...)
	b = append(b, strings.Replace(tls.VersionName(s.Version), "TLS ", "TLSv", 1)...)
	b = append(b, `","cipher":"`...)
	b = append(b, tls.CipherSuiteName(s.CipherSuite)...)
	b = append(b, `","client_verify":"`...)
	b = append(b, verified...)
	return append(b, `"}`...)
}

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	b = appendEscaped(b, s)
	return append(b, '"')
}

const hex = "0123456789abcdef"

// appendEscaped appends s as the inside of a JSON string. Bytes that are not UTF-8 become
// U+FFFD: a log line is text.
func appendEscaped(b []byte, s string) []byte {
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				b = append(append(b, s[start:i]...), "\ufffd"...)
				start = i + 1
			}
			i += n
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, `\n`...)
		case '\t':
			b = append(b, `\t`...)
		case '\r':
			b = append(b, `\r`...)
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	return append(b, s[start:]...)
}
