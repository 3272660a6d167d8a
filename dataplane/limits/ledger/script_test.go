//go:build unix

package ledger

import (
	"context"
	cryptorand "crypto/rand"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sekifuda/sekifuda/dataplane/limits/lease"
	"github.com/sekifuda/sekifuda/plugin"
	"github.com/sekifuda/sekifuda/test/services"
)

func client(t testing.TB, url string) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	o.Protocol = 2
	c := redis.NewClient(o)
	t.Cleanup(func() { c.Close() })
	return c
}

// timed is the script with a clock that the test sets, in the last two arguments.
var timed = redis.NewScript(strings.NewReplacer(
	"redis.call('TIME')", "{ARGV[#ARGV - 1], ARGV[#ARGV]}", "while at <= #ARGV do", "while at <= #ARGV - 2 do",
).Replace(acquireText))

// at is a Scripter that gives scripts a time, in microseconds.
type at struct {
	redis.Scripter
	now *int64
}

func (a at) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	return a.Scripter.EvalSha(ctx, sha, keys, append(args, *a.now/1e6, *a.now%1e6)...)
}

func (a at) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	return a.Scripter.Eval(ctx, script, keys, append(args, *a.now/1e6, *a.now%1e6)...)
}

// question makes one of everything that gates may ask, also of what they never would.
func question(g *rand.Rand, now int64, seqs map[string]int64) *lease.Ask {
	holder := fmt.Sprint("h", g.IntN(4))
	key := fmt.Sprint("rule|k", g.IntN(3))
	who := holder + key
	seqs[who] += int64(g.IntN(4)) - int64(g.IntN(2)) // repeated, late and skipped ones too
	seqs[who] = max(1, seqs[who])
	q := &lease.Ask{
		Key: key, Holder: holder, Seq: seqs[who], Demand: 1 + g.Int64N(500), Grace: 50000,
		Free: g.IntN(2) == 0, Report: g.IntN(5) == 0,
	}
	if !q.Report {
		q.Wanted, q.Target = g.Int64N(40)*int64(g.IntN(2)), g.Int64N(300)*int64(g.IntN(2))
	}
	wins := []plugin.Period{plugin.Second, plugin.Minute, plugin.Hour, plugin.Day}
	from := g.IntN(3)
	for i, p := range wins[from : from+1+g.IntN(2)] {
		t := now + int64(g.IntN(3)-1)*300000*int64(1-i)
		start, end := lease.Bounds(p, time.UnixMicro(t))
		c := lease.Claim{
			Period: p, Start: start.UnixMicro(), End: end.UnixMicro(),
			Limit: []int64{0, 1, 150, 2000, 1e6, 1 << 53}[g.IntN(6)], Own: g.Int64N(400), Exact: g.IntN(4) == 0,
		}
		if g.IntN(30) == 0 {
			c.Start, c.End = c.Start+3600e6*24*40, c.End+3600e6*24*40 // of another time
		}
		c.Held = g.Int64N(c.Own + 1)
		if g.IntN(4) == 0 {
			c.Reclaim = 250000
		}
		q.Claims = append(q.Claims, c)
	}
	return q
}

// TestScriptIsTheModel asks both the same questions, with a clock that also jumps by hours.
func TestScriptIsTheModel(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := client(t, services.Redis(t))
	sub := c.Subscribe(ctx, channelOf(c))
	defer sub.Close()
	if _, err := sub.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	recalls := sub.Channel(redis.WithChannelSize(4096))
	rounds := uint64(12)
	if testing.Short() {
		rounds = 3
	}
	for seed := range rounds {
		if err := c.FlushDB(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		g := rand.New(rand.NewPCG(seed, 2))
		var model lease.Authority
		// Far ahead, so that Redis, whose own clock expires keys, keeps them.
		now := time.Now().AddDate(10, 0, 0).UnixMicro()
		seqs := map[string]int64{}
		scripter := at{c, &now}
		for range 400 {
			if g.IntN(40) == 0 {
				setBackBoth(t, c, &model, now, fmt.Sprint("rule|k", g.IntN(3)))
			}
			now += g.Int64N([]int64{100, 1e5, 1e6, 2e7, 4e9}[min(4, g.IntN(12))])
			qs := make([]*lease.Ask, 1+g.IntN(4))
			want, got := make([]lease.Answer, len(qs)), make([]lease.Answer, len(qs))
			for i := range qs {
				qs[i] = question(g, now, seqs)
				want[i] = model.Serve(now, qs[i])
			}
			if err := call(ctx, scripter, timed, channelOf(c), qs, got); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d: %+v\nscript %+v\nmodel  %+v", seed, show(qs), got, want)
			}
		}
		heard := waitRecalls(t, recalls, len(model.Recalls))
		if !slices.Equal(heard, model.Recalls) {
			t.Errorf("seed %d: recalls %v, want %v", seed, heard, model.Recalls)
		}
		if len(model.Recalls) == 0 {
			t.Errorf("seed %d: nothing was recalled", seed)
		}
	}
}

