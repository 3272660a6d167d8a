package ledger

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sekifuda/sekifuda/dataplane/limits/lease"
)

const (
	fleetKey = prefix + "gates"
	// beat is how often a gate says that it is there; three missed ones mean it is not.
	beat    = time.Second
	fleetTL = time.Minute
)

// keepFleet tells the others of this gate and learns of them. In an outage the last view
// stands.
func (l *Ledger) keepFleet(ctx context.Context) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		if !l.node.Down() {
			l.beat(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (l *Ledger) beat(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, beat)
	defer cancel()
	if !l.node.Clock.Synced() {
		return // nobody asked for anything yet
	}
	now := l.node.Clock.Authority(l.o.Now())
	var members *redis.StringSliceCmd
	_, err := l.o.Client.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.ZAdd(ctx, fleetKey, redis.Z{Score: float64(now / 1e6), Member: l.o.Incarnation})
		p.ZRemRangeByScore(ctx, fleetKey, "-inf", strconv.FormatInt(now/1e6-int64(3*beat/1e6), 10))
		members = p.ZRange(ctx, fleetKey, 0, -1)
		p.PExpire(ctx, fleetKey, fleetTL)
		return nil
	})
	if err != nil {
		return // questions will find out whether Redis is away
	}
	all := members.Val()
	if !slices.Contains(all, l.o.Incarnation) {
		all = append(all, l.o.Incarnation)
	}
	l.node.SetFleet(&lease.Fleet{Self: l.o.Incarnation, Members: all})
}

func (l *Ledger) leaveFleet(ctx context.Context) error {
	if !l.node.Clock.Synced() {
		return nil
	}
	if err := l.o.Client.ZRem(ctx, fleetKey, l.o.Incarnation).Err(); err != nil {
		return fmt.Errorf("leave the gates of %s: %w", l.o.Name, err)
	}
	return nil
}

// hear takes what is published until ctx ends. The library connects again when it must; what is missed
// meanwhile costs at most what is held, which counts as lost after a grace.
func (l *Ledger) hear(ctx context.Context) {
	sub := l.o.Client.Subscribe(ctx, l.channel)
	defer sub.Close()
	messages := sub.Channel(redis.WithChannelSize(1024))
	for {
		select {
		case <-ctx.Done():
			return
		case m, ok := <-messages:
			if !ok {
				return
			}
			l.heard(m.Payload)
		}
	}
}

// heard takes a recall, or the word that a window was set back.
func (l *Ledger) heard(message string) {
	act := (*lease.Bucket).Recall
	name, back := strings.CutPrefix(message, setBack)
	if back {
		act = (*lease.Bucket).Forgive
	}
	slot, ok := readSlot(name)
	if !ok {
		return
	}
	rule, identifier, ok := strings.Cut(slot.Key, "|")
	if !ok {
		return
	}
	l.mu.Lock()
	tables := slices.Clone(l.tables[rule])
	l.mu.Unlock()
	for _, t := range tables {
		if e := t.find(identifier); e != nil {
			var out lease.Out
			act(e.Bucket, l.o.Now(), slot.Start, &out)
			e.do(&out)
		}
	}
}
