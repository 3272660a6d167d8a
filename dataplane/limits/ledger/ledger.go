// Package ledger keeps the counts of leases in Redis: it carries what buckets of package lease
// ask to the script that grants, many questions in one call, and tells them when Redis does
// not answer.
//
// It knows keys and rules; what is counted and what a refused client is told is not its
// concern. Enter at New, Ledger.Limiter and Ledger.Run.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sekifuda/sekifuda/dataplane/limits/lease"
)

const (
	// defaultMaxKeys bounds the identifiers that are known here: one takes about half a
	// kilobyte, so this is half a gigabyte. Beyond it one of a few is forgotten, which gives
	// back what it holds; the counts in Redis stay.
	defaultMaxKeys = 1 << 20
	// defaultPatience is how long requests wait for an answer before they are decided
	// without. It grows with the time that answers take.
	defaultPatience = 100 * time.Millisecond
	// defaultTimeout is when a connection is given up; Kong's.
	defaultTimeout = 2 * time.Second
	sweepEvery     = 10 * time.Second
)

// Options say where the counts are and how long to wait for them.
type Options struct {
	Name        string // in logs and metrics
	Client      redis.UniversalClient
	Cluster     bool // keys of one call must share a slot
	Incarnation string
	// Now is a clock that never goes back, in nanoseconds; nil: the process's.
	Now      func() int64
	Wall     func() time.Time // nil: time.Now
	Log      *slog.Logger     // nil: slog.Default
	MaxKeys  int              // 0: a million
	Patience time.Duration    // 0: 100 ms
	Timeout  time.Duration    // 0: 2 s
}

// Ledger is the counts of one Redis. It is safe for concurrent use. Run must be running for
// limits to be recalled near their end, shared by the number of gates in outages, and for
// what is held to go back at the end of the process.
type Ledger struct {
	o       Options
	channel string
	node    *lease.Node
	leases  courier[item]
	slots   courier[slotItem]
	health  health
	syncMu  sync.Mutex // held while the clock is read for the first time

	mu     sync.Mutex // guards tables
	tables map[string][]*table
	keys   atomic.Int64

	stats counters
}

type counters struct{ calls, asks, admitted, refused, openings atomic.Uint64 }

// Stats is what a ledger did and how it is.
type Stats struct {
	Name      string
	Down      bool // limits are decided without Redis
	Keys      int64
	Calls     uint64 // of the script
	Asks      uint64 // questions in these
	Admitted  uint64 // in outages
	Refused   uint64 // in outages
	Outages   uint64
	Gates     int
	RoundTrip time.Duration
}

// New makes a ledger. It connects to nothing.
func New(o Options) *Ledger {
	if o.MaxKeys <= 0 {
		o.MaxKeys = defaultMaxKeys
	}
	if o.Patience <= 0 {
		o.Patience = defaultPatience
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Now == nil {
		start := time.Now()
		o.Now = func() int64 { return int64(time.Since(start)) }
	}
	if o.Wall == nil {
		o.Wall = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	l := &Ledger{o: o, channel: channelOf(o.Client), node: lease.NewNode(o.Incarnation), tables: map[string][]*table{}}
	l.leases = courier[item]{ledger: l, call: l.askLeases}
	l.slots = courier[slotItem]{ledger: l, call: l.askSlots}
	return l
}

// Run hears recalls, tells other gates of this one, tries a Redis that is away and forgets
// what is quiet, until ctx ends. Then it gives back what is held and closes the client.
func (l *Ledger) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { l.hear(ctx) })
	wg.Go(func() { l.keepFleet(ctx) })
	wg.Go(func() { l.keepTrying(ctx) })
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-sweep.C:
			l.Sweep()
		}
	}
	wg.Wait()
	return l.close()
}

// Sweep forgets what is quiet.
func (l *Ledger) Sweep() {
	now := l.o.Now()
	l.mu.Lock()
	var all []*table
	for id, ts := range l.tables {
		kept := ts[:0]
		for _, t := range ts {
			if t.idle() {
				t.listed = false
			} else {
				kept = append(kept, t)
			}
		}
		clear(ts[len(kept):])
		if len(kept) == 0 {
			delete(l.tables, id)
		} else {
			l.tables[id] = kept
		}
		all = append(all, kept...)
	}
	l.mu.Unlock()
	for _, t := range all {
		t.sweep(now)
	}
}

// close gives back what is held, so that a gate that leaves costs the others nothing.
func (l *Ledger) close() error {
	now := l.o.Now()
	l.mu.Lock()
	var all []*table
	for _, ts := range l.tables {
		all = append(all, ts...)
	}
	l.mu.Unlock()
	for _, t := range all {
		t.retireAll(now)
	}
	var err error
	if !l.node.Down() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*l.o.Patience)
		defer cancel()
		l.leases.queue.waitEmpty(ctx)
		l.slots.queue.waitEmpty(ctx)
		err = l.leaveFleet(ctx)
	}
	if closed := l.o.Client.Close(); closed != nil && !errors.Is(closed, redis.ErrClosed) {
		err = errors.Join(err, fmt.Errorf("close %s: %w", l.o.Name, closed))
	}
	return err
}

// Down reports whether limits are decided without Redis.
func (l *Ledger) Down() bool { return l.node.Down() }

// Stats counts since the start.
func (l *Ledger) Stats() Stats {
	return Stats{
		Name: l.o.Name, Down: l.node.Down(), Keys: l.keys.Load(),
		Calls: l.stats.calls.Load(), Asks: l.stats.asks.Load(),
		Admitted: l.stats.admitted.Load(), Refused: l.stats.refused.Load(), Outages: l.stats.openings.Load(),
		Gates: l.node.Members(), RoundTrip: time.Duration(l.node.RoundTrip()),
	}
}
