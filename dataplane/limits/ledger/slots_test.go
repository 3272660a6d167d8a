//go:build unix

package ledger

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sekifuda/sekifuda/dataplane/limits/lease"
	"github.com/sekifuda/sekifuda/test/services"
)

// timedSlots is the script with a clock that the test sets, in the last two arguments.
var timedSlots = redis.NewScript(strings.Replace(slotsText, "redis.call('TIME')", "{ARGV[#ARGV - 1], ARGV[#ARGV]}", 1))

// TestSlotsScriptIsTheModel asks both the same questions, also what gates never would.
func TestSlotsScriptIsTheModel(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := client(t, services.NewRedis(t).URL)
	for seed := range uint64(10) {
		if err := c.FlushDB(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		g := rand.New(rand.NewPCG(seed, 6))
		var model lease.SlotAuthority
		now := time.Now().UnixMicro()
		given := 0
		for round := range 300 {
			now += g.Int64N([]int64{100, 1e5, 1e6, 4e6}[g.IntN(4)])
			qs := make([]*lease.SlotAsk, 1+g.IntN(4))
			want, got := make([]lease.SlotAnswer, len(qs)), make([]lease.SlotAnswer, len(qs))
			for i := range qs {
				qs[i] = &lease.SlotAsk{
					Key: fmt.Sprint("rule|k", g.IntN(2)), Holder: fmt.Sprint("h", g.IntN(4)), Seq: int64(round + g.IntN(5)),
					Running: g.Int64N(9) * int64(g.IntN(2)), Want: g.Int64N(30), Limit: []int64{0, 1, 20, 1 << 53}[g.IntN(4)],
				}
				want[i] = model.Serve(now, qs[i])
				if want[i].Have > 0 {
					given++
				}
			}
			if err := callSlots(ctx, at{c, &now}, timedSlots, qs, got); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d round %d: %+v\nscript %+v\nmodel  %+v", seed, round, qs, got, want)
			}
		}
		if given < 100 {
			t.Errorf("seed %d: slots were given %d times: that shows little", seed, given)
		}
	}
}
