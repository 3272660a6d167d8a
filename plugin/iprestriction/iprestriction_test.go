package iprestriction

import (
	"net/netip"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/plugin/plugintest"
)

func build(t *testing.T, c *Config) plugin.RequestFilter {
	t.Helper()
	f, err := New(c, plugintest.NewHost())
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return f.(plugin.RequestFilter)
}

func TestAnswersByAddress(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		config  *Config
		client  string
		status  int // 0: passes
		message string
	}{
		{"outside of allow", &Config{Allow: []string{"10.0.0.0/8"}}, "127.0.0.1", 403, "IP address not allowed: 127.0.0.1"},
		{"inside of allow", &Config{Allow: []string{"10.0.0.0/8"}}, "10.255.255.255", 0, ""},
		{"just behind allow", &Config{Allow: []string{"10.0.0.0/8"}}, "11.0.0.0", 403, "IP address not allowed: 11.0.0.0"},
		{"on deny", &Config{Deny: []string{"127.0.0.1"}}, "127.0.0.1", 403, "IP address not allowed: 127.0.0.1"},
		{"not on deny", &Config{Deny: []string{"127.0.0.1"}}, "127.0.0.2", 0, ""},
		{"on both", &Config{Allow: []string{"127.0.0.0/8"}, Deny: []string{"127.0.0.1"}}, "127.0.0.1", 403, "IP address not allowed: 127.0.0.1"},
		{"on allow, beside deny", &Config{Allow: []string{"127.0.0.0/8"}, Deny: []string{"127.0.0.1"}}, "127.0.0.9", 0, ""},
		{"own status and message", &Config{Deny: []string{"127.0.0.1/32"}, Status: proto.Float64(401), Message: proto.String("go away")}, "127.0.0.1", 401, "go away"},
		{"host bits in a range", &Config{Allow: []string{"10.1.2.3/8"}}, "10.9.9.9", 0, ""},
		{"IPv6", &Config{Allow: []string{"2001:db8::/32"}}, "2001:db8:ffff::1", 0, ""},
		{"IPv6 outside", &Config{Allow: []string{"2001:db8::/32"}}, "2001:db9::", 403, "IP address not allowed: 2001:db9::"},
		{"IPv4 in IPv6", &Config{Allow: []string{"10.0.0.0/8"}}, "::ffff:10.1.1.1", 0, ""},
		{"everything", &Config{Deny: []string{"0.0.0.0/0"}}, "8.8.8.8", 403, "IP address not allowed: 8.8.8.8"},
		{"all of IPv4 is none of IPv6", &Config{Deny: []string{"0.0.0.0/0"}}, "2001:db8::1", 0, ""},
		{"the guide's list", &Config{Allow: []string{"127.0.0.1", "::1", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"}}, "::1", 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := build(t, tt.config).OnRequest(plugintest.Request{Client: tt.client}.Exchange())
			if v.Status() != tt.status || v.Message() != tt.message {
				t.Errorf("OnRequest(%s) = %d %q, want %d %q", tt.client, v.Status(), v.Message(), tt.status, tt.message)
			}
		})
	}
}

func TestNewRefusesWhatIsNoAddress(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"x", "1.2.3", "1.2.3.4/33", "1.2.3.4/", "fe80::1%eth0", "", "1.2.3.4/8/8"} {
		for _, c := range []*Config{{Allow: []string{bad}}, {Deny: []string{"10.0.0.1", bad}}} {
			_, err := New(c, plugintest.NewHost())
			want := "invalid ip or cidr range: '" + bad + "'"
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("New(%v) = %v, want %s", c, err, want)
			}
		}
	}
	if _, err := New(&Config{Status: proto.Float64(7)}, plugintest.NewHost()); err == nil {
		t.Error("New(status 7) = nil, want an error")
	}
}

func TestOnRequestDoesNotAllocate(t *testing.T) {
	f := build(t, &Config{Allow: []string{"10.0.0.0/8", "192.168.0.0/16", "::1"}, Deny: []string{"10.9.0.0/16"}})
	x := plugintest.Request{Client: "10.1.2.3"}.Exchange()
	if n := testing.AllocsPerRun(100, func() { f.OnRequest(x) }); n != 0 {
		t.Errorf("OnRequest allocates %v times, want 0", n)
	}
}

// FuzzSetAgreesWithPrefixes holds the merged ranges against a walk over the prefixes.
func FuzzSetAgreesWithPrefixes(f *testing.F) {
	f.Add("10.0.0.0/8,10.0.0.0/9,11.0.0.0/8", "10.200.0.1")
	f.Add("0.0.0.0/0,::/0", "255.255.255.255")
	f.Add("1.2.3.4,1.2.3.5,1.2.3.7", "1.2.3.6")
	f.Add("2001:db8::/32,::1", "::2")
	f.Add("::ffff:10.0.0.0/104", "10.1.1.1")
	f.Fuzz(func(t *testing.T, list, client string) {
		a, err := netip.ParseAddr(client)
		if err != nil || a.Zone() != "" {
			return
		}
		a = a.Unmap()
		entries := strings.Split(list, ",")
		s, err := compile(entries)
		if err != nil {
			return
		}
		want := false
		for _, e := range entries {
			if !strings.Contains(e, "/") {
				want = want || netip.MustParseAddr(e).Unmap() == a
				continue
			}
			p := netip.MustParsePrefix(e)
			if p.Addr().Is4In6() && p.Bits() >= 96 {
				p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
			}
			want = want || p.Contains(a)
		}
		if got := s.contains(a); got != want {
			t.Errorf("contains(%q, %s) = %v, want %v", list, client, got, want)
		}
	})
}

func BenchmarkOnRequest(b *testing.B) {
	f, err := New(&Config{Allow: []string{"127.0.0.1", "::1", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"}}, plugintest.NewHost())
	if err != nil {
		b.Fatal(err)
	}
	x := plugintest.Request{Client: "172.20.1.1"}.Exchange()
	b.ReportAllocs()
	for b.Loop() {
		f.(plugin.RequestFilter).OnRequest(x)
	}
}
