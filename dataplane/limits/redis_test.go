//go:build unix

package limits

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/test/services"
)

// empty returns a database of the test's own.
func empty(t testing.TB) plugin.Redis { return read(t, services.Redis(t)) }

func read(t testing.TB, address string) plugin.Redis {
	t.Helper()
	o, err := redis.ParseURL(address)
	if err != nil {
		t.Fatal(err)
	}
	return plugin.Redis{Addr: o.Addr, Username: o.Username, Password: o.Password, DB: o.DB}
}

func connect(t *testing.T, r plugin.Redis) redis.UniversalClient {
	t.Helper()
	client := dial(r)
	t.Cleanup(func() { client.Close() })
	return client
}

// yearly is a rule of windows that do not end during a test, but at a new year.
func yearly(r plugin.Redis, limit int64) plugin.Rule {
	return plugin.Rule{
		ID:      "ratelimit:r:s",
		Windows: []plugin.Window{{Period: plugin.Month, Limit: 10 * limit}, {Period: plugin.Year, Limit: limit}},
		Redis:   &r,
	}
}

func TestRedisIsExactOverNodes(t *testing.T) {
	t.Parallel()
	server := empty(t)
	const limit, nodes, workers, each = 200, 3, 4, 40
	var admitted atomic.Int64
	var seen sync.Map
	var wg sync.WaitGroup
	for range nodes {
		l := limiter(t, build(t, Options{}), yearly(server, limit))
		for range workers {
			wg.Go(func() {
				for range each {
					var d plugin.Decision
					if err := l.Take(context.Background, "a", 1, &d); err != nil {
						t.Error(err)
						return
					}
					if d.Allowed {
						admitted.Add(1)
						if _, twice := seen.LoadOrStore(d.Remaining[1], true); twice {
							t.Errorf("remaining %d was told twice", d.Remaining[1])
						}
					}
				}
			})
		}
	}
	wg.Wait()
	if got := admitted.Load(); got != limit {
		t.Errorf("admitted %d, want %d", got, limit)
	}
	client := connect(t, server)
	keys, err := client.Keys(context.Background(), "*").Result()
	if err != nil || len(keys) != 2 {
		t.Fatalf("keys = %v, %v, want one for each window", keys, err)
	}
	for _, key := range keys {
		if n, err := client.Get(context.Background(), key).Int64(); err != nil || n != limit {
			t.Errorf("%s = %d, %v, want %d: all windows are charged, or none", key, n, err, limit)
		}
		if ttl := client.TTL(context.Background(), key).Val(); ttl <= 0 || ttl > 366*24*time.Hour+linger {
			t.Errorf("%s lives for %v, want to the end of its window", key, ttl)
		}
	}
}

// TestRedisWindowsFollowItsClock has gates whose clocks are years off count with one that is
// right.
func TestRedisWindowsFollowItsClock(t *testing.T) {
	t.Parallel()
	server := empty(t)
	for i, off := range []time.Duration{0, -500 * 24 * time.Hour, 500 * 24 * time.Hour} {
		l := limiter(t, build(t, Options{Clock: newClock(time.Now().Add(off)).now}), yearly(server, 5))
		d := take(t, l, "a")
		if !d.Allowed || d.Remaining[1] != int64(4-i) || time.Since(d.Now).Abs() > time.Minute {
			t.Errorf("off by %v: %+v, want %d left at the time of Redis", off, d, 4-i)
		}
	}
}

