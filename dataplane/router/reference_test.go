package router

import (
	"fmt"
	"math/rand"
	"regexp"
	"sort"
	"strings"
	"sync"

	"github.com/sekifuda/sekifuda/plugin"
)

// reference is the meaning of a router said as simply as can be: every sub-route, in order,
// each with all its conditions. It shares with the router only how routes are split and
// numbered, which the vectors test.
type reference struct{ routes map[string]*Route }

type refRule struct {
	route *Route
	sub   subroute
	prio  uint64
}

// refRules are the sub-routes in the order in which they are tried.
type refRules []refRule

func (f reference) rules() refRules {
	var out refRules
	for _, r := range f.routes {
		for _, sub := range split(r) {
			out = append(out, refRule{r, sub, priority(r, sub.paths)})
		}
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].prio != out[j].prio {
			return out[i].prio > out[j].prio
		}
		return out[i].sub.rank > out[j].sub.rank
	})
	return out
}

// match returns the id of the route, what of the path matched and the captured groups.
func (f refRules) match(q *Request) (id, prefix string, groups []string) {
	for _, r := range f {
		if ok, p, g := r.match(q); ok {
			return r.route.ID, p, g
		}
	}
	return "", "", nil
}

func (r refRule) match(q *Request) (bool, string, []string) {
	if !refHosts(r.route.Hosts, q.Host, q.Port) || !refSNIs(r.route.SNIs, q) || !refHeaders(r.route.Headers, q.Header) {
		return false, "", nil
	}
	if m := r.route.Methods; len(m) > 0 && !strings.Contains("|"+strings.Join(m, "|")+"|", "|"+q.Method+"|") {
		return false, "", nil
	}
	if len(r.sub.paths) == 0 {
		return true, "", nil
	}
	for _, p := range r.sub.paths {
		if !strings.HasPrefix(p, "~") {
			if strings.HasPrefix(q.Path, p) {
				return true, p, nil
			}
			continue
		}
		if m := refRegex("^(?:" + p[1:] + ")").FindStringSubmatch(q.Path); m != nil {
			return true, m[0], m[1:]
		}
	}
	return false, "", nil
}

var refRegexes sync.Map // by pattern: the reference asks for the same ones over and over

func refRegex(pattern string) *regexp.Regexp {
	if re, ok := refRegexes.Load(pattern); ok {
		return re.(*regexp.Regexp)
	}
	re := regexp.MustCompile(pattern)
	refRegexes.Store(pattern, re)
	return re
}

func refName(pattern, name string) bool {
	pattern, name = strings.ToLower(pattern), strings.ToLower(name)
	switch {
	case strings.HasPrefix(pattern, "*"):
		return strings.HasSuffix(name, pattern[1:])
	case strings.HasSuffix(pattern, "*"):
		return strings.HasPrefix(name, pattern[:len(pattern)-1])
	}
	return pattern == name
}

func refHosts(hosts []string, host string, port uint16) bool {
	for _, h := range hosts {
		name, p, ok := strings.Cut(h, ":")
		if refName(name, host) && (!ok || p == fmt.Sprint(port)) {
			return true
		}
	}
	return len(hosts) == 0
}

func refSNIs(snis []string, q *Request) bool {
	if len(snis) == 0 || !q.TLS {
		return true
	}
	for _, s := range snis {
		if q.SNI != "" && refName(strings.TrimSuffix(s, "."), strings.TrimSuffix(q.SNI, ".")) {
			return true
		}
	}
	return false
}

func refHeaders(want map[string][]string, h *plugin.Header) bool {
	fold := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "-") }
	for name, values := range want {
		ok := false
		for _, f := range h.Fields() {
			if fold(f.Name) != fold(name) {
				continue
			}
			for _, v := range values {
				if p, re := strings.CutPrefix(v, "~*"); re {
					ok = ok || refRegex("(?i)"+p).MatchString(f.Value)
				} else {
					ok = ok || strings.EqualFold(v, f.Value)
				}
			}
		}
		if !ok {
			return false
		}
	}
	return true
}

