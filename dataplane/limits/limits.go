// Package limits counts what rules allow in calendar windows: in this process, or leased from
// a Redis that gates share.
//
// It knows rules and identifiers as texts; who is counted together and what a refused client
// is told is the plugin's. Enter at New and Limits.Limiter.
package limits

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sekifuda/sekifuda/dataplane/limits/lease"
	"github.com/sekifuda/sekifuda/dataplane/limits/ledger"
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
)

// Options say what limits stand on. The zero value counts in this process.
type Options struct {
	// RedisURL is the gate's own shared store, for rules that name none: redis, rediss or
	// unix; with ?addr= more nodes of a cluster, with ?master_name= a sentinel's.
	RedisURL string
	Clock    func() time.Time // nil: time.Now
	Logger   *slog.Logger     // nil: slog.Default
	MaxKeys  int              // counters in this process; 0: two million
	// Patience is how long requests wait for a shared store before they are decided without;
	// 0: 100 ms, more when its answers take long.
	Patience time.Duration
}

// Limits is every counter of a gate. It is safe for concurrent use. Run must be running for
// counters of past windows to be let go, and for gates to know of one another.
type Limits struct {
	o           Options
	clock       func() time.Time
	log         *slog.Logger
	table       *table
	incarnation string
	shared      *ledger.Ledger // nil: none
	fresh       chan struct{}  // something is in unstarted

	mu        sync.Mutex                      // guards what follows
	places    map[*ledger.Ledger]*places      // of slots; nil: this process
	stores    map[plugin.Redis]*ledger.Ledger // by configuration: as many as were ever named
	unstarted []*ledger.Ledger
}

// New makes the counters. It connects to nothing; a URL that cannot be read is an error. The
// logger becomes that of the Redis library in the whole process, which has only one.
func New(o Options) (*Limits, error) {
	if o.MaxKeys <= 0 {
		o.MaxKeys = defaultMaxKeys
	}
	l := &Limits{
		o: o, clock: o.Clock, log: o.Logger, table: newTable(int64(o.MaxKeys)), incarnation: rand.Text()[:12],
		fresh: make(chan struct{}, 1), stores: map[plugin.Redis]*ledger.Ledger{},
		places: map[*ledger.Ledger]*places{},
	}
	if l.clock == nil {
		l.clock = time.Now
	}
	if l.log == nil {
		l.log = slog.Default()
	}
	redis.SetLogger(library{l.log})
	if o.RedisURL != "" {
		client, err := Dial(o.RedisURL)
		if err != nil {
			return nil, fmt.Errorf("read the address of the shared store: %w", err)
		}
		l.shared = l.open("shared", client)
	}
	return l, nil
}

// open makes the ledger of a client, for Run to start.
func (l *Limits) open(name string, client redis.UniversalClient) *ledger.Ledger {
	o := ledger.Options{
		Name: name, Client: client, Incarnation: l.incarnation, Wall: l.clock, Log: l.log, Patience: l.o.Patience,
	}
	_, o.Cluster = client.(*redis.ClusterClient)
	s := ledger.New(o)
	l.unstarted = append(l.unstarted, s)
	select {
	case l.fresh <- struct{}{}:
	default:
	}
	return s
}

// Limiter returns the counters of a rule. All limiters of one rule ID and store count
// together, whatever their limits; a new limit acts on the counts that are there.
func (l *Limits) Limiter(r plugin.Rule) (plugin.Limiter, error) {
	if err := check(r); err != nil {
		return nil, err
	}
	// A rule's windows are the caller's to change again.
	r.Windows = slices.Clone(r.Windows)
	s := l.storeOf(r.Redis)
	if s == nil {
		return &local{table: l.table, clock: l.clock, rule: r}, nil
	}
	return s.Limiter(r.ID, &lease.Rule{Windows: r.Windows, Outage: r.Outage, ExactUpTo: lease.DefaultExactUpTo}), nil
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

// storeOf returns the store of a rule, or nil when it counts in this process.
func (l *Limits) storeOf(r *plugin.Redis) *ledger.Ledger {
	if r == nil {
		return nil
	}
	if r.Addr == "" {
		return l.shared
	}
	key := *r
	key.Timeout = 0 // requests wait for less, and connections for Kong's default
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stores[key]
	if s == nil {
		s = l.open(key.Addr, dial(key))
		l.stores[key] = s
	}
	return s
}

// Run lets go of past windows and runs the shared stores, until ctx ends. Then what is leased
// goes back and the connections are closed.
func (l *Limits) Run(ctx context.Context) error {
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex // guards all
		all error
	)
	start := func() {
		for _, s := range l.unstartedStores() {
			wg.Go(func() {
				err := s.Run(ctx)
				mu.Lock()
				defer mu.Unlock()
				all = errors.Join(all, err)
			})
		}
	}
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for ctx.Err() == nil {
		start()
		select {
		case <-ctx.Done():
		case <-l.fresh:
		case <-sweep.C:
			l.table.sweep(l.clock())
			l.sweepSlots()
		}
	}
	start() // what was never used is closed as well
	wg.Wait()
	return all
}

func (l *Limits) unstartedStores() []*ledger.Ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.unstarted
	l.unstarted = nil
	return all
}

// Stats is how the shared stores are, in the order of their names.
func (l *Limits) Stats() []ledger.Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []ledger.Stats
	if l.shared != nil {
		all = append(all, l.shared.Stats())
	}
	for _, s := range l.stores {
		all = append(all, s.Stats())
	}
	slices.SortFunc(all, func(a, b ledger.Stats) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
