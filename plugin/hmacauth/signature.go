package hmacauth

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // hmac-sha1 is one of Kong's algorithms
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"hash"
	"regexp"
	"slices"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
)

type algorithm func() hash.Hash

var algorithms = map[string]algorithm{
	"hmac-sha1": sha1.New, "hmac-sha256": sha256.New, "hmac-sha384": sha512.New384, "hmac-sha512": sha512.New,
}

func (a algorithm) matches(secret, text, signature string) bool {
	given, err := base64.StdEncoding.DecodeString(signature)
	if err != nil {
		return false
	}
	mac := hmac.New(a, []byte(secret))
	mac.Write([]byte(text))
	return hmac.Equal(mac.Sum(nil), given)
}

// params are what an authorization says of its signature.
type params struct {
	username, algorithm, signature string
	headers                        []string
}

// authorization is the form that Kong reads: these four, in this order.
var authorization = regexp.MustCompile(
	`\s*[Hh]mac\s*username="(.+)",\s*algorithm="(.+)",\s*headers="(.+)",\s*signature="(.+)"`)

func parse(header string) (params, bool) {
	m := authorization.FindStringSubmatch(header)
	if m == nil {
		return params{}, false
	}
	return params{username: m[1], algorithm: m[2], headers: strings.Split(m[3], " "), signature: m[4]}, true
}

func (p *params) covers(header string) bool { return slices.Contains(p.headers, header) }

// text is what was signed: a line for each header, in the order in which they are named.
func (p *params) text(x *plugin.Exchange) string {
	var b strings.Builder
	q := &x.Request
	for i, name := range p.headers {
		if i > 0 {
			b.WriteByte('\n')
		}
		value, ok := q.Header.Lookup(name)
		switch {
		case ok:
			b.WriteString(name + ": " + value)
		case name == "request-line":
			b.WriteString(q.Method + " " + target(x) + " HTTP/" + version(q))
		case name == "@request-target":
			b.WriteString(name + ": " + strings.ToLower(q.Method) + " " + target(x))
		default:
			b.WriteString(name + ":")
		}
	}
	return b.String()
}

// target is path and query as the client sent them.
func target(x *plugin.Exchange) string {
	if x.Request.Query == "" {
		return x.Request.Path
	}
	return x.Request.Path + "?" + x.Request.Query
}

func version(q *plugin.Request) string {
	return string([]byte{byte('0' + q.Major%10), '.', byte('0' + q.Minor%10)})
}

// digestMatches holds the body against its Digest. Without one only no body passes.
func digestMatches(x *plugin.Exchange) bool {
	body, err := x.ReadBody(0)
	if err != nil {
		return false
	}
	digest, ok := x.Request.Header.Lookup("Digest")
	if !ok {
		return len(body) == 0
	}
	sum := sha256.Sum256(body)
	want := "SHA-256=" + base64.StdEncoding.EncodeToString(sum[:])
	return subtle.ConstantTimeCompare([]byte(want), []byte(digest)) == 1
}
