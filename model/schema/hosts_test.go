package schema

import (
	"strings"
	"testing"
)

func TestHosts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ check, in, want string }{
		{"host", "a.test", ""}, {"host", "a_b.test.", ""}, {"host", "1.2.3.4", ""}, {"host", "::1", ""},
		{"host", "a:80", "must not have a port"}, {"host", "[::1]:80", "must not have a port"},
		{"host", "a:99999", "must not have a port"}, {"host", "h h", "invalid value: h h"},
		{"host", "-a", "invalid value: -a"}, {"host", "a..b", "invalid value: a..b"},
		{"host", "1.2.3", "invalid value: 1.2.3"}, {"host", "1.2.3.400", "invalid value: 1.2.3.400"},
		{"host", "[", "invalid value: ["}, {"host", ":", "invalid value: :"}, {"host", "[::1", "invalid value: [::1"},
		{"sni", "1.2.3.4", "must not be an IP"}, {"sni", "::1", "must not be an IP"},
		{"sni", "a:1", "must not have a port"}, {"sni", "a", ""},
		{"wildcard", "*.a", ""}, {"wildcard", "a.*", ""},
		{"wildcard", "a.*.b", "wildcard must be leftmost or rightmost character"},
		{"wildcard", "*.a.*", "only one wildcard must be specified"},
		{"wildcard", "a.*.b.*", "wildcard must be leftmost or rightmost character"},
		{"wildcard", "*", ""}, {"wildcard", "*a.b", ""}, {"wildcard", "a.b*", ""}, {"wildcard", "*:443", "must not have a port"},
		{"port", "a:80", ""}, {"port", "a:x", "invalid value: a:x"}, {"port", "a:70000", "invalid port number"},
		{"range", "10.0.0.0/8", ""}, {"range", "::/0", ""}, {"range", "::1", ""},
		{"range", "10.0.0.0/33", "invalid ip or cidr range: '10.0.0.0/33'"},
		{"range", "10.0.0.0/-1", "invalid ip or cidr range: '10.0.0.0/-1'"},
		{"range", "a", "invalid ip or cidr range: 'a'"},
	} {
		check := map[string]func(string) string{
			"host": CheckHost, "sni": CheckSNI, "wildcard": CheckWildcardHost, "port": CheckHostPort, "range": checkRange,
		}[c.check]
		if got := check(c.in); got != c.want {
			t.Errorf("%s(%q) = %q, want %q", c.check, c.in, got, c.want)
		}
	}
}

// FuzzHosts reads any text as every kind of host: nothing may panic, and what is read as an
// address is read the same again.
func FuzzHosts(f *testing.F) {
	for _, s := range []string{"a:80", "[::1]:80", "::1", "1.2.3.4:5", "*.a", "a.*", "[", "::", "1.", "001.2.3.4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		CheckHost(s)
		CheckHostPort(s)
		CheckSNI(s)
		CheckWildcardHost(s)
		checkRange(s)
		a, ok, _ := ParseAddress(s)
		if !ok {
			return
		}
		again, ok, _ := ParseAddress(a.Bracketed())
		if a.Port = 0; !ok || again != a {
			t.Fatalf("%q is %v, then %v", s, a, again)
		}
		if strings.ContainsAny(a.Host, " /\x00") {
			t.Fatalf("%q gave host %q", s, a.Host)
		}
	})
}
