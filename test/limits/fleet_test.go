//go:build unix

package main

import (
	"cmp"
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
	"github.com/sekifuda/sekifuda/test/stack"
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

// full reports whether all is run: make limits does. Ten processes that keep a rate and a
// Redis that is found away within milliseconds need the machine for themselves.
func full() bool { return os.Getenv("SEKI_LIMITS_FULL") != "" }

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
	type row struct {
		name  string
		limit int64
		rate  float64
		calls float64 // most, of 1000 requests
	}
	rows := []row{
		{"a limit of which nothing is leased ahead", 100, 300, 1000},
		{"1000 in a second, 1.5 times", 1000, 1500, 400},
	}
	if full() {
		rows = append(rows, row{"50,000 in a second, 1.2 times", 50000, 60000, 5},
			row{"100,000 in a second, half of it", 100000, 50000, 5}, row{"100,000 in a second, 1.2 times", 100000, 120000, 2.5})
	}
	for _, tt := range rows {
		server := services.NewRedis(t)
		c := dial(t, server.URL)
		const seconds = 5
		o := orders{
			RedisURL: server.URL, Windows: perSecond(tt.limit), Rate: tt.rate,
			For: seconds*time.Second - 50*time.Millisecond,
		}
		if !full() {
			o.Patience = 2 * time.Second // other tests share the machine
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

// TestWaysSideBySide puts the same load on one Redis in three ways, and holds leases to what they
// are for: no more than the limit, and fewer calls than the others that keep it.
func TestWaysSideBySide(t *testing.T) {
	if !full() {
		t.Skip("run by make limits")
	}
	const seconds = 4
	for _, row := range []struct {
		limit int64
		rate  float64
	}{{1000, 1500}, {10000, 12000}} {
		var leases, each float64
		for _, way := range []string{"", eachRequest, delta} {
			server := services.NewRedis(t)
			begin := second()
			r, err := runFleet(10, orders{
				RedisURL: server.URL, Windows: perSecond(row.limit), Rate: row.rate, Way: way,
				For: seconds*time.Second - 50*time.Millisecond,
			}, begin)
			if err != nil {
				t.Fatal(err)
			}
			calls, err := countCalls(context.Background(), dial(t, server.URL), "evalsha", "eval", "incrby")
			if err != nil {
				t.Fatal(err)
			}
			var over, worst int64
			for _, c := range r.Charged {
				over += max(0, c.Admitted-row.limit)
				worst = max(worst, c.Admitted-row.limit)
			}
			per := 1000 * float64(calls) / float64(r.Requests)
			t.Logf("%d in a second, %.0f offered: %-22s %.2f calls of 1000 requests, p50 %v, p99 %v, %.2f %% above the limit, worst second %.2f %%, %d errors",
				row.limit, row.rate, cmp.Or(way, "leases")+":", per, r.quantile(.5), r.quantile(.99),
				100*float64(over)/float64(seconds*row.limit), 100*float64(worst)/float64(row.limit), r.Errors)
			switch way {
			case "":
				leases = per
				if over > 0 {
					t.Errorf("leases admitted %d above the limit", over)
				}
			case eachRequest:
				each = per
			}
		}
		if leases > each/2 {
			t.Errorf("leases ask %.1f times for 1000 requests, INCR %.1f times", leases, each)
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
		// By the limiter's clock, which is Redis's. What came after the load's end came late, on
		// a busy machine.
		due, late := r.due(w, limit), w >= begin.Unix()+int64(seconds)
		if c.Admitted > due || c.Admitted < due && !late {
			t.Errorf("%s: second %d: offered %d, admitted %d, want %d", name, w-begin.Unix(), c.Offered, c.Admitted, due)
		}
	}
	for i := range seconds {
		w := begin.Unix() + int64(i)
		if r.Charged[w].Offered == 0 {
			t.Errorf("%s: nothing was offered in second %d", name, i)
		}
		// By this machine's clock the windows are as Redis has them to within a millisecond
		// or so; on a busy machine requests are decided late.
		t.Logf("%s: second %d: offered %d, charged %d, admitted by clock %d",
			name, i, r.Charged[w].Offered, r.Charged[w].Admitted, r.Came[w].Admitted)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
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

// harm is what happens to a Redis and how it ends.
type harm struct {
	name string
	do   func(*testing.T, *patient)
	undo func(*testing.T, *patient)
	most int64 // of the windows in which it begins and ends, in hundredths of the limit
	away bool  // Redis does not answer meanwhile
}

type patient struct {
	server *services.RedisServer
	proxy  *stack.Relay
	client *redis.Client
	pid    int
}

var harms = []harm{
	{"killed", func(t *testing.T, p *patient) { p.server.Kill(t) }, func(t *testing.T, p *patient) { p.server.Start(t) }, 200, true},
	{"frozen", func(t *testing.T, p *patient) { signal(t, p.pid, syscall.SIGSTOP) }, func(t *testing.T, p *patient) { signal(t, p.pid, syscall.SIGCONT) }, 200, true},
	{"slow by 2 s", func(_ *testing.T, p *patient) { p.proxy.Delay(2 * time.Second) }, func(_ *testing.T, p *patient) { p.proxy.Delay(0) }, 200, true},
	{"flushed", func(t *testing.T, p *patient) {
		if err := p.client.FlushAll(context.Background()).Err(); err != nil {
			t.Error(err)
		}
	}, func(*testing.T, *patient) {}, 200, false},
}

// TestChaos does to Redis what happens to it while ten gates ask, and holds what is admitted
// to the bound of the mode.
func TestChaos(t *testing.T) {
	if !full() {
		t.Skip("run by make limits")
	}
	const limit, rate, seconds, gates = 2000, 3000, 10, 10
	for _, h := range harms {
		p := &patient{server: services.NewRedis(t)}
		p.proxy, p.client = stack.NewRelay(t, p.server.URL), dial(t, p.server.URL)
		p.pid = pid(t, p.client)
		begin := second()
		done := make(chan struct{})
		go func() {
			defer close(done)
			// The load runs by the clock, and so does what is done to Redis.
			time.Sleep(time.Until(begin.Add(2300 * time.Millisecond)))
			h.do(t, p)
			time.Sleep(time.Until(begin.Add(6300 * time.Millisecond)))
			h.undo(t, p)
		}()
		r, err := runFleet(gates, orders{
			RedisURL: p.proxy.URL(t, p.server.URL), Windows: perSecond(limit), Rate: rate,
			For: seconds*time.Second - 50*time.Millisecond, WatchFrom: 3 * time.Second, WatchTo: 6 * time.Second,
		}, begin)
		<-done
		if err != nil {
			t.Fatal(err)
		}
		judge(t, h, r, begin, limit)
	}
}

func signal(t *testing.T, id int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(id, s); err != nil {
		t.Error(err)
	}
}

// judge holds the harm from 2.3 s to 6.3 s to its bounds: whole windows without Redis admit
// the sum of equal shares, which is the limit; the windows in which it goes and comes back
// at most twice the limit; all others the limit.
func judge(t *testing.T, h harm, r *report, begin time.Time, limit int64) {
	t.Helper()
	if r.Errors != 0 {
		t.Errorf("%s: %d requests got an error, want none", h.name, r.Errors)
	}
	for i := range int64(10) {
		c := r.Charged[begin.Unix()+i]
		t.Logf("%s: second %d: offered %d, admitted %d", h.name, i, c.Offered, c.Admitted)
		most, least := limit, limit
		switch i {
		case 2, 6, 7:
			most, least = h.most*limit/100, limit/2
		case 3, 4, 5, 8:
			least = limit * 9 / 10
		}
		if c.Admitted > most || c.Admitted < least {
			t.Errorf("%s: second %d admitted %d, want %d to %d", h.name, i, c.Admitted, least, most)
		}
	}
	watched := report{Latencies: r.Watched}
	p99 := watched.quantile(.99)
	t.Logf("%s: %d requests, %d admitted in outages; all: p50 %v p99 %v p99.9 %v; while away: p50 %v p99 %v p99.9 %v", h.name,
		r.Requests, r.InOutage, r.quantile(.5), r.quantile(.99), r.quantile(.999), watched.quantile(.5), p99, watched.quantile(.999))
	if h.away && p99 > time.Millisecond {
		t.Errorf("%s: p99 while Redis is away is %v, want at most 1 ms", h.name, p99)
	}
}