// setBack resets the windows of now in both.
func setBackBoth(t *testing.T, c *redis.Client, model *lease.Authority, now int64, key string) {
	t.Helper()
	ctx := context.Background()
	for _, p := range []plugin.Period{plugin.Second, plugin.Minute, plugin.Hour, plugin.Day} {
		start, _ := lease.Bounds(p, time.UnixMicro(now))
		name := slotName(key, p, start.UnixMicro())
		if n, err := reset.Run(ctx, c, []string{name}, "nobody hears", setBack, cryptorand.Text()).Int(); err != nil || n > 1 {
			t.Fatalf("reset = %d, %v", n, err)
		} else if n == 1 {
			// The script has the time of Redis, which is years behind the test's.
			if err := c.HSet(ctx, name, "c", now).Err(); err != nil {
				t.Fatal(err)
			}
		}
		model.Reset(lease.Slot{Key: key, Period: p, Start: start.UnixMicro()}, now)
	}
}

func show(qs []*lease.Ask) (all []lease.Ask) {
	for _, q := range qs {
		all = append(all, *q)
	}
	return all
}

func waitRecalls(t *testing.T, from <-chan *redis.Message, n int) (all []lease.Slot) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for len(all) < n {
		select {
		case m := <-from:
			slot, ok := readSlot(m.Payload)
			if !ok {
				t.Fatalf("recall of %q", m.Payload)
			}
			all = append(all, slot)
		case <-deadline:
			t.Fatalf("%d recalls, want %d", len(all), n)
		}
	}
	return all
}

func ask(key string, limit int64) *lease.Ask {
	start, end := lease.Bounds(plugin.Month, time.Now())
	return &lease.Ask{Key: key, Holder: "h", Seq: 1, Wanted: 1, Demand: 1, Grace: 50000, Claims: []lease.Claim{{
		Period: plugin.Month, Start: start.UnixMicro(), End: end.UnixMicro(), Limit: limit, Exact: true,
	}}}
}

// TestKeysExpireAfterTheirWindow and are of one slot for each identifier.
func TestKeysExpireAfterTheirWindow(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := client(t, services.Redis(t))
	got := make([]lease.Answer, 1)
	q := ask("rule|a:b{c}", 1<<53)
	if err := call(ctx, c, acquire, channelOf(c), []*lease.Ask{q}, got); err != nil || got[0].Grant != 1 || got[0].Views[0].Left != 1<<53-1 {
		t.Fatalf("call = %+v, %v, want one granted of 2^53", got, err)
	}
	name := slotName(q.Key, plugin.Month, q.Claims[0].Start)
	left := c.PTTL(ctx, name).Val()
	end := time.UnixMicro(q.Claims[0].End)
	if late := time.Now().Add(left).Sub(end); late < 60*time.Second || late > 70*time.Second {
		t.Errorf("%s lives %v past its window, want a minute", name, late)
	}
	if s, ok := readSlot(name); !ok || s != (lease.Slot{Key: q.Key, Period: plugin.Month, Start: q.Claims[0].Start}) {
		t.Errorf("readSlot(%q) = %+v, %v", name, s, ok)
	}
}

