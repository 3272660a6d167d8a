//go:build unix

package limits

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/plugin"
)

// hostile are identifiers as clients may send them in a header.
var hostile = []string{
	"", strings.Repeat("x", 1<<20), "a|b:{c}\r\n\x00", "*", "{rl1}", "seki:{rl1}:r|k:year:1", "reset seki:{rl1}:r|k:year:1", "\xff\xfe", "k:slots",
}

// TestLimitsHereAtTheirEnds has limits of nothing, of one and of 10^12 in windows from a second to
// a year.
func TestLimitsHereAtTheirEnds(t *testing.T) {
	t.Parallel()
	all := build(t, Options{Clock: newClock(dawn).now})
	for p := plugin.Second; p <= plugin.Year; p++ {
		for _, limit := range []int64{0, 1, 1e12, maxLimit} {
			rule := plugin.Rule{ID: fmt.Sprint(p, limit), Windows: []plugin.Window{{Period: p, Limit: limit}}}
			l := limiter(t, all, rule)
			for _, id := range hostile {
				var d plugin.Decision
				if err := l.Take(context.Background, id, limit, &d); err != nil || !d.Allowed {
					t.Errorf("all %d of a %s at once: %+v, %v", limit, p, d, err)
				}
				for _, n := range []int64{1, maxLimit, 1<<63 - 1} {
					if err := l.Take(context.Background, id, n, &d); err != nil || d.Allowed || d.Remaining[0] != 0 {
						t.Errorf("%d above the %d of a %s: %+v, %v", n, limit, p, d, err)
					}
				}
			}
		}
	}
}

// TestHostileIdentifiersDoNotMeet has each reserve and run on its own, here and in Redis.
func TestHostileIdentifiersDoNotMeet(t *testing.T) {
	t.Parallel()
	for name, r := range stores(t) {
		all := build(t, Options{})
		slots := slotsOf(t, all, plugin.SlotRule{Limit: 1, Redis: r})
		l := limiter(t, all, plugin.Rule{ID: "r", Windows: []plugin.Window{{Period: plugin.Year, Limit: 1}}, Redis: r})
		for _, id := range hostile {
			for i := range 2 {
				if _, d := acquire(t, slots, id); d.Allowed != (i == 0) {
					t.Errorf("%s: slot %d of %d bytes: %+v", name, i, len(id), d)
				}
				var d plugin.Decision
				if kept, err := l.Reserve(context.Background, id, 1, &d); err != nil || (kept != nil) != (i == 0) {
					t.Errorf("%s: reservation %d of %d bytes: %+v, %v", name, i, len(id), d, err)
				}
			}
		}
	}
}

// storm is a node of a cluster that has all slots and sends everybody to itself for them.
func storm(t *testing.T, word string) (addr string, asked *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	addr, asked = l.Addr().String(), &atomic.Int64{}
	_, port, _ := net.SplitHostPort(addr)
	answers := map[string]string{
		"CLUSTER": "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:" + port + "\r\n",
		"ASKING":  "+OK\r\n", "READONLY": "+OK\r\n", "PING": "+PONG\r\n",
		"HELLO": "-ERR unknown command\r\n", "COMMAND": "*0\r\n",
		"TIME": fmt.Sprintf("*2\r\n$10\r\n%d\r\n$1\r\n0\r\n", time.Now().Unix()),
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for r := bufio.NewReader(c); ; {
					name, err := command(r)
					if err != nil {
						return
					}
					answer, known := answers[name]
					if !known {
						asked.Add(1)
						answer = "-" + word + " 0 " + addr + "\r\n"
					}
					if _, err := io.WriteString(c, answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return addr, asked
}

// command reads one and returns its name.
func command(r *bufio.Reader) (name string, err error) {
	count := func(mark byte) (int, error) {
		line, err := r.ReadString('\n')
		if err != nil || line[0] != mark {
			return 0, fmt.Errorf("%q is not what was expected: %w", line, err)
		}
		return strconv.Atoi(strings.TrimSpace(line[1:]))
	}
	n, err := count('*')
	for i := 0; i < n && err == nil; i++ {
		var size int
		if size, err = count('$'); err != nil {
			break
		}
		text := make([]byte, size+2)
		if _, err = io.ReadFull(r, text); i == 0 {
			name = strings.ToUpper(string(text[:size]))
		}
	}
	return name, err
}

// TestAStormOfRedirectsIsAnOutage has a cluster send every question on for ever.
func TestAStormOfRedirectsIsAnOutage(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN"} {
		addr, asked := storm(t, word)
		all := build(t, Options{RedisURL: "redis://" + addr + "?addr=" + addr, Logger: slog.New(slog.DiscardHandler)})
		l := limiter(t, all, plugin.Rule{ID: "r", Windows: []plugin.Window{{Period: plugin.Year, Limit: 2}}, Redis: &plugin.Redis{}})
		slots := slotsOf(t, all, plugin.SlotRule{Limit: 2, Redis: &plugin.Redis{}})
		for i := range 50 {
			d := take(t, l, "a")
			_, s := acquire(t, slots, "a")
			if d.Allowed != (i < 2) || d.Mode != "equal_share" || s.Allowed != (i < 2) || s.Mode != "equal_share" {
				t.Fatalf("%s: request %d: %+v, %+v, want this gate's share", word, i, d, s)
			}
		}
		if n := asked.Load(); n == 0 || n > 200 {
			t.Errorf("%s: 100 requests asked %d times, want a few for each time that Redis was tried", word, n)
		}
	}
}

// TestAMillionKeysHereAllocateWithinBounds measures what one takes, and that more are not kept.
func TestAMillionKeysHereAllocateWithinBounds(t *testing.T) {
	if testing.Short() || raceDetector {
		t.Skip("measures memory, which -short and the race detector do not leave as it is")
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const n = 1_000_000
	all := build(t, Options{Clock: newClock(dawn).now, MaxKeys: n})
	l := limiter(t, all, plugin.Rule{ID: "r", Windows: []plugin.Window{{Period: plugin.Year, Limit: 5}}})
	before := heap()
	for i := range n + n/4 {
		if d := take(t, l, "identifier-"+strconv.Itoa(i)); !d.Allowed {
			t.Fatalf("identifier %d: %+v", i, d)
		}
	}
	per := (heap() - before) / n
	t.Logf("%d bytes for each identifier", per)
	if kept := all.table.used.Load(); kept > n+shards || per > 400 {
		t.Errorf("%d identifiers are kept, of %d bytes each; want a million and at most 400", kept, per)
	}
	runtime.KeepAlive(l)
}
