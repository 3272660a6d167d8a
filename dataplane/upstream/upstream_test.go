package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// fakeNames is a resolver of which tests set the answers.
type fakeNames struct {
	mu    sync.Mutex
	addrs map[string][]netip.Addr
	err   error
	asked int
}

func (f *fakeNames) Resolve(_ context.Context, host string) (Answer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if f.err != nil {
		return Answer{}, f.err
	}
	if a := f.addrs[host]; a != nil {
		answer := Answer{TTL: nameTTL}
		for _, addr := range a {
			answer.Places = append(answer.Places, Place{Addr: addr})
		}
		return answer, nil
	}
	return Answer{}, errNotFound
}

func (f *fakeNames) set(host string, err error, addrs ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
	f.addrs = map[string][]netip.Addr{}
	for _, a := range addrs {
		f.addrs[host] = append(f.addrs[host], netip.MustParseAddr(a))
	}
}

func balanced(b BalancerSpec) *Spec {
	b.ID = "u"
	return &Spec{Host: "u.test", Protocol: "http", Balancer: &b}
}

func targets(weights ...int) []TargetSpec {
	var t []TargetSpec
	for i, w := range weights {
		t = append(t, TargetSpec{ID: strconv.Itoa(i), Host: fmt.Sprintf("10.0.0.%d", i+1), Port: 80, Weight: w})
	}
	return t
}

// spread picks n times and counts by the last number of the address. End reports each outcome.
func spread(t *testing.T, u *Upstream, n int, keyOf func(int) string) map[byte]int {
	t.Helper()
	net := NewNetwork(NetworkOptions{Resolver: &fakeNames{}})
	got := map[byte]int{}
	for i := range n {
		var p Pick
		if keyOf != nil {
			p.Key = keyOf(i)
		}
		peer, err := u.Next(t.Context, net, &p, epoch)
		if err != nil {
			t.Fatal(err)
		}
		got[peer.Addr.Addr().As4()[3]]++
	}
	return got
}

func TestRoundRobinKeepsWeights(t *testing.T) {
	t.Parallel()
	u := New(balanced(BalancerSpec{Algorithm: "round-robin", Targets: targets(5, 1, 0, 4)}), nil)
	if got := spread(t, u, 1000, nil); got[1] != 500 || got[2] != 100 || got[3] != 0 || got[4] != 400 {
		t.Errorf("spread = %v", got)
	}
}

func TestConsistentHashing(t *testing.T) {
	t.Parallel()
	key := func(i int) string { return "key-" + strconv.Itoa(i%5000) }
	three := New(balanced(BalancerSpec{Algorithm: "consistent-hashing", Targets: targets(100, 100, 200)}), nil)
	got := spread(t, three, 5000, key)
	for n, want := range map[byte]int{1: 1250, 2: 1250, 3: 2500} {
		if got[n] < want*85/100 || got[n] > want*115/100 {
			t.Errorf("spread = %v, want about %d at %d", got, want, n)
		}
	}
	home := func(u *Upstream) map[int]byte {
		h := map[int]byte{}
		for i := range 500 {
			for n := range spread(t, u, 1, func(int) string { return key(i) }) {
				h[i] = n
			}
		}
		return h
	}
	before, again := home(three), home(three)
	two := home(New(balanced(BalancerSpec{Algorithm: "consistent-hashing", Targets: targets(100, 0, 200)}), nil))
	for i, n := range before {
		if again[i] != n {
			t.Errorf("key %d moved from %d to %d", i, n, again[i])
		}
		if n != 2 && two[i] != n {
			t.Errorf("key %d moved from %d to %d though its target stayed", i, n, two[i])
		}
	}
}

func TestLeastConnectionsPrefersTheIdle(t *testing.T) {
	t.Parallel()
	u := New(balanced(BalancerSpec{Algorithm: "least-connections", Targets: targets(1, 1, 2)}), nil)
	n := NewNetwork(NetworkOptions{})
	busy := map[byte]int{}
	for range 40 {
		var p Pick
		peer, err := u.Next(t.Context, n, &p, epoch)
		if err != nil {
			t.Fatal(err)
		}
		peer.Begin()
		busy[peer.Addr.Addr().As4()[3]]++
	}
	if busy[1] != 10 || busy[2] != 10 || busy[3] != 20 {
		t.Errorf("under way = %v", busy)
	}
}