// The words from which random routes and requests are made: few, so that they meet.
var (
	someHosts = []string{"a.com", "B.a.com", "c.b.a.com", "*.a.com", "*.b.a.com", "a.*", "b.*", "b.a.*",
		"a.com:80", "*.a.com:81", "a.*:80"}
	someRequestHosts = []string{"a.com", "A.COM", "b.a.com", "c.b.a.com", "x.a.com", "a.org", "b.a.org", ".a.com", "zzz", ""}
	somePaths        = []string{"/", "/a", "/a/", "/a/b", "/ab", "/b", "/a/b/c/d", `~/a/\d+$`, `~/a/(b|c)`, `~/[ab]/x`,
		`~/(?i)A/(?<tail>.*)`, `~/a/(?<n>\w+)/orders`, `~/(\w+)/invoices`, `~/x?`, `~/(a|b)+/(c)?`, `~/a|/b`,
		`~/skip/KeySk`, `~/(?i)skip/keysk`, `~/.*/tail9`, `~/é/\w`}
	someRequestPaths = []string{"/", "/a", "/a/b", "/a/1", "/ab", "/a/c", "/b/x", "/a/b/c/d/e", "/q", "/A/Zed",
		"/a/me/orders", "/you/invoices/7", "/a/me/ORDERS", "/skip/keysk", "/SKIP/keys\u212a", "/z/tail9", "/z/y/tail9", "/é/x", "", "*"}
	someMethods = []string{"GET", "POST", "PURGE"}
	someHeaders = []map[string][]string{{"X-V": {"1", "Two"}}, {"X_V": {"~*^t"}}, {"X-V": {"1"}, "X-W": {"a"}}, {"X-W": {"~*^a+$"}}}
	someLines   = []plugin.Field{{Name: "x-v", Value: "1"}, {Name: "X-V", Value: "TWO"}, {Name: "x_w", Value: "AA"}, {Name: "X-W", Value: "a"}}
	someSNIs    = []string{"a.com", "*.a.com", "b.*", "A.org."}
	someNames   = []string{"", "a.com", "x.a.com", "b.org", "a.ORG", "a.com."}
)

func pick[T any](rng *rand.Rand, list []T) T { return list[rng.Intn(len(list))] }

func some[T any](rng *rand.Rand, list []T, odds int) []T {
	if rng.Intn(odds) != 0 {
		return nil
	}
	out := make([]T, 1+rng.Intn(3))
	for i := range out {
		out[i] = pick(rng, list)
	}
	return out
}

func randomRoute(rng *rand.Rand, id string) *Route {
	r := &Route{
		ID:            id,
		Protocols:     []string{"http", "https"},
		Hosts:         some(rng, someHosts, 2),
		Paths:         some(rng, somePaths, 1),
		Methods:       some(rng, someMethods, 3),
		SNIs:          some(rng, someSNIs, 5),
		RegexPriority: int64(rng.Intn(3)),
	}
	if rng.Intn(6) == 0 {
		r.Paths = nil
	}
	if rng.Intn(3) == 0 {
		r.Headers = pick(rng, someHeaders)
	}
	return r
}

func randomRequest(rng *rand.Rand) *Request {
	q := &Request{
		Method: pick(rng, someMethods),
		Host:   pick(rng, someRequestHosts),
		Port:   uint16(80 + rng.Intn(2)),
		Path:   pick(rng, someRequestPaths),
		Header: &plugin.Header{},
	}
	if rng.Intn(3) == 0 {
		q.TLS, q.SNI = true, pick(rng, someNames)
	}
	for _, f := range some(rng, someLines, 2) {
		q.Header.Append(f.Name, f.Value)
	}
	return q
}

func id(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", n) }
