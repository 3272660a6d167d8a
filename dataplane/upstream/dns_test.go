package upstream

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// nameServer answers on a real socket, over UDP and TCP, from lines such as
// "a.test. A 60 10.0.0.1", "b.test. SRV 60 0 5 8080 a.test." and "c.test. CODE 2".
type nameServer struct {
	addr string

	mu    sync.Mutex
	lines []string
	asked []string // "A a.test." with "tcp" before it when it was
}

func startNameServer(t *testing.T, lines ...string) *nameServer {
	t.Helper()
	s := &nameServer{lines: lines}
	udp, tcp := listenBoth(t)
	s.addr = tcp.Addr().String()
	var wg sync.WaitGroup
	t.Cleanup(func() { udp.Close(); tcp.Close(); wg.Wait() })
	wg.Go(func() {
		b := make([]byte, 4096)
		for {
			n, from, err := udp.ReadFrom(b)
			if err != nil {
				return
			}
			if a := s.answer(t, b[:n], ""); a != nil {
				udp.WriteTo(append([]byte("\x00noise"), a[:6]...), from) // what is no answer is not heard
				udp.WriteTo(a, from)
			}
		}
	})
	wg.Go(func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			var size [2]byte
			io.ReadFull(c, size[:])
			q := make([]byte, binary.BigEndian.Uint16(size[:]))
			io.ReadFull(c, q)
			a := s.answer(t, q, "tcp ")
			c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...))
			c.Close()
		}
	})
	return s
}

// listenBoth finds a port that is free for both: a free one of UDP may be taken by TCP.
func listenBoth(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 20 {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		udp, err := net.ListenPacket("udp", tcp.Addr().String())
		if err == nil {
			return udp, tcp
		}
		tcp.Close()
	}
	t.Fatal("no port is free for UDP and TCP")
	return nil, nil
}

func (s *nameServer) answer(t *testing.T, raw []byte, over string) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(raw); err != nil {
		t.Errorf("question: %v", err)
		return nil
	}
	q := m.Questions[0]
	s.mu.Lock()
	defer s.mu.Unlock()
	kind := strings.TrimPrefix(q.Type.String(), "Type")
	s.asked = append(s.asked, over+kind+" "+q.Name.String())
	m.Response, m.Additionals, m.RCode = true, nil, dnsmessage.RCodeNameError
	for _, line := range s.lines {
		w := strings.Fields(line)
		if !strings.EqualFold(w[0], q.Name.String()) {
			continue
		}
		m.RCode = dnsmessage.RCodeSuccess
		switch w[1] {
		case "CODE":
			var code int
			fmt.Sscan(w[2], &code)
			m.RCode = dnsmessage.RCode(code)
		case "LOST":
			return nil
		case "LONG":
			m.Truncated = over == ""
		case kind:
			m.Answers = append(m.Answers, record(q, w[2:]))
		}
	}
	out, err := m.Pack()
	if err != nil {
		t.Errorf("answer: %v", err)
	}
	return out
}

func record(q dnsmessage.Question, w []string) dnsmessage.Resource {
	r := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}}
	fmt.Sscan(w[0], &r.Header.TTL)
	switch q.Type {
	case dnsmessage.TypeA:
		r.Body = &dnsmessage.AResource{A: [4]byte(net.ParseIP(w[1]).To4())}
	case dnsmessage.TypeAAAA:
		r.Body = &dnsmessage.AAAAResource{AAAA: [16]byte(net.ParseIP(w[1]))}
	case dnsmessage.TypeSRV:
		b := &dnsmessage.SRVResource{Target: dnsmessage.MustNewName(w[4])}
		fmt.Sscan(w[1], &b.Priority)
		fmt.Sscan(w[2], &b.Weight)
		fmt.Sscan(w[3], &b.Port)
		r.Body = b
	}
	return r
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestDNS(t *testing.T) {
	t.Parallel()
	s := startNameServer(t,
		"a.test. A 60 10.0.0.1", "a.test. A 30 10.0.0.2", "a.test. A 30 10.0.0.2",
		"six.test. AAAA 20 fd00::1",
		"both.test. A 20 10.0.0.3", "both.test. AAAA 20 fd00::3",
		"srv.test. SRV 50 1 5 8080 a.test.", "srv.test. SRV 50 1 0 8081 six.test.", "srv.test. SRV 50 2 9 9090 both.test.", "srv.test. A 60 10.9.9.9",
		"dead.test. SRV 50 1 5 8080 nowhere.test.", "dead.test. A 60 10.0.0.4",
		"long.test. LONG", "long.test. A 60 10.0.0.5",
		"broken.test. CODE 2", "refused.test. CODE 5",
		"short.sub.test. A 60 10.0.0.6",
		"deep.name.test. A 60 10.0.0.7",
	)
	d := &DNS{Servers: []string{s.addr}, ResolvConf: write(t, "search sub.test other.test\noptions timeout:1 attempts:1 ndots:2"),
		Hosts: write(t, "10.1.1.1 hosted.test # one\nfd00::9 hosted.test Six\n10.1.1.2\tother HOSTED.test\n")}
	for _, c := range []struct{ host, want string }{
		{"a.test", "[{10.0.0.1 0 0} {10.0.0.2 0 0}] 30s"},
		{"A.Test.", "[{10.0.0.1 0 0} {10.0.0.2 0 0}] 30s"},
		{"six.test", "[{fd00::1 0 0}] 20s"},
		{"both.test", "[{10.0.0.3 0 0}] 20s"},
		{"srv.test", "[{10.0.0.1 8080 5} {10.0.0.2 8080 5} {fd00::1 8081 1}] 20s"},
		{"dead.test", "[{10.0.0.4 0 0}] 1m0s"},
		{"long.test", "[{10.0.0.5 0 0}] 1m0s"},
		{"short", "[{10.0.0.6 0 0}] 1m0s"},
		{"deep.name.test", "[{10.0.0.7 0 0}] 1m0s"},
		{"hosted.test", "[{10.1.1.1 0 0} {10.1.1.2 0 0}] 30s"},
		{"six", "[{fd00::9 0 0}] 30s"},
		{"nowhere.test", "lookup : no such host"},
		{strings.Repeat("x", 300), "lookup : no such host"},
		{"broken.test.", "dns server " + s.addr + ": ServerFailure"},
		{"refused.test.", "dns server " + s.addr + ": Refused"},
	} {
		a, err := d.Resolve(t.Context(), c.host)
		got := fmt.Sprint(a.Places, " ", a.TTL)
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("Resolve(%.20s) = %s, want %s", c.host, got, c.want)
		}
		if strings.HasSuffix(c.want, "no such host") != isNotFound(err) {
			t.Errorf("Resolve(%.20s): not found = %v", c.host, isNotFound(err))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.asked, "tcp A long.test.") {
		t.Error("an answer that was cut is not asked for over TCP")
	}
}