func TestLatencyPrefersTheFast(t *testing.T) {
	t.Parallel()
	u := New(balanced(BalancerSpec{Algorithm: "latency", Targets: targets(1, 1)}), nil)
	n := NewNetwork(NetworkOptions{})
	seen := map[byte]int{}
	for range 100 {
		var p Pick
		peer, _ := u.Next(t.Context, n, &p, epoch)
		last := peer.Addr.Addr().As4()[3]
		seen[last]++
		peer.Begin()
		peer.End(&p, Answered, 200, time.Duration(last)*10*time.Millisecond)
	}
	if seen[2] == 0 || seen[1] < 90 {
		t.Errorf("spread = %v, want the fast one mostly", seen)
	}
}

func TestFailedPeersAreAvoidedInAnExchange(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"round-robin", "least-connections", "consistent-hashing", "latency"} {
		u := New(balanced(BalancerSpec{Algorithm: algorithm, Targets: targets(1, 1, 1)}), nil)
		n := NewNetwork(NetworkOptions{})
		p := Pick{Key: "k"}
		seen := map[netip.AddrPort]bool{}
		for range 3 {
			peer, err := u.Next(t.Context, n, &p, epoch)
			if err != nil {
				t.Fatal(err)
			}
			seen[peer.Addr] = true
			peer.Begin()
			peer.End(&p, Refused, 0, 0)
		}
		if len(seen) != 3 {
			t.Errorf("%s: three tries went to %d peers", algorithm, len(seen))
		}
		if _, err := u.Next(t.Context, n, &p, epoch); err != nil {
			t.Errorf("%s: after all have failed: %v", algorithm, err)
		}
	}
}

func TestPassiveHealth(t *testing.T) {
	t.Parallel()
	spec := balanced(BalancerSpec{Algorithm: "round-robin", Targets: targets(1, 1), Health: HealthSpec{
		Passive: PassiveSpec{Healthy: []int{200}, Unhealthy: []int{500}, HTTPFailures: 2, TCPFailures: 1, Timeouts: 3, Successes: 1},
	}})
	u := New(spec, nil)
	n := NewNetwork(NetworkOptions{})
	report := func(last byte, o Outcome, status int) {
		for {
			var p Pick
			peer, err := u.Next(t.Context, n, &p, epoch)
			if err != nil {
				t.Fatal(err)
			}
			peer.Begin()
			if peer.Addr.Addr().As4()[3] == last {
				peer.End(&p, o, status, 0)
				return
			}
			peer.Cancel()
		}
	}
	report(1, Answered, 500)
	report(1, Answered, 200) // resets the count
	report(1, Answered, 500)
	if got := spread(t, u, 10, nil); got[1] != 5 {
		t.Errorf("below the threshold: %v", got)
	}
	report(1, Answered, 500)
	if got := spread(t, u, 10, nil); got[1] != 0 {
		t.Errorf("at the threshold: %v", got)
	}
	next := New(spec, u)
	if got := spread(t, next, 10, nil); got[1] != 0 {
		t.Errorf("in the next graph: %v", got)
	}
	report(2, Refused, 0)
	if _, err := u.Next(t.Context, n, &Pick{}, epoch); !errors.Is(err, ErrNoPeer) {
		t.Errorf("all down: %v", err)
	}
	if !u.balancer.SetHealth(t.Context(), n, "10.0.0.1", 80, netip.AddrPort{}, true) || u.balancer.SetHealth(t.Context(), n, "10.0.0.9", 80, netip.AddrPort{}, true) {
		t.Error("SetHealth does not know its targets")
	}
	if got := spread(t, u, 10, nil); got[1] != 10 {
		t.Errorf("set healthy: %v", got)
	}
}

func TestThresholdMakesAllUnhealthy(t *testing.T) {
	t.Parallel()
	u := New(balanced(BalancerSpec{Algorithm: "round-robin", Targets: targets(1, 1, 2), Health: HealthSpec{
		Threshold: 50, Passive: PassiveSpec{TCPFailures: 1},
	}}), nil)
	n := NewNetwork(NetworkOptions{})
	spread(t, u, 1, nil)
	u.balancer.SetHealth(t.Context(), n, "10.0.0.1", 80, netip.AddrPort{}, false)
	spread(t, u, 1, nil) // 75 % is enough
	u.balancer.SetHealth(t.Context(), n, "10.0.0.2", 80, netip.AddrPort{}, false)
	if _, err := u.Next(t.Context, n, &Pick{}, epoch); !errors.Is(err, ErrNoPeer) {
		t.Errorf("at 50 %%: %v", err)
	}
}

