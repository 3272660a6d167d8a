package router

import (
	"regexp"
	"strings"

	"github.com/sekifuda/sekifuda/plugin"
)

// ok reports whether a request whose host and literal path led to c matches it altogether.
func (c *cand[T]) ok(q *Request) bool {
	return (c.port == 0 || c.port == q.Port) &&
		c.rule.tests.ok(q) &&
		(c.regex == nil || c.regex.re.MatchString(q.Path))
}

func (t *tests) ok(q *Request) bool {
	if (t.rare || q.Stream) && !t.rareOK(q) {
		return false
	}
	if t.condition != nil {
		return t.condition.ok(q, nil)
	}
	if len(t.methods) > 0 && !contains(t.methods, q.Method) {
		return false
	}
	// On a plain connection Kong does not consider SNIs at all (Kong issue 6425).
	if len(t.snis) > 0 && q.TLS && !matchSNI(t.snis, q.SNI) {
		return false
	}
	for i := range t.headers {
		if !t.headers[i].ok(q.Header) {
			return false
		}
	}
	return true
}

// rareOK tests what most routes of HTTP do not ask for.
func (t *tests) rareOK(q *Request) bool {
	return t.stream == q.Stream &&
		(t.protocols == anyProtocol || (t.protocols == secureOnly) == q.TLS) &&
		matchNets(t.sources, q.Source.Addr(), q.Source.Port()) &&
		matchNets(t.destinations, q.Destination, q.Port)
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func matchSNI(snis []hostKey, name string) bool {
	name = trimDot(name)
	if name == "" {
		return false
	}
	for i := range snis {
		if snis[i].match(name) {
			return true
		}
	}
	return false
}

func (t *headerTest) ok(h *plugin.Header) bool {
	if h == nil {
		return false
	}
	fields := h.Fields()
	for i := range fields {
		if sameName(t.name, fields[i].Name) && t.value(fields[i].Value) {
			return true
		}
	}
	return false
}

func (t *headerTest) value(v string) bool {
	for _, want := range t.values {
		if equalFold(want, v) {
			return true
		}
	}
	for _, re := range t.regex {
		if re.MatchString(v) {
			return true
		}
	}
	return false
}

func foldName(name string) string {
	return strings.ReplaceAll(lowerASCII(name), "_", "-")
}

// sameName reports whether a header's name is folded, with "_" and "-" as one.
func sameName(folded, name string) bool {
	if len(folded) != len(name) {
		return false
	}
	for i := 0; i < len(name); i++ {
		c := lower(name[i])
		if c == '_' {
			c = '-'
		}
		if folded[i] != c {
			return false
		}
	}
	return true
}

// tests are those of a route that no table answers.
type tests struct {
	methods []string
	headers []headerTest
	snis    []hostKey

	sources      []Net
	destinations []Net
	protocols    protocol
	stream       bool
	rare         bool       // one of these four says something
	condition    *condition // of an expression; then nothing but protocols and stream is used
}

// protocol is which of two a route answers: with TLS, and without.
type protocol uint8

const (
	anyProtocol protocol = iota
	plainOnly
	secureOnly
)

// protocolTest is what a route's protocols ask of a connection. HTTPS alone is left to who
// serves the route, which can then tell the client so. A plain connection is none for a route
// of tls alone, which Kong would have it take.
func protocolTest(protocols []string, strict bool) protocol {
	switch {
	case !answersHTTP(protocols) && !contains(protocols, "tcp"):
		return secureOnly
	case strict && len(protocols) == 1 && (protocols[0] == "http" || protocols[0] == "grpc" || protocols[0] == "tcp"):
		return plainOnly
	}
	return anyProtocol
}

// headerTest holds when one of the request's lines of that name has one of the values.
type headerTest struct {
	name   string // lower case, "_" as "-"
	values []string
	regex  []*regexp.Regexp
}

func compileTests(r *Route) (*tests, error) {
	t := &tests{
		methods: r.Methods, sources: r.Sources, destinations: r.Destinations,
		stream: !answersHTTP(r.Protocols), protocols: protocolTest(r.Protocols, r.Strict),
	}
	t.rare = t.stream || t.protocols != anyProtocol || len(r.Sources)+len(r.Destinations) > 0
	for name, values := range r.Headers {
		h := headerTest{name: foldName(name)}
		for _, v := range values {
			pattern, ok := strings.CutPrefix(v, "~*")
			if !ok {
				h.values = append(h.values, lowerASCII(v))
				continue
			}
			re, err := regexp.Compile("(?i)" + pattern)
			if err != nil {
				return nil, &RouteError{r.ID, "headers", name + ": " + v, regexReason(err)}
			}
			h.regex = append(h.regex, re)
		}
		t.headers = append(t.headers, h)
	}
	for _, s := range r.SNIs {
		k, err := parseSNI(s)
		if err != nil {
			return nil, &RouteError{r.ID, "snis", s, err}
		}
		t.snis = append(t.snis, k)
	}
	return t, nil
}
