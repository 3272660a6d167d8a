// Package limits counts what rules allow: exactly, in calendar windows, in this process or in
// a Redis that gates share.
//
// It knows rules and identifiers as texts; who is counted together and what a refused client
// is told is the plugin's. Enter at New and Limits.Limiter.
package limits

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sekifuda/sekifuda/plugin"
)

const (
	// defaultMaxKeys bounds the counters of this process: a key takes about 250 bytes, so
	// this is half a gigabyte. Beyond it the least used of a few is forgotten, which may
	// admit a stranger again but never refuses anyone wrongly.
	defaultMaxKeys = 2 << 20
	// maxLimit is the largest number up to which Redis' scripts count one by one.
	maxLimit = 1 << 53
	// sweepEvery is how often counters of past windows are let go.
	sweepEvery = 10 * time.Second
	// probeEvery is how often a store that does not answer is tried, away from requests.
	probeEvery = 250 * time.Millisecond
)

// Options say what limits stand on. The zero value counts in this process.
type Options struct {
	// RedisURL is the gate's own shared store, for rules that name none: redis, rediss or
	// unix; with ?addr= more nodes of a cluster, with ?master_name= a sentinel's.
	RedisURL string
	Clock    func() time.Time // nil: time.Now
	Logger   *slog.Logger     // nil: slog.Default
	MaxKeys  int              // counters in this process; 0: two million
}

// Limits is every counter of a gate. It is safe for concurrent use. Run must be running for
// counters of past windows to be let go.
type Limits struct {
	clock  func() time.Time
	log    *slog.Logger
	table  *table
	shared *store // nil: none

	mu     sync.Mutex
	stores map[plugin.Redis]*store // by configuration: as many as were ever named
}

// New makes the counters. It connects to nothing; a URL that cannot be read is an error. The
// logger becomes that of the Redis library in the whole process, which has only one.
func New(o Options) (*Limits, error) {
	if o.MaxKeys <= 0 {
		o.MaxKeys = defaultMaxKeys
	}
	l := &Limits{
		clock: o.Clock, log: o.Logger, table: newTable(int64(o.MaxKeys)), stores: map[plugin.Redis]*store{},
	}
	if l.clock == nil {
		l.clock = time.Now
	}
	if l.log == nil {
		l.log = slog.Default()
	}
	redis.SetLogger(library{l.log})
	if o.RedisURL != "" {
		client, err := dialURL(o.RedisURL)
		if err != nil {
			return nil, fmt.Errorf("read the address of the shared store: %w", err)
		}
		l.shared = newStore("shared", &redisBackend{client}, l.clock, l.log)
	}
	return l, nil
}

// Limiter returns the counters of a rule. All limiters of one rule ID and store count
// together, whatever their limits; a new limit acts on the counts that are there.
func (l *Limits) Limiter(r plugin.Rule) (plugin.Limiter, error) {
	if err := check(r); err != nil {
		return nil, err
	}
	// A rule's windows are the caller's to change again.
	r.Windows = slices.Clone(r.Windows)
	s := l.storeOf(r)
	if s == nil {
		return &local{table: l.table, clock: l.clock, rule: r}, nil
	}
	return newRemote(s, r), nil
}

func check(r plugin.Rule) error {
	if len(r.Windows) == 0 {
		return fmt.Errorf("rule %q has no window", r.ID)
	}
	for i, w := range r.Windows {
		if w.Period > plugin.Year {
			return fmt.Errorf("rule %q: there is no period %d", r.ID, w.Period)
		}
		if w.Limit < 0 || w.Limit > maxLimit {
			return fmt.Errorf("rule %q: limit %d is not between 0 and 2^53", r.ID, w.Limit)
		}
		if i > 0 && w.Period <= r.Windows[i-1].Period {
			return fmt.Errorf("rule %q: windows are not in order", r.ID)
		}
	}
	return nil
}

// storeOf returns the rule's store, or nil when it counts in this process.
func (l *Limits) storeOf(r plugin.Rule) *store {
	if r.Redis == nil {
		return nil
	}
	if r.Redis.Addr == "" {
		return l.shared
	}
	key := *r.Redis
	key.Timeout = 0 // a bound of each call, not of the connections
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stores[key]
	if s == nil {
		s = newStore(key.Addr, &redisBackend{dial(key)}, l.clock, l.log)
		l.stores[key] = s
	}
	return s
}

// Run lets go of past windows and tries stores that are away, until ctx ends. Then it closes
// the connections.
func (l *Limits) Run(ctx context.Context) error {
	sweep, probe := time.NewTicker(sweepEvery), time.NewTicker(probeEvery)
	defer sweep.Stop()
	defer probe.Stop()
	for {
		select {
		case <-ctx.Done():
			return l.close()
		case <-sweep.C:
			l.sweep()
		case <-probe.C:
			l.probe(ctx)
		}
	}
}

func (l *Limits) sweep() {
	l.table.sweep(l.clock())
	for _, s := range l.allStores() {
		s.sweep()
	}
}

func (l *Limits) probe(ctx context.Context) {
	var wg sync.WaitGroup
	for _, s := range l.allStores() {
		wg.Go(func() { s.probe(ctx) })
	}
	wg.Wait()
}

func (l *Limits) close() error {
	var all error
	for _, s := range l.allStores() {
		if err := s.backend.Close(); err != nil {
			all = errors.Join(all, fmt.Errorf("close store %s: %w", s.name, err))
		}
	}
	return all
}

func (l *Limits) allStores() []*store {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*store, 0, len(l.stores)+1)
	if l.shared != nil {
		all = append(all, l.shared)
	}
	for _, s := range l.stores {
		all = append(all, s)
	}
	return all
}