func TestActiveHealth(t *testing.T) {
	t.Parallel()
	var status atomic.Int32
	status.Store(503)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/up" || r.Header.Get("X-Probe") != "1" {
			w.WriteHeader(404)
			return
		}
		w.WriteHeader(int(status.Load()))
	}))
	t.Cleanup(s.Close)
	ap := netip.MustParseAddrPort(s.Listener.Addr().String())
	u := New(balanced(BalancerSpec{Algorithm: "round-robin", Targets: []TargetSpec{{Host: ap.Addr().String(), Port: int(ap.Port()), Weight: 1}}, Health: HealthSpec{
		Active: ActiveSpec{Type: "http", Path: "/up", Timeout: time.Second, Concurrency: 1, Headers: map[string][]string{"X-Probe": {"1"}},
			HealthyInterval: time.Millisecond, UnhealthyInterval: time.Millisecond, Healthy: []int{200}, Unhealthy: []int{503}, Successes: 1, HTTPFailures: 2},
	}}), nil)
	if !u.balancer.Probes() {
		t.Fatal("not probed")
	}
	n := NewNetwork(NetworkOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- u.balancer.Probe(ctx, n) }()
	wait := func(what string, ok func(error) bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			_, err := u.Next(t.Context, n, &Pick{}, time.Now())
			if ok(err) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s: still %v", what, err)
			}
		}
	}
	wait("unhealthy", func(err error) bool { return errors.Is(err, ErrNoPeer) })
	status.Store(200)
	wait("healthy again", func(err error) bool { return err == nil })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestNamesAreCached(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNames{}
		n := NewNetwork(NetworkOptions{Resolver: f})
		u := New(&Spec{Protocol: "http", Host: "a.test", Port: 81}, nil)
		next := func() string {
			peer, err := u.Next(t.Context, n, &Pick{}, time.Now())
			if err != nil {
				return err.Error()
			}
			return peer.Addr.String() + " " + peer.Host
		}
		f.set("a.test", nil, "10.0.0.1", "10.0.0.2")
		if a, b, c := next(), next(), next(); a != "10.0.0.1:81 a.test" || b != "10.0.0.2:81 a.test" || c != a {
			t.Errorf("turns = %q %q %q", a, b, c)
		}
		if f.asked != 1 {
			t.Errorf("asked %d times", f.asked)
		}
		// After its time an answer still serves, while the next one is sought.
		f.set("a.test", nil, "10.0.0.3")
		time.Sleep(nameTTL + time.Second)
		if a := next(); a[:8] != "10.0.0.1" && a[:8] != "10.0.0.2" {
			t.Errorf("stale = %q", a)
		}
		synctest.Wait()
		if a := next(); a != "10.0.0.3:81 a.test" {
			t.Errorf("fresh = %q", a)
		}
		// A server that fails does not take an answer away; a name that is gone does.
		f.set("a.test", errors.New("server misbehaving"))
		time.Sleep(nameTTL + time.Second)
		next()
		synctest.Wait()
		if a := next(); a != "10.0.0.3:81 a.test" {
			t.Errorf("while DNS fails = %q", a)
		}
		f.set("a.test", nil)
		time.Sleep(nameFailTTL + time.Second)
		next()
		synctest.Wait()
		if a := next(); a != "name resolution failed" {
			t.Errorf("gone = %q", a)
		}
	})
}

func TestNameErrors(t *testing.T) {
	t.Parallel()
	f := &fakeNames{}
	f.set("", errors.New("server misbehaving"))
	u := New(&Spec{Protocol: "http", Host: "a.test", Port: 81}, nil)
	_, err := u.Next(t.Context, NewNetwork(NetworkOptions{Resolver: f}), &Pick{}, epoch)
	var r *ResolveError
	if !errors.As(err, &r) || err.Error() != "failed the initial dns/balancer resolve for 'a.test' with: server misbehaving" {
		t.Errorf("error = %v", err)
	}
}