// TestAKeyOfAnotherTypeBreaksOnlyItself has a string and a field that is no number among good
// keys of one call.
func TestAKeyOfAnotherTypeBreaksOnlyItself(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := client(t, services.Redis(t))
	qs := []*lease.Ask{ask("r|1", 5), ask("r|2", 5), ask("r|3", 5), ask("r|4", 5)}
	name := func(i int) string { return slotName(qs[i].Key, plugin.Month, qs[i].Claims[0].Start) }
	for _, err := range []error{
		c.Set(ctx, name(0), "many", 0).Err(), c.HSet(ctx, name(2), "g", "many").Err(),
		c.HSet(ctx, name(3), "nh", "1 2 3").Err(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	got := make([]lease.Answer, 4)
	if err := call(ctx, c, acquire, channelOf(c), qs, got); err != nil {
		t.Fatal(err)
	}
	for i, want := range []lease.Status{lease.Broken, lease.Granted, lease.Broken, lease.Broken} {
		if got[i].Status != want {
			t.Errorf("question %d: %+v, want status %d", i, got[i], want)
		}
	}
}

// TestScriptMemory is what one identifier costs in Redis.
func TestScriptMemory(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := client(t, services.Redis(t))
	got := make([]lease.Answer, 1)
	var q *lease.Ask
	for i := range 8 {
		q = ask("r|k", 1000)
		q.Holder = fmt.Sprintf("%016x.%x", i*0x1234567, i)
		if err := call(ctx, c, acquire, channelOf(c), []*lease.Ask{q}, got); err != nil {
			t.Fatal(err)
		}
		used, err := c.MemoryUsage(ctx, slotName(q.Key, plugin.Month, q.Claims[0].Start)).Result()
		if err != nil || used > 1200 {
			t.Errorf("%d holders take %d bytes, %v, want at most 1200", i+1, used, err)
		}
		t.Logf("%d holders: %d bytes", i+1, used)
	}
}

func FuzzSlots(f *testing.F) {
	f.Add("rule|id", 1, int64(1700000040))
	f.Add("a:b|{}:", 3, int64(0))
	f.Fuzz(func(t *testing.T, key string, p int, start int64) {
		if p < 0 || p >= lease.MaxWindows || start < 0 || start > 1<<40 {
			return
		}
		want := lease.Slot{Key: key, Period: plugin.Period(p), Start: start * 1e6}
		if got, ok := readSlot(slotName(key, want.Period, want.Start)); !ok || got != want {
			t.Errorf("readSlot = %+v, %v, want %+v", got, ok, want)
		}
	})
}

func FuzzReadSlot(f *testing.F) {
	f.Add("seki:{rl1}:a|b:minute:5")
	f.Add("seki:{rl")
	f.Fuzz(func(_ *testing.T, name string) { readSlot(name) })
}

func FuzzAnswers(f *testing.F) {
	f.Add([]byte{1, 1, 0, 5, 1, 0, 0, 0, 1, 1}, 1)
	f.Fuzz(func(t *testing.T, raw []byte, n int) {
		var qs []*lease.Ask
		for range min(max(n, 0), 5) {
			qs = append(qs, ask("k", 5))
		}
		v := make([]int64, len(raw))
		for i := range raw {
			v[i] = int64(int8(raw[i]))
		}
		got := make([]lease.Answer, len(qs))
		if err := readAnswers(v, qs, got); err != nil {
			return
		}
		for i := range got {
			if got[i].Status == lease.Granted && len(got[i].Views) != 1 {
				t.Errorf("answer %d of %v has no view", i, v)
			}
		}
	})
}

// BenchmarkScript is what a question costs by how many go in one call and how many hold.
func BenchmarkScript(b *testing.B) {
	ctx := context.Background()
	c := client(b, services.Redis(b))
	for _, size := range []int{1, 128} {
		for _, holders := range []int{1, 8, 100} {
			b.Run(fmt.Sprintf("batch=%d/holders=%d", size, holders), func(b *testing.B) {
				qs, got := make([]*lease.Ask, size), make([]lease.Answer, size)
				for h := range holders {
					for i := range qs {
						qs[i] = ask(fmt.Sprint("r|", size, "-", holders, "-", i), 1<<40)
						qs[i].Holder, qs[i].Target, qs[i].Demand, qs[i].Claims[0].Exact = fmt.Sprintf("holder-%d.1", h), 50, 50, false
					}
					if err := call(ctx, c, acquire, channelOf(c), qs, got); err != nil {
						b.Fatal(err)
					}
				}
				n := 0
				for b.Loop() {
					for _, q := range qs {
						q.Seq++
						q.Claims[0].Own += 40
					}
					if err := call(ctx, c, acquire, channelOf(c), qs, got); err != nil {
						b.Fatal(err)
					}
					n += size
				}
				b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "questions/s")
			})
		}
	}
}
