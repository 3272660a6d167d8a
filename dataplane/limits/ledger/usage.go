package ledger

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sekifuda/sekifuda/dataplane/limits/lease"
	"github.com/sekifuda/sekifuda/plugin"
)

// setBack comes before the name of a window in what gates hear, when it was set back. Alone, a
// name is a recall.
const setBack = "reset "

//go:embed reset.lua
var resetText string

var reset = redis.NewScript(resetText)

// Usage is what is charged of the window of now of each period: what gates admitted and what
// they hold. Periods of which nothing was asked are 0.
func (l *Ledger) Usage(ctx context.Context, rule, identifier string) (used [lease.MaxWindows]int64, err error) {
	keys, err := l.windows(ctx, rule, identifier)
	if err != nil {
		return used, err
	}
	for p, key := range keys {
		n, err := l.o.Client.HGet(ctx, key, "g").Int64()
		if err != nil && !errors.Is(err, redis.Nil) {
			return used, fmt.Errorf("read the count of rule %s: %w", rule, err)
		}
		used[p] = n
	}
	return used, nil
}

// Reset sets the windows of now of an identifier back, once for each order. Gates that refuse
// without asking hear of it at once; those that miss it, within half a minute. It reports how many
// windows there were.
func (l *Ledger) Reset(ctx context.Context, rule, identifier, order string) (int, error) {
	keys, err := l.windows(ctx, rule, identifier)
	if err != nil {
		return 0, err
	}
	n, err := reset.Run(ctx, l.o.Client, keys, l.channel, setBack, order).Int()
	if err != nil {
		return 0, fmt.Errorf("set back the count of rule %s: %w", rule, err)
	}
	for _, key := range keys {
		l.heard(setBack + key) // whether or not what is published comes back
	}
	return n, nil
}

// windows names those of now, by the clock of Redis.
func (l *Ledger) windows(ctx context.Context, rule, identifier string) ([]string, error) {
	now, err := l.o.Client.Time(ctx).Result()
	if err != nil {
		return nil, fmt.Errorf("read the time of %s: %w", l.o.Name, err)
	}
	key := keyOf(rule, shorten(identifier))
	var keys []string
	for p := plugin.Second; p <= plugin.Year; p++ {
		start, _ := lease.Bounds(p, time.UnixMicro(now.UnixMicro()))
		keys = append(keys, slotName(key, p, start.UnixMicro()))
	}
	return keys, nil
}

// Identifiers are those that this gate knows of a rule, at most so many: each of them is then asked
// for in Redis.
func (l *Ledger) Identifiers(rule string, most int) (all []string) {
	l.mu.Lock()
	tables := slices.Clone(l.tables[ruleName.Replace(rule)])
	l.mu.Unlock()
	for _, t := range tables {
		for i := range t.shards {
			s := &t.shards[i]
			s.mu.RLock()
			for id := range s.of {
				if len(all) < most && !slices.Contains(all, id) {
					all = append(all, id)
				}
			}
			s.mu.RUnlock()
		}
	}
	return all
}