func TestLocalhostResolvesBySystem(t *testing.T) {
	t.Parallel()
	u := New(&Spec{Protocol: "http", Host: "localhost", Port: 81}, nil)
	peer, err := u.Next(t.Context, NewNetwork(NetworkOptions{}), &Pick{}, time.Now())
	if err != nil || !peer.Addr.Addr().IsLoopback() {
		t.Errorf("localhost = %v, %v", peer.Addr, err)
	}
}

func TestTargetsWithNamesFollowDNS(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNames{}
		f.set("t.test", nil, "10.0.0.1", "10.0.0.2")
		n := NewNetwork(NetworkOptions{Resolver: f})
		u := New(balanced(BalancerSpec{Algorithm: "round-robin", Targets: []TargetSpec{{Host: "t.test", Port: 8000, Weight: 10}}}), nil)
		seen := func() map[string]int {
			got := map[string]int{}
			for range 4 {
				peer, err := u.Next(t.Context, n, &Pick{}, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				got[peer.Addr.String()]++
			}
			return got
		}
		if got := seen(); got["10.0.0.1:8000"] != 2 || got["10.0.0.2:8000"] != 2 {
			t.Errorf("spread = %v", got)
		}
		f.set("t.test", nil, "10.0.0.3")
		time.Sleep(nameTTL + time.Second)
		seen() // stale, and asks
		synctest.Wait()
		time.Sleep(refreshEvery)
		if got := seen(); got["10.0.0.3:8000"] != 4 {
			t.Errorf("spread = %v", got)
		}
	})
}

func TestPoolBounds(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ap := netip.MustParseAddrPort(l.Addr().String())
	u := New(&Spec{Protocol: "http", Host: ap.Addr().String(), Port: int(ap.Port()), ConnectTimeout: time.Second}, nil)
	n := NewNetwork(NetworkOptions{})
	peer := Peer{Addr: ap}
	connect := func(fresh bool, now time.Time) *Conn {
		t.Helper()
		c, err := u.Connect(t.Context, n, &peer, "", fresh, false, now)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a := connect(false, epoch)
	if a.Reused {
		t.Error("the first connection is reused")
	}
	a.Release(epoch)
	if b := connect(false, epoch.Add(idleTimeout-1)); b != a || !b.Reused {
		t.Error("a young connection is not reused")
	}
	a.Release(epoch)
	if b := connect(false, epoch.Add(idleTimeout)); b == a {
		t.Error("an old connection is reused")
	} else {
		b.uses = maxUses - 1
		b.Release(epoch)
		if c := connect(false, epoch); c == b {
			t.Error("a worn connection is reused")
		} else {
			c.Release(epoch)
		}
	}
	// The peer closes: a checked connection is not the dead one.
	c := connect(false, epoch)
	for range 3 {
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	for end := time.Now().Add(10 * time.Second); c.Alive(false); {
		if time.Now().After(end) {
			t.Fatal("the end of the peer does not show")
		}
	}
	c.Release(epoch)
	if d := connect(false, epoch); d == c || d.Reused {
		t.Error("a dead connection is reused")
	} else {
		d.Release(epoch)
	}
	n.Sweep(epoch.Add(time.Hour))
	if len(n.pools) != 0 {
		t.Errorf("%d pools after a sweep", len(n.pools))
	}
	if e := connect(false, epoch); e.Reused {
		t.Error("a swept connection is reused")
	}
}

func TestDeadlineIsArmedRarely(t *testing.T) {
	t.Parallel()
	var d Deadline
	var set []time.Time
	arm := func(after, timeout time.Duration) {
		d.Arm(func(at time.Time) error { set = append(set, at); return nil }, epoch.Add(after), timeout)
	}
	arm(0, time.Minute)
	arm(time.Second, time.Minute)
	arm(2*time.Second, time.Minute)
	if len(set) != 1 || set[0] != epoch.Add(62*time.Second) {
		t.Errorf("armed %v", set)
	}
	arm(2*time.Second+1, time.Minute)
	if len(set) != 2 {
		t.Errorf("armed %v", set)
	}
	arm(3*time.Second, time.Second) // a short one is exact
	if len(set) != 3 || set[2] != epoch.Add(4*time.Second) {
		t.Errorf("armed %v", set)
	}
}

func TestAuthority(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{"a.test": "a.test:81", "10.0.0.1": "10.0.0.1:81", "::1": "[::1]:81", "[::1]": "[::1]:81", "": ":81"} {
		if got := authority(host, 81); got != want {
			t.Errorf("authority(%q) = %q, want %q", host, got, want)
		}
	}
}
