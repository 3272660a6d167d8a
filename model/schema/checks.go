package schema

import (
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"
)

// builtinValues are the named checks of values that belong to no kind.
var builtinValues = map[string]ValueCheck{
	"utf8_name":               text(checkName),
	"tag":                     text(checkTag),
	"path":                    text(func(s string) string { msg, _ := CheckPath(s); return msg }),
	"header_name":             text(checkHeaderName),
	"cookie_name":             text(checkToken),
	"host":                    text(CheckHost),
	"host_with_optional_port": text(CheckHostPort),
	"sni":                     text(CheckSNI),
	"wildcard_host":           text(CheckWildcardHost),
	"ip_or_cidr":              text(checkRange),
	"url":                     text(checkURL),
	"lua":                     text(checkLua),
	"redirect_uri":            text(checkRedirectURI),
	"cors_origin":             text(checkOrigin),
	"transformer_pair":        text(checkPair),
	"transformer_header":      text(checkHeaderPair),
	"transformer_rename":      text(checkHeaderRename),
	"distinct_tags":           checkDistinctTags,
}

// builtinRecords are the named checks of configs.
var builtinRecords = map[string]RecordCheck{
	"rate_limits":      checkRateLimits,
	"http_log":         checkHTTPLog,
	"response_limits":  checkResponseLimits,
	"termination":      checkTermination,
	"model_statistics": checkModelStatistics,
	"oauth2_flows":     checkFlows,
	"lambda_proxy":     checkLambdaProxy,
	"cache_store":      func(Body) string { return "" }, // Kong's store has a name; ours is always there
}

// builtinExpansions are the shorthands of configs that are no plain renames.
var builtinExpansions = map[string]Expansion{
	"cookie_lifetime":   to("rolling_timeout"),
	"cookie_idletime":   idleTime,
	"cookie_renew":      func(any, Body) Body { return nil }, // Kong 3.9.1 takes it and does nothing
	"cookie_discard":    to("stale_ttl"),
	"cookie_samesite":   sameSite,
	"cookie_httponly":   to("cookie_http_only"),
	"cookie_persistent": to("remember"),
}

func (l *loader) valueCheck(name string) ValueCheck {
	if c := l.meaning.Values[name]; c != nil {
		return c
	}
	return builtinValues[name]
}

func (l *loader) expansion(name string) Expansion {
	if e := l.meaning.Expand[name]; e != nil {
		return e
	}
	return builtinExpansions[name]
}

func (l *loader) recordCheck(name string) RecordCheck {
	if c := l.meaning.Records[name]; c != nil {
		return c
	}
	return builtinRecords[name]
}

// text makes a check of one that reads texts; other values have failed before.
func text(check func(string) string) ValueCheck {
	return func(v any) string {
		s, ok := v.(string)
		if !ok {
			return ""
		}
		return check(s)
	}
}

// checkDistinctTags refuses a list of records in which a name comes twice.
func checkDistinctTags(v any) string {
	list, _ := v.([]any)
	seen := map[string]bool{}
	for _, tag := range list {
		b, _ := tag.(Body)
		name, ok := b["name"].(string)
		if ok && seen[name] {
			return "repeated tags are not allowed: " + name
		}
		seen[name] = true
	}
	return ""
}

// checkName allows unreserved ASCII and anything beyond it.
func checkName(s string) string {
	for i := range len(s) {
		if c := s[i]; c < utf8.RuneSelf && !isAlnum(c) && !strings.ContainsRune("._~-", rune(c)) {
			return "invalid value '" + s +
				"': the only accepted ascii characters are alphanumerics or ., -, _, and ~"
		}
	}
	return ""
}

// checkRedirectURI takes absolute addresses without a fragment, as OAuth 2.0 asks (RFC 6749
// section 3.1.2).
func checkRedirectURI(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme == "" {
		return "cannot parse '" + s + "'"
	}
	if u.Fragment != "" || strings.Contains(s, "#") {
		return "fragment not allowed in '" + s + "'"
	}
	return ""
}

// checkTag keeps out what the filters "a,b" and "a/b" could not ask for.
func checkTag(s string) string {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == 0x7f || c == ',' || c == '/' {
			return "invalid tag '" + s +
				"': expected printable ascii (except `,` and `/`) or valid utf-8 sequences"
		}
	}
	return ""
}

// CheckPath checks the characters of a path, then its percent-encoding. percent tells which
// of them was wrong.
func CheckPath(s string) (msg string, percent bool) {
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && !strings.ContainsRune("/.-_~%:@!$&'()*+,;=", rune(c)) {
			return "invalid path: '" + s +
				"' (characters outside of the reserved list of RFC 3986 found)", false
		}
	}
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			continue
		}
		if i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
			i += 2
			continue
		}
		return "invalid url-encoded value: '" + s[i:min(i+3, len(s))] + "'", true
	}
	return "", false
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func checkHeaderName(s string) string {
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && c != '-' && c != '_' {
			return "bad header name '" + s +
				"', allowed characters are A-Z, a-z, 0-9, '_', and '-'"
		}
	}
	return ""
}

// checkToken is RFC 2616's token, which a cookie's name must be.
func checkToken(s string) string {
	for i := range len(s) {
		if c := s[i]; c <= 0x20 || c >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, rune(c)) {
			return "contains one or more invalid characters. ASCII control characters (0-31;127), space, tab and the " +
				`characters ()<>@,;:\"/?={}[] are not allowed.`
		}
	}
	return ""
}

// checkURL wants a scheme and a host, asked for in Kong's order.
func checkURL(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "could not parse url. " + strings.TrimPrefix(err.Error(), "parse ")
	}
	if u.Hostname() == "" {
		return "missing host in url"
	}
	if u.Scheme == "" {
		return "missing scheme in url"
	}
	return ""
}

// checkLua refuses nothing yet: a source is compiled where it runs, by the plugin.
func checkLua(string) string { return "" }

func checkOrigin(s string) string {
	if s == "*" {
		return ""
	}
	if _, err := regexp.Compile(s); err != nil {
		return "'" + s + "' is not a valid regex"
	}
	return ""
}

// checkPair wants "name:value".
func checkPair(s string) string {
	name, value, _ := strings.Cut(s, ":")
	if strings.TrimLeft(value, ":") == "" {
		return "key '" + name + "' has no value"
	}
	return ""
}

// checkHeaderPair wants a header's name, alone or before ":value".
func checkHeaderPair(s string) string {
	name, _, _ := strings.Cut(s, ":")
	return checkHeader(name)
}

// checkHeaderRename wants two headers' names.
func checkHeaderRename(s string) string {
	from, to, _ := strings.Cut(s, ":")
	if msg := checkHeader(from); msg != "" {
		return msg
	}
	return checkHeader(strings.TrimLeft(to, ":"))
}

func checkHeader(name string) string {
	if name == "" || checkHeaderName(name) != "" {
		return "'" + name + "' is not a valid header"
	}
	return ""
}
