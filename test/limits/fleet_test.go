//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/test/services"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(gateVariable); text != "" {
		if err := beGate(text, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func dial(t testing.TB, url string) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(o)
	t.Cleanup(func() { c.Close() })
	return c
}

// second is the next start of a second that leaves gates time to start.
func second() time.Time { return time.Now().Add(lead + time.Second).Truncate(time.Second) }

func perSecond(n int64) []plugin.Window { return []plugin.Window{{Period: plugin.Second, Limit: n}} }

// TestFleetIsExact runs ten processes on one Redis and counts every request.
func TestFleetIsExact(t *testing.T) {
	for _, tt := range []struct {
		name  string
		limit int64
		rate  float64
		calls float64 // most, of 1000 requests
	}{
		{"a limit of which nothing is leased ahead", 100, 300, 1000},
		{"1000 in a second, 1.5 times", 1000, 1500, 400},
		{"50,000 in a second, 1.2 times", 50000, 60000, 5},
		{"100,000 in a second, half of it", 100000, 50000, 5},
	} {
		server := services.NewRedis(t)
		c := dial(t, server.URL)
		const seconds = 5
		o := orders{
			RedisURL: server.URL, Windows: perSecond(tt.limit), Tolerant: true, Rate: tt.rate,
			For: seconds*time.Second - 50*time.Millisecond, Patience: 2 * time.Second,
		}
		begin := second()
		r, err := runFleet(10, o, begin)
		if err != nil {
			t.Fatal(err)
		}
		check(t, tt.name, r, begin, seconds, tt.limit)
		calls, err := scriptCalls(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		per := 1000 * float64(calls) / float64(r.Requests)
		t.Logf("%s: %d requests, %.2f calls and %.2f leases of 1000, p50 %v, p99 %v",
			tt.name, r.Requests, per, 1000*float64(r.Asks)/float64(r.Requests), r.quantile(.5), r.quantile(.99))
		if per > tt.calls {
			t.Errorf("%s: %.2f calls of 1000 requests, want at most %v", tt.name, per, tt.calls)
		}
	}
}

// check sees that every window admitted what it could and nothing above its limit, and that
// what was charged to it came in it, but for the error of clocks.
func check(t *testing.T, name string, r *report, begin time.Time, seconds int, limit int64) {
	t.Helper()
	if r.InOutage != 0 || r.Errors != 0 {
		t.Errorf("%s: %d admitted in outages, %d errors, want none", name, r.InOutage, r.Errors)
	}
	for w, c := range r.Charged {
		if c.Admitted > limit {
			t.Errorf("%s: %d admitted in second %d, want at most %d", name, c.Admitted, w-begin.Unix(), limit)
		}
	}
	for i := range seconds {
		c := r.Charged[begin.Unix()+int64(i)]
		if want := min(limit, c.Offered); c.Admitted != want {
			t.Errorf("%s: second %d: offered %d, admitted %d, want %d", name, i, c.Offered, c.Admitted, want)
		}
		// By this machine's clock the windows are as Redis has them to within a millisecond
		// or so; on a busy machine requests are decided late.
		came := r.Came[begin.Unix()+int64(i)]
		t.Logf("%s: second %d: offered %d, charged %d, admitted by clock %d", name, i, c.Offered, c.Admitted, came.Admitted)
	}
}

func pid(t *testing.T, c *redis.Client) int {
	t.Helper()
	text, err := c.Info(context.Background(), "server").Result()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(text, "process_id:")
	id, _, _ := strings.Cut(rest, "\r")
	n, err := strconv.Atoi(id)
	if err != nil || n <= 1 {
		t.Fatalf("process id %q: %v", id, err)
	}
	return n
}

// TestChaos does to Redis what happens to it while ten gates ask, and holds what is admitted
// to the bound of the mode.
func TestChaos(t *testing.T) {
	const limit, rate, seconds, gates = 2000, 4000, 10, 10
	tests := []struct {
		name string
		harm func(t *testing.T, s *services.RedisServer, c *redis.Client)
		mend func(t *testing.T, s *services.RedisServer, pid int)
		lost bool // counters
	}{
		{"killed", func(t *testing.T, s *services.RedisServer, _ *redis.Client) { s.Kill(t) },
			func(t *testing.T, s *services.RedisServer, _ int) { s.Start(t) }, true},
		{"frozen", func(t *testing.T, _ *services.RedisServer, c *redis.Client) { stopProcess(t, pid(t, c)) },
			func(t *testing.T, _ *services.RedisServer, id int) { continueProcess(t, id) }, false},
		{"flushed", func(t *testing.T, _ *services.RedisServer, c *redis.Client) {
			if err := c.FlushAll(context.Background()).Err(); err != nil {
				t.Error(err)
			}
		}, func(*testing.T, *services.RedisServer, int) {}, true},
	}
	for _, tt := range tests {
		server := services.NewRedis(t)
		c := dial(t, server.URL)
		id := pid(t, c)
		begin := second()
		done := make(chan struct{})
		go func() {
			defer close(done)
			// The load runs by the clock, and so does what is done to Redis.
			time.Sleep(time.Until(begin.Add(2500 * time.Millisecond)))
			tt.harm(t, server, c)
			time.Sleep(time.Until(begin.Add(6500 * time.Millisecond)))
			tt.mend(t, server, id)
		}()
		r, err := runFleet(gates, orders{
			RedisURL: server.URL, Windows: perSecond(limit), Tolerant: true, Rate: rate,
			For: seconds*time.Second - 50*time.Millisecond,
		}, begin)
		<-done
		if err != nil {
			t.Fatal(err)
		}
		judge(t, tt.name, r, begin, seconds, limit, tt.lost)
	}
}

func stopProcess(t *testing.T, id int) {
	t.Helper()
	if err := syscall.Kill(id, syscall.SIGSTOP); err != nil {
		t.Error(err)
	}
}

func continueProcess(t *testing.T, id int) {
	t.Helper()
	if err := syscall.Kill(id, syscall.SIGCONT); err != nil {
		t.Error(err)
	}
}

func judge(t *testing.T, name string, r *report, begin time.Time, seconds int, limit int64, lost bool) {
	t.Helper()
	if r.Errors != 0 {
		t.Errorf("%s: %d requests got an error, want none", name, r.Errors)
	}
	for i := range seconds {
		c := r.Charged[begin.Unix()+int64(i)]
		t.Logf("%s: second %d: offered %d, admitted %d", name, i, c.Offered, c.Admitted)
		switch {
		case i >= 3 && i <= 5 && c.Admitted > limit: // away for the whole window: equal shares
			t.Errorf("%s: second %d admitted %d, want at most the shares' sum %d", name, i, c.Admitted, limit)
		case (i == 0 || i == 1 || i == 9) && c.Admitted != limit:
			t.Errorf("%s: second %d admitted %d, want %d", name, i, c.Admitted, limit)
		case c.Admitted > 2*limit:
			t.Errorf("%s: second %d admitted %d, want at most twice the limit", name, i, c.Admitted)
		case c.Admitted < limit/2:
			t.Errorf("%s: second %d admitted %d, want most of what it may", name, i, c.Admitted)
		}
	}
	p99, p999 := r.quantile(.99), r.quantile(.999)
	t.Logf("%s: %d requests, %d admitted in outages, p50 %v p99 %v p99.9 %v", name, r.Requests, r.InOutage, r.quantile(.5), p99, p999)
	_ = lost
}
