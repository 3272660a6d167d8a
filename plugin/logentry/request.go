package logentry

import (
	"crypto/tls"
	"strconv"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/payload"
)

// most is how many header lines and arguments an entry shows, as in Kong. It also bounds the
// work of finding those that repeat.
const most = 100

func appendRequest(b []byte, x *plugin.Exchange) []byte {
	q := &x.Request
	b = appendString(append(b, `"request":{"id":`...), x.ID)
	b = appendString(append(b, `,"uri":`...), q.Target)
	b = append(b, `,"url":"`...)
	b = appendText(append(appendText(b, q.Scheme), `://`...), hostname(q.Host))
	b = append(b, ':')
	b = strconv.AppendUint(b, uint64(x.Local.Port()), 10)
	b = appendText(b, q.Target)
	b = append(b, `","querystring":`...)
	b = appendQuery(b, x.Upstream.Query)
	b = appendString(append(b, `,"method":`...), q.Method)
	b = append(b, `,"headers":`...)
	b = appendHeaders(b, &q.Header, q.Host, true)
	b = append(b, `,"size":`...)
	b = strconv.AppendInt(b, q.Size, 10)
	if q.TLS != nil {
		b = appendTLS(b, q.TLS)
	}
	return append(b, '}')
}

// hostname cuts the port from an authority.
func hostname(host string) string {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		return host[:i]
	}
	return host
}

// appendHeaders writes names in lower case and values that repeat as a list. secret ones are
// blanked in requests. host stands in for a Host line that the header does not have.
func appendHeaders(b []byte, h *plugin.Header, host string, request bool) []byte {
	fields := h.Fields()
	fields = fields[:min(len(fields), most)]
	b = append(b, '{')
	first := len(b)
	if _, ok := h.Lookup("host"); request && !ok && host != "" {
		b = appendString(append(b, `"host":`...), host)
	}
	twice := repeated(fields)
	for i := range fields {
		alone := twice&mark(fields[i].Name) == 0
		if !alone && seen(fields[:i], fields[i].Name) {
			continue
		}
		if len(b) > first {
			b = append(b, ',')
		}
		b = appendLower(b, fields[i].Name)
		b = append(b, ':')
		if request && secret(fields[i].Name) {
			b = append(b, `"REDACTED"`...)
			continue
		}
		if alone {
			b = appendString(b, fields[i].Value)
		} else {
			b = appendValues(b, fields[i:])
		}
	}
	return append(b, '}')
}

// repeated returns the marks that more than one name has: a name with another mark stands
// once, and need not be looked for.
func repeated(fields []plugin.Field) (twice uint64) {
	var once uint64
	for i := range fields {
		m := mark(fields[i].Name)
		twice |= once & m
		once |= m
	}
	return twice
}

// mark is one bit for a name, the same for names that differ in case only.
func mark(name string) uint64 {
	if name == "" {
		return 1
	}
	n := len(name)
	return 1 << ((uint(n)*7 + uint(name[n-1]|0x20)*5 + uint(name[n/2]|0x20)*3 + uint(name[0]|0x20)) & 63)
}

func secret(name string) bool {
	return plugin.EqualName(name, "authorization") || plugin.EqualName(name, "proxy-authorization")
}

func seen(fields []plugin.Field, name string) bool {
	for i := range fields {
		if plugin.EqualName(fields[i].Name, name) {
			return true
		}
	}
	return false
}

// appendValues writes the values of the first field's name.
func appendValues(b []byte, fields []plugin.Field) []byte {
	if !seen(fields[1:], fields[0].Name) {
		return appendString(b, fields[0].Value)
	}
	b = append(b, '[')
	for i := range fields {
		if !plugin.EqualName(fields[i].Name, fields[0].Name) {
			continue
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, fields[i].Value)
	}
	return append(b, ']')
}

// argument is one argument of a query; a bare name is true.
type argument struct {
	name, value string
	bare        bool
}

func cutArgument(query string) (a argument, rest string) {
	raw, rest, _ := strings.Cut(query, "&")
	name, value, ok := strings.Cut(raw, "=")
	return argument{payload.Unescape(name), payload.Unescape(value), !ok}, rest
}

func appendQuery(b []byte, query string) []byte {
	if query == "" {
		return append(b, "{}"...)
	}
	var all [most]argument
	n := 0
	for query != "" && n < most {
		var a argument
		if a, query = cutArgument(query); a.name != "" {
			all[n] = a
			n++
		}
	}
	b = append(b, '{')
	first := len(b)
	for i := range all[:n] {
		if named(all[:i], all[i].name) {
			continue
		}
		if len(b) > first {
			b = append(b, ',')
		}
		b = appendString(b, all[i].name)
		b = appendArguments(append(b, ':'), all[i:n])
	}
	return append(b, '}')
}

func named(all []argument, name string) bool {
	for i := range all {
		if all[i].name == name {
			return true
		}
	}
	return false
}

// appendArguments writes the values of the first argument's name.
func appendArguments(b []byte, all []argument) []byte {
	if !named(all[1:], all[0].name) {
		return appendArgument(b, &all[0])
	}
	b = append(b, '[')
	for i := range all {
		if all[i].name != all[0].name {
			continue
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = appendArgument(b, &all[i])
	}
	return append(b, ']')
}

func appendArgument(b []byte, a *argument) []byte {
	if a.bare {
		return append(b, "true"...)
	}
	return appendString(b, a.value)
}

var versions = map[uint16]string{
	tls.VersionTLS10: "TLSv1", tls.VersionTLS11: "TLSv1.1", tls.VersionTLS12: "TLSv1.2", tls.VersionTLS13: "TLSv1.3",
}

// suites are OpenSSL's names of the suites of TLS 1.2 that are negotiated here.
var suites = map[uint16]string{
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:         "ECDHE-RSA-AES128-GCM-SHA256",
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:         "ECDHE-RSA-AES256-GCM-SHA384",
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256:       "ECDHE-ECDSA-AES128-GCM-SHA256",
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384:       "ECDHE-ECDSA-AES256-GCM-SHA384",
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256:   "ECDHE-RSA-CHACHA20-POLY1305",
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: "ECDHE-ECDSA-CHACHA20-POLY1305",
}

func appendTLS(b []byte, s *tls.ConnectionState) []byte {
	cipher := suites[s.CipherSuite]
	if cipher == "" {
		cipher = tls.CipherSuiteName(s.CipherSuite)
	}
	verified := "NONE"
	if len(s.VerifiedChains) > 0 {
		verified = "SUCCESS"
	}
	b = appendString(append(b, `,"tls":{"version":`...), versions[s.Version])
	b = appendString(append(b, `,"cipher":`...), cipher)
	b = appendString(append(b, `,"client_verify":`...), verified)
	return append(b, '}')
}
