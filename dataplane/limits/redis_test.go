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

	"github.com/sekifuda/sekifuda/dataplane/limits/ledger"
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
		Outage:  plugin.Closed,
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
	keys, err := client.Keys(context.Background(), "*:ratelimit:*").Result()
	if err != nil || len(keys) != 2 {
		t.Fatalf("keys = %v, %v, want one for each window", keys, err)
	}
	for _, key := range keys {
		if n, err := client.HGet(context.Background(), key, "g").Int64(); err != nil || n != limit {
			t.Errorf("%s = %d, %v, want %d: all windows are charged, or none", key, n, err, limit)
		}
		if ttl := client.TTL(context.Background(), key).Val(); ttl <= 0 || ttl > 366*24*time.Hour+2*time.Minute {
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
		rule.Outage = plugin.EqualShare
		l := limiter(t, build(t, Options{Patience: 20 * time.Millisecond}), rule)
		start := time.Now()
		for i := range 1000 {
			if d := take(t, l, strconv.Itoa(i)); !d.Allowed || d.Remaining[1] != 0 {
				t.Fatalf("%s: %+v, want it admitted as this gate's share", addr, d)
			}
			if d := take(t, l, strconv.Itoa(i)); d.Allowed || d.Stop != 1 {
				t.Fatalf("%s: %+v, want it refused above this gate's share", addr, d)
			}
		}
		// Half a second for a connection, then nothing: 20 ms for each request would be 20 s.
		if spent := time.Since(start); spent > 10*time.Second {
			t.Errorf("%s: 2000 requests waited %v", addr, spent)
		}
	}
}

// run runs all until the test ends.
func run(t *testing.T, all *Limits) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- all.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = stop() })
	return stop
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestOutage kills a Redis under two rules of which one is tolerant, and starts it again.
func TestOutage(t *testing.T) {
	t.Parallel()
	server := services.NewRedis(t)
	all := build(t, Options{Patience: 200 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	rule := yearly(read(t, server.URL), 5)
	strict := limiter(t, all, rule)
	rule.ID, rule.Outage = "tolerant", plugin.EqualShare
	tolerant := limiter(t, all, rule)
	stop := run(t, all)
	if d := take(t, tolerant, "a"); !d.Counted || d.Remaining[1] != 4 {
		t.Fatalf("Take = %+v, want it counted", d)
	}
	server.Kill(t)
	for i := range 10 {
		if d := take(t, tolerant, "a"); d.Allowed != (i < 4) || !d.Counted {
			t.Errorf("tolerant, request %d of the outage: %+v, want what was left admitted", i, d)
		}
	}
	var d plugin.Decision
	if err := strict.Take(context.Background, "a", 1, &d); !errors.Is(err, ledger.ErrAway) || d.Allowed {
		t.Errorf("strict: %+v, %v, want an error", d, err)
	}
	if s := all.Stats()[0]; !s.Down || s.Admitted != 4 || s.Outages != 1 {
		t.Errorf("Stats = %+v, want 4 admitted in an outage", s)
	}
	server.Start(t)
	eventually(t, "Redis is used again", func() bool { return !all.Stats()[0].Down })
	// It came back empty: what was admitted before and meanwhile is asserted.
	client := connect(t, read(t, server.URL))
	eventually(t, "the debt is charged", func() bool {
		keys := client.Keys(context.Background(), "*:tolerant|a:year:*").Val()
		return len(keys) == 1 && client.HGet(context.Background(), keys[0], "g").Val() == "5"
	})
	if d := take(t, tolerant, "a"); d.Allowed {
		t.Errorf("after the outage: %+v, want it refused", d)
	}
	if err := stop(); err != nil {
		t.Errorf("Run = %v", err)
	}
}

// TestRedisAnswersErrors has a counter that is no hash.
func TestRedisAnswersErrors(t *testing.T) {
	t.Parallel()
	server := empty(t)
	client, ctx := connect(t, server), context.Background()
	all := build(t, Options{Logger: slog.New(slog.DiscardHandler)})
	l := limiter(t, all, yearly(server, 5))
	take(t, l, "a")
	keys, err := client.Keys(ctx, "*:ratelimit:*").Result()
	if err != nil || len(keys) != 2 {
		t.Fatal(keys, err)
	}
	for _, k := range keys {
		if err := client.Set(ctx, k, "many", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for range 6 {
		var d plugin.Decision
		if err := l.Take(context.Background, "a", 1, &d); !errors.Is(err, ledger.ErrAway) || d.Allowed {
			t.Fatalf("Take = %+v, %v, want an error", d, err)
		}
	}
	if d := take(t, l, "b"); !d.Counted || !d.Allowed {
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
		rule := yearly(server, 2)
		rule.Outage = plugin.EqualShare
		l := limiter(t, all, rule)
		for i := range 3 {
			if d := take(t, l, "a"); d.Allowed != (i < 2) {
				t.Errorf("%s: request %d: %+v, want the share of one gate admitted", name, i, d)
			}
		}
		if !all.Stats()[0].Down {
			t.Errorf("%s: taken for well", name)
		}
	}
}

// TestAClosedStoreDecidesAlone takes after Run has ended.
func TestAClosedStoreDecidesAlone(t *testing.T) {
	t.Parallel()
	all := build(t, Options{Logger: slog.New(slog.DiscardHandler)})
	rule := yearly(empty(t), 5)
	rule.Outage = plugin.EqualShare
	l := limiter(t, all, rule)
	stop := run(t, all)
	take(t, l, "a")
	if err := stop(); err != nil {
		t.Errorf("Run = %v", err)
	}
	if d := take(t, l, "b"); !d.Allowed || !all.Stats()[0].Down {
		t.Errorf("Take = %+v, want it admitted as this gate's share", d)
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

func TestARefusalAndALeaseDoNotAllocate(t *testing.T) {
	server := empty(t)
	one, many := limiter(t, build(t, Options{}), yearly(server, 1)), limiter(t, build(t, Options{}), yearly(server, 1<<40))
	for range 2 {
		take(t, one, "a")
		take(t, many, "b")
	}
	for name, tt := range map[string]struct {
		l       plugin.Limiter
		id      string
		allowed bool
	}{"refusal": {one, "a", false}, "lease": {many, "b", true}} {
		var d plugin.Decision
		n := testing.AllocsPerRun(100, func() { _ = tt.l.Take(context.Background, tt.id, 1, &d) })
		if n != 0 || d.Allowed != tt.allowed {
			t.Errorf("%s: Take allocates %v times, %+v, want 0", name, n, d)
		}
	}
}

func BenchmarkTakeRefused(b *testing.B) {
	l := limiter(b, build(b, Options{}), yearly(empty(b), 1))
	take(b, l, "a")
	take(b, l, "a")
	var d plugin.Decision
	b.ReportAllocs()
	for b.Loop() {
		_ = l.Take(context.Background, "a", 1, &d)
	}
}

// BenchmarkTakeLeased is what a request costs that has tokens here, through the limiter.
func BenchmarkTakeLeased(b *testing.B) {
	l := limiter(b, build(b, Options{}), yearly(empty(b), 1<<48))
	take(b, l, "a")
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		var d plugin.Decision
		for p.Next() {
			if _ = l.Take(context.Background, "a", 1, &d); !d.Allowed {
				b.Error("refused")
				return
			}
		}
	})
}

// BenchmarkTakeRedis is what a request costs that must ask, one after another.
func BenchmarkTakeRedis(b *testing.B) {
	l := limiter(b, build(b, Options{}), yearly(empty(b), 200))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		take(b, l, strconv.Itoa(i/200))
	}
}
