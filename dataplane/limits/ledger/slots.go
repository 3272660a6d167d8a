package ledger

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/sekifuda/sekifuda/dataplane/limits/lease"
)

//go:embed slots.lua
var slotsText string

var slots = redis.NewScript(slotsText)

// SlotAsker is told what became of a question about slots: one of the two is called, once.
type SlotAsker interface {
	Answered(now int64, a *lease.SlotAnswer)
	Failed(now int64, q *lease.SlotAsk)
}

// AskSlots has a question carried to Redis.
func (l *Ledger) AskSlots(q *lease.SlotAsk, from SlotAsker) { l.slots.enqueue(slotItem{from, q}) }

// NewSlots makes a part of a rule's slots for an identifier that is no longer than what is kept.
func (l *Ledger) NewSlots(rule, identifier string) *lease.Slots {
	return lease.NewSlots(l.node, keyOf(rule, identifier))
}

// Now is the clock of slots. Before questions Look is called instead.
func (l *Ledger) Now() int64 { return l.o.Now() }

// Look is Now for who may ask next: the first call reads the clock of Redis, and a Redis that is
// away is tried, away from requests.
func (l *Ledger) Look() int64 { return l.look() }

// NoteOutage counts what was decided without Redis.
func (l *Ledger) NoteOutage(admitted bool) {
	if admitted {
		l.stats.admitted.Add(1)
	} else {
		l.stats.refused.Add(1)
	}
}

// SlotsUsed is how many slots of an identifier gates have taken.
func (l *Ledger) SlotsUsed(ctx context.Context, rule, identifier string) (used int64, err error) {
	all, err := l.o.Client.HVals(ctx, slotsName(keyOf(rule, identifier))).Result()
	if err != nil {
		return 0, fmt.Errorf("read the slots of rule %s: %w", rule, err)
	}
	for _, line := range all {
		var taken int64
		if _, err := fmt.Sscan(line, &taken); err != nil {
			return 0, fmt.Errorf("read the slots of rule %s: %w", rule, err)
		}
		used += taken
	}
	return used, nil
}

func keyOf(rule, identifier string) string { return ruleName.Replace(rule) + "|" + identifier }

// slotItem is a question about slots and who asks it.
type slotItem struct {
	from SlotAsker
	ask  *lease.SlotAsk
}

func (it slotItem) key() string { return it.ask.Key }

func (it slotItem) fail(now int64) { it.from.Failed(now, it.ask) }

func (l *Ledger) askSlots(ctx context.Context, items []slotItem) (theirs int64, deliver func(sent, received int64), err error) {
	asks, answers := make([]*lease.SlotAsk, len(items)), make([]lease.SlotAnswer, len(items))
	for i := range items {
		asks[i] = items[i].ask
	}
	if err := callSlots(ctx, l.o.Client, slots, asks, answers); err != nil {
		return 0, nil, err
	}
	return answers[0].Now, func(_, received int64) {
		for i, it := range items {
			if answers[i].Status == lease.Broken {
				l.broken(it.ask.Key)
			}
			it.from.Answered(received, &answers[i])
		}
	}, nil
}

// callSlots asks all of qs in one script call and fills in answers, which has room for each.
func callSlots(ctx context.Context, client redis.Scripter, script *redis.Script, qs []*lease.SlotAsk, answers []lease.SlotAnswer) error {
	keys, args := make([]string, len(qs)), make([]any, 0, 5*len(qs))
	for i, q := range qs {
		keys[i] = slotsName(q.Key)
		args = append(args, q.Holder, q.Seq, q.Running, q.Want, q.Limit)
	}
	v, err := script.Run(ctx, client, keys, args...).Int64Slice()
	if err != nil {
		return err
	}
	if len(v) != 2+3*len(qs) {
		return fmt.Errorf("unexpected answer of %d values to %d questions", len(v), len(qs))
	}
	for i, q := range qs {
		a := v[2+3*i:]
		if a[0] < 0 || a[0] > int64(lease.Broken) || a[1] < 0 || a[2] < 0 {
			return fmt.Errorf("unexpected answer to question %d of %d", i+1, len(qs))
		}
		answers[i] = lease.SlotAnswer{Seq: q.Seq, Status: lease.Status(a[0]), Now: v[0]*1e6 + v[1], Have: a[1], Left: a[2]}
	}
	return nil
}
