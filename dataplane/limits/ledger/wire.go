package ledger

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/sekifuda/sekifuda/dataplane/limits/lease"
	"github.com/sekifuda/sekifuda/plugin"
)

const (
	prefix = "seki:"
	// tags is how many hash tags identifiers are spread over. All keys of one call must be in
	// one slot of a cluster, so fewer tags mean fuller calls and more tags a more even
	// spread; this is some for each master of a common cluster.
	tags = 64
)

//go:embed acquire.lua
var acquireText string

var acquire = redis.NewScript(acquireText)

var periods = [lease.MaxWindows]string{"second", "minute", "hour", "day", "month", "year"}

// channelOf is where recalls are heard. Channels are of a whole server and keys of a database.
func channelOf(client redis.UniversalClient) string {
	db := 0
	if c, ok := client.(*redis.Client); ok {
		db = c.Options().DB
	}
	return prefix + "recall:" + strconv.Itoa(db)
}

// tagOf is the hash tag of a key of package lease.
func tagOf(key string) int {
	h := uint32(2166136261)
	for i := range len(key) {
		h = (h ^ uint32(key[i])) * 16777619
	}
	return int(h % tags)
}

// slotName is the name in Redis of one window of a key.
func slotName(key string, p plugin.Period, start int64) string {
	b := append(tagged(key), ':')
	b = append(b, periods[p]...)
	b = append(b, ':')
	return string(strconv.AppendInt(b, start/1e6, 10))
}

// slotsName is the name in Redis of the slots of a key.
func slotsName(key string) string { return string(append(tagged(key), ":slots"...)) }

// tagged is what names in Redis that belong to a key begin with.
func tagged(key string) []byte {
	b := make([]byte, 0, len(prefix)+len(key)+32)
	b = append(b, prefix+"{rl"...)
	b = strconv.AppendInt(b, int64(tagOf(key)), 10)
	b = append(b, "}:"...)
	return append(b, key...)
}

// readSlot is the reverse of slotName; ok is false for what it did not make.
func readSlot(name string) (s lease.Slot, ok bool) {
	rest, found := strings.CutPrefix(name, prefix+"{rl")
	if !found {
		return s, false
	}
	if _, rest, found = strings.Cut(rest, "}:"); !found {
		return s, false
	}
	at := strings.LastIndexByte(rest, ':')
	if at < 0 {
		return s, false
	}
	seconds, err := strconv.ParseInt(rest[at+1:], 10, 64)
	if err != nil || seconds < 0 || seconds > 1<<40 {
		return s, false
	}
	rest = rest[:at]
	if at = strings.LastIndexByte(rest, ':'); at < 0 {
		return s, false
	}
	for p, word := range periods {
		if rest[at+1:] == word {
			return lease.Slot{Key: rest[:at], Period: plugin.Period(p), Start: seconds * 1e6}, true
		}
	}
	return s, false
}

// call asks all of qs in one script call and fills in answers, which has room for each.
func call(ctx context.Context, client redis.Scripter, script *redis.Script, channel string, qs []*lease.Ask, answers []lease.Answer) error {
	keys := make([]string, 0, len(qs))
	args := make([]any, 0, 1+16*len(qs))
	args = append(args, channel)
	for _, q := range qs {
		args = append(args, q.Holder, q.Seq, q.Wanted, q.Target, q.Demand, bit(q.Free), bit(q.Report), q.Grace, len(q.Claims))
		for i := range q.Claims {
			c := &q.Claims[i]
			keys = append(keys, slotName(q.Key, c.Period, c.Start))
			args = append(args, c.Start, c.End, c.Limit, c.Own, c.Held, bit(c.Exact), c.Reclaim)
		}
	}
	values, err := script.Run(ctx, client, keys, args...).Int64Slice()
	if err != nil {
		return err
	}
	return readAnswers(values, qs, answers)
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func readAnswers(v []int64, qs []*lease.Ask, answers []lease.Answer) error {
	if len(v) < 2 {
		return fmt.Errorf("unexpected answer of %d values", len(v))
	}
	now := v[0]*1e6 + v[1]
	v = v[2:]
	for i, q := range qs {
		if len(v) < 2 || v[0] < 0 || v[0] > int64(lease.Broken) || v[1] < 0 {
			return fmt.Errorf("unexpected answer to question %d of %d", i+1, len(qs))
		}
		a := &answers[i]
		*a = lease.Answer{Seq: q.Seq, Status: lease.Status(v[0]), Now: now, Grant: v[1]}
		v = v[2:]
		if a.Status != lease.Granted {
			continue
		}
		if len(v) < 6*len(q.Claims) {
			return fmt.Errorf("unexpected answer to question %d of %d", i+1, len(qs))
		}
		for range q.Claims {
			a.Views = append(a.Views, lease.View{
				Left: v[0], Others: v[1], Near: v[2] == 1, Retry: v[3], Holders: v[4], Demand: v[5],
			})
			v = v[6:]
		}
	}
	if len(v) != 0 {
		return fmt.Errorf("unexpected answer: %d values more than were asked for", len(v))
	}
	return nil
}
