package router

import (
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/plugin"
)

// FuzzMatch gives arbitrary routes and requests to the router and to the reference.
func FuzzMatch(f *testing.F) {
	f.Add("a.com", "/a", "GET", "~/a/(b|c)", "*.com", "x.a.com", "/a/b", "x-v", "1", int64(1), uint8(255))
	f.Add("a.*:80", "/a/b", "POST", "~/(?i)K(\\d*)", "b.com", "a.org", "/k12", "X_V", "~*^1", int64(-1), uint8(7))
	f.Add("", "", "", "~(", "*", "", "", "", "", int64(0), uint8(0))
	f.Fuzz(func(t *testing.T, host, plain, method, regex, host2, qhost, qpath, hname, hvalue string, rp int64, use uint8) {
		a := &Route{ID: id(1), RegexPriority: rp}
		b := &Route{ID: id(2), Paths: []string{regex, "/"}, Hosts: []string{host2, "z.com"}}
		c := &Route{ID: id(3), Paths: []string{plain, "/ab", "/cd"}, Methods: []string{method}}
		if use&1 != 0 {
			a.Hosts = []string{host}
		}
		if use&2 != 0 {
			a.Paths = []string{plain, regex}
		}
		if use&4 != 0 {
			a.Headers = map[string][]string{hname: {hvalue}}
		}
		if use&8 != 0 {
			b.Hosts = nil
		}
		ref := reference{map[string]*Route{}}
		var r *Router[string]
		for _, route := range []*Route{a, b, c} {
			if Check(route) != nil || !ascii(route) {
				continue
			}
			next, err := r.Apply([]Change[string]{{route.ID, route, route.ID}})
			if err != nil {
				t.Fatalf("Check passes %+v, Apply says %v", route, err)
			}
			r = next
			ref.routes[route.ID] = route
		}
		q := &Request{Method: method, Host: qhost, Port: 80, Path: qpath, Header: &plugin.Header{}}
		q.Header.Append(hname, strings.TrimPrefix(hvalue, "~*^"))
		if qhost == strings.ToLower(qhost) && hasOnlyASCII(qhost+hname+hvalue) {
			checkMatch(t, "fuzz", r, ref.rules(), q)
		} else {
			r.Match(q, &Match[string]{}) // must not panic
		}
	})
}

// ascii reports whether the reference, whose tests of names are Unicode's, can judge r. Ports
// are left to the other tests: the reference reads them less strictly.
func ascii(r *Route) bool {
	text := strings.Join(r.Hosts, "")
	for n, v := range r.Headers {
		text += n + strings.Join(v, "")
	}
	return hasOnlyASCII(text) && !strings.Contains(text, ":")
}

func hasOnlyASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