// TestDNSAsksTheNextServer: one that does not answer costs its time, not the name.
func TestDNSAsksTheNextServer(t *testing.T) {
	t.Parallel()
	lost, good := startNameServer(t, "a.test. LOST"), startNameServer(t, "a.test. A 60 10.0.0.1")
	d := &DNS{Servers: []string{lost.addr, good.addr}, ResolvConf: write(t, "options timeout:1 attempts:1"), Hosts: write(t, "")}
	a, err := d.Resolve(t.Context(), "a.test")
	if err != nil || len(a.Places) != 1 {
		t.Errorf("Resolve = %v, %v", a, err)
	}
}

func TestResolvConf(t *testing.T) {
	t.Parallel()
	c := readResolvConf(write(t, "# comment\nnameserver 10.0.0.53\nnameserver fd00::53\nnameserver nonsense\nnameserver 1.1.1.1\nnameserver 2.2.2.2\nsearch a.test. b.test\noptions ndots:0 timeout:99 attempts:x rotate\n"))
	if want := []string{"10.0.0.53:53", "[fd00::53]:53", "1.1.1.1:53"}; !slices.Equal(c.servers, want) {
		t.Errorf("servers = %v, want %v", c.servers, want)
	}
	if c.ndots != 0 || c.timeout != 30*time.Second || c.attempts != 2 {
		t.Errorf("options = %+v", c)
	}
	if got, want := c.names("x"), []string{"x.", "x.a.test.", "x.b.test."}; !slices.Equal(got, want) {
		t.Errorf("names = %v, want %v", got, want)
	}
	if c := readResolvConf("/nowhere"); !slices.Equal(c.servers, []string{"127.0.0.1:53"}) {
		t.Errorf("without a file: %v", c.servers)
	}
}

// TestServiceRecords: port and weight of a record hold, for a service's host and for targets.
func TestServiceRecords(t *testing.T) {
	t.Parallel()
	s := startNameServer(t, "srv.test. SRV 50 1 3 8080 a.test.", "srv.test. SRV 50 1 1 8081 b.test.", "a.test. A 60 10.0.0.1", "b.test. A 60 10.0.0.2")
	n := NewNetwork(NetworkOptions{Resolver: &DNS{Servers: []string{s.addr}, Hosts: write(t, "")}})
	for name, u := range map[string]*Upstream{
		"host":   New(&Spec{Protocol: "http", Host: "srv.test", Port: 80}, nil),
		"target": New(balanced(BalancerSpec{Algorithm: "round-robin", Targets: []TargetSpec{{Host: "srv.test", Port: 80, Weight: 100}}}), nil),
	} {
		got := map[string]int{}
		for range 4000 {
			peer, err := u.Next(t.Context, n, &Pick{}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			got[peer.Addr.String()]++
			if peer.Host != "srv.test" || peer.Port != int(peer.Addr.Port()) {
				t.Fatalf("%s: peer %+v", name, peer)
			}
		}
		if a, b := got["10.0.0.1:8080"], got["10.0.0.2:8081"]; a+b != 4000 || a < 2*b || a > 5*b {
			t.Errorf("%s: spread %v, want three to one", name, got)
		}
	}
}