func TestRedisThatLostItsScriptsIsTaughtAgain(t *testing.T) {
	t.Parallel()
	server := empty(t)
	l := limiter(t, build(t, Options{}), yearly(server, 5))
	take(t, l, "a")
	client := connect(t, server)
	if err := client.ScriptFlush(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	if d := take(t, l, "a"); d.Remaining[1] != 3 {
		t.Errorf("Take = %+v, want 3 left", d)
	}
}

func TestSharedStoreIsForRulesThatNameNone(t *testing.T) {
	t.Parallel()
	server := services.Redis(t)
	all := build(t, Options{RedisURL: server})
	rule := yearly(plugin.Redis{}, 5)
	take(t, limiter(t, all, rule), "a")
	if d := take(t, limiter(t, build(t, Options{RedisURL: server}), rule), "a"); d.Remaining[1] != 3 {
		t.Errorf("a second gate: %+v, want 3 left", d)
	}
	if d := take(t, limiter(t, build(t, Options{}), rule), "a"); d.Remaining[1] != 4 {
		t.Errorf("a gate without a store: %+v, want counts of its own", d)
	}
}

func TestClientsAreSharedByServer(t *testing.T) {
	t.Parallel()
	all := build(t, Options{})
	for i, r := range []plugin.Redis{
		{Addr: "127.0.0.1:1"}, {Addr: "127.0.0.1:1", Timeout: time.Second}, {Addr: "127.0.0.1:1", DB: 1},
		{Addr: "127.0.0.1:1", Password: "p"}, {Addr: "127.0.0.1:1", TLS: true},
	} {
		limiter(t, all, yearly(r, int64(i+1)))
	}
	if got := len(all.stores); got != 4 {
		t.Errorf("%d clients, want 4", got)
	}
}

// TestADeadRedisCostsNothing has nothing listen at the address, then a server that accepts
// and never answers.
func TestADeadRedisCostsNothing(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, addr := range []string{silent.Addr().String(), closed.Addr().String()} {
		rule := yearly(plugin.Redis{Addr: addr}, 1)
		rule.Redis.Timeout = 50 * time.Millisecond
		rule.FaultTolerant = true
		l := limiter(t, build(t, Options{}), rule)
		start := time.Now()
		for i := range 1000 {
			if d := take(t, l, strconv.Itoa(i)); !d.Allowed || d.Counted {
				t.Fatalf("%s: %+v, want it admitted uncounted", addr, d)
			}
		}
		// Three timeouts, then none: a second for each request would be 50 s.
		if spent := time.Since(start); spent > 10*time.Second {
			t.Errorf("%s: 1000 requests waited %v", addr, spent)
		}
	}
}

func TestRunProbesAndCloses(t *testing.T) {
	t.Parallel()
	server := empty(t)
	all := build(t, Options{})
	rule := yearly(server, 5)
	rule.FaultTolerant = true
	l := limiter(t, all, rule)
	s := all.storeOf(rule)
	for range failures {
		s.breaker.failed(time.Now())
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- all.Run(ctx) }()
	for deadline := time.Now().Add(10 * time.Second); s.breaker.isOpen(); {
		if time.Now().After(deadline) {
			t.Fatal("the probe did not close the breaker")
		}
		time.Sleep(time.Millisecond)
	}
	if d := take(t, l, "a"); !d.Counted {
		t.Errorf("Take = %+v, want it counted", d)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
	if d := take(t, l, "b"); d.Counted {
		t.Error("a closed client still counts")
	}
}

// TestOutage kills a Redis under two rules of which one is tolerant, and starts it again.
func TestOutage(t *testing.T) {
	t.Parallel()
	server := services.NewRedis(t)
	all := build(t, Options{})
	rule := yearly(read(t, server.URL), 5)
	strict := limiter(t, all, rule)
	rule.FaultTolerant = true
	tolerant := limiter(t, all, rule)
	if d := take(t, tolerant, "a"); !d.Counted {
		t.Fatalf("Take = %+v, want it counted", d)
	}
	server.Kill(t)
	for range 2 * failures {
		if d := take(t, tolerant, "a"); !d.Allowed || d.Counted {
			t.Errorf("tolerant: %+v, want it admitted uncounted", d)
		}
	}
	var d plugin.Decision
	if err := strict.Take(context.Background, "a", 1, &d); err == nil || d.Allowed {
		t.Errorf("strict: %+v, %v, want an error", d, err)
	}
	if !all.storeOf(rule).breaker.isOpen() {
		t.Error("the breaker is closed after failures in a row")
	}
	server.Start(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- all.Run(ctx) }()
	for deadline := time.Now().Add(time.Minute); !take(t, tolerant, "a").Counted; {
		if time.Now().After(deadline) {
			t.Fatal("Redis is back and not used")
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
}

// TestRedisAnswersErrors has a counter that is no number, and a command that is not allowed.
func TestRedisAnswersErrors(t *testing.T) {
	t.Parallel()
	server := empty(t)
	client, ctx := connect(t, server), context.Background()
	all := build(t, Options{Logger: slog.New(slog.DiscardHandler)})
	l := limiter(t, all, yearly(server, 5))
	take(t, l, "a")
	keys, err := client.Keys(ctx, "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if err := client.Set(ctx, k, "many", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 * failures {
		var d plugin.Decision
		err := l.Take(context.Background, "a", 1, &d)
		if !errors.Is(err, errAnswered) || !strings.Contains(err.Error(), "is not a number") {
			t.Fatalf("Take = %v, want what Redis said", err)
		}
	}
	if d := take(t, l, "b"); !d.Counted {
		t.Errorf("another identifier: %+v, want it counted", d)
	}
}

// TestARefusedConnectionCountsAsNoAnswer has a password and a database that Redis refuses.
func TestARefusedConnectionCountsAsNoAnswer(t *testing.T) {
	t.Parallel()
	locked := services.NewRedis(t)
	client := connect(t, read(t, locked.URL))
	if err := client.ConfigSet(context.Background(), "requirepass", "right").Err(); err != nil {
		t.Fatal(err)
	}
	wrong := read(t, locked.URL)
	wrong.Password = "wrong"
	far := empty(t)
	far.DB = 1 << 20
	for name, server := range map[string]plugin.Redis{
		"no password": read(t, locked.URL), "wrong": wrong, "no such database": far,
	} {
		all := build(t, Options{Logger: slog.New(slog.DiscardHandler)})
		rule := yearly(server, 5)
		rule.FaultTolerant = true
		l := limiter(t, all, rule)
		for range failures {
			if d := take(t, l, "a"); !d.Allowed || d.Counted {
				t.Errorf("%s: %+v, want it admitted uncounted", name, d)
			}
		}
		if !all.storeOf(rule).breaker.isOpen() {
			t.Errorf("%s: the breaker is closed", name)
		}
	}
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for _, good := range []string{
		"redis://h.test:6379", "rediss://u:p@h.test/2", "unix:///run/redis.sock",
		"redis://h1.test:6379?addr=h2.test:6379", "redis://h.test:26379?master_name=m",
	} {
		if _, err := New(Options{RedisURL: good}); err != nil {
			t.Errorf("New(%q) = %v", good, err)
		}
	}
	for _, bad := range []string{"http://h.test", "::", "redis://h.test/x"} {
		if _, err := New(Options{RedisURL: bad}); err == nil {
			t.Errorf("New(%q) = nil, want an error", bad)
		}
	}
}

func TestAURLThatCannotBeReadKeepsItsPassword(t *testing.T) {
	t.Parallel()
	_, err := New(Options{RedisURL: "redis://u:hunter2@h.test:port/0"})
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "port") {
		t.Errorf("New = %v, want an error about the port, without the password", err)
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add(int64(1), int64(1700000000000), int64(3), 3)
	f.Add(int64(-1), int64(0), int64(0), 2)
	f.Add(int64(0), int64(0), int64(0), 0)
	f.Fuzz(func(t *testing.T, a, b, c int64, n int) {
		all := []int64{a, b, c, c, c, c, c, c, c}
		answer := all[:max(0, min(n, len(all)))]
		ch := charge{windows: make([]span, 1)}
		if err := ch.read(answer); err == nil && len(answer) != 3 {
			t.Errorf("read(%v) = nil, want an error", answer)
		}
	})
}

func BenchmarkTakeRedisRefused(b *testing.B) {
	c := newClock(dawn)
	l := newRemote(node(newDesk(c.now), c), shared(1))
	for range 2 {
		take(b, l, "a")
	}
	b.ReportAllocs()
	for b.Loop() {
		take(b, l, "a")
	}
}

// BenchmarkTakeRedis is what a request costs that must ask, one after another.
func BenchmarkTakeRedis(b *testing.B) {
	l := limiter(b, build(b, Options{}), yearly(empty(b), 1<<40))
	take(b, l, "a")
	b.ReportAllocs()
	for b.Loop() {
		take(b, l, "a")
	}
}
