//go:build unix

package main

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/limits"
	"github.com/sekifuda/sekifuda/plugin"
)

// TestSlotsAndReservationsAreExact has gates on a cluster, and on a Redis that a sentinel names,
// take slots and reserve more than they use.
func TestSlotsAndReservationsAreExact(t *testing.T) {
	t.Parallel()
	cluster, _ := startCluster(t)
	master := startRedis(t)
	replica := startRedis(t, "--replicaof", "127.0.0.1", fmt.Sprint(master), "--repl-diskless-sync-delay", "0")
	c := dial(t, fmt.Sprintf("redis://127.0.0.1:%d", replica))
	until(t, "the replica is linked", func() bool {
		return strings.Contains(c.Info(context.Background(), "replication").Val(), "master_link_status:up")
	})
	for name, url := range map[string]string{
		"cluster": cluster, "sentinel": fmt.Sprintf("redis://127.0.0.1:%d?master_name=m", startSentinel(t, master)),
	} {
		var gates []*limits.Limits
		for range 3 {
			l, err := limits.New(limits.Options{RedisURL: url, Patience: 5 * time.Second, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(context.Background())
			ran := make(chan error, 1)
			go func() { ran <- l.Run(ctx) }()
			t.Cleanup(func() { stop(); <-ran })
			gates = append(gates, l)
		}
		for _, id := range []string{"a", "b", "c", "d"} { // of several masters
			slotsAreExact(t, name, gates, id)
			reservationsAreExact(t, name, gates, id)
		}
	}
}

const workers, each = 20, 15

func slotsAreExact(t *testing.T, name string, gates []*limits.Limits, id string) {
	t.Helper()
	const limit = 5
	var running, started atomic.Int64
	var wg sync.WaitGroup
	begin := make(chan struct{}) // all at once
	for _, g := range gates {
		s, err := g.Slots(plugin.SlotRule{ID: "r", Limit: limit, Queue: workers, Patience: time.Minute, Redis: &plugin.Redis{}})
		if err != nil {
			t.Fatal(err)
		}
		for range workers {
			wg.Go(func() {
				<-begin
				for range each {
					var d plugin.SlotDecision
					slot, err := s.Acquire(context.Background, id, &d)
					if err != nil || slot == nil || d.Mode != "shared" {
						t.Errorf("%s: Acquire(%q) = %+v, %v", name, id, d, err)
						return
					}
					if n := running.Add(1); n > limit {
						t.Errorf("%s: %d of %q at once, want at most %d", name, n, id, limit)
					}
					started.Add(1)
					runtime.Gosched()
					running.Add(-1)
					slot.Release()
				}
			})
		}
	}
	close(begin)
	wg.Wait()
	if want := int64(len(gates) * workers * each); started.Load() != want {
		t.Errorf("%s: %d of %q started, want %d", name, started.Load(), id, want)
	}
}

// reservationsAreExact reserves ten for each that uses between none and nine, until nothing is left.
func reservationsAreExact(t *testing.T, name string, gates []*limits.Limits, id string) {
	t.Helper()
	const limit, most = 1000, 10
	rule := plugin.Rule{ID: "t", Windows: []plugin.Window{{Period: plugin.Year, Limit: limit}}, Redis: &plugin.Redis{}}
	var used atomic.Int64
	var wg sync.WaitGroup
	var limiters []plugin.Limiter
	for i, g := range gates {
		l, err := g.Limiter(rule)
		if err != nil {
			t.Fatal(err)
		}
		limiters = append(limiters, l)
		for range workers {
			wg.Go(func() {
				for k := range each {
					var d plugin.Decision
					r, err := l.Reserve(context.Background, id, most, &d)
					if err != nil {
						t.Errorf("%s: Reserve = %v", name, err)
						return
					}
					if r == nil {
						continue
					}
					n := int64((k + i) % most)
					r.Settle(n)
					used.Add(n)
				}
			})
		}
	}
	wg.Wait()
	// Every token that was not used goes back: one by one they are all there.
	rest := int64(0)
	until(t, "what was reserved and not used can be taken", func() bool {
		for _, l := range limiters {
			for {
				var d plugin.Decision
				if err := l.Take(context.Background, id, 1, &d); err != nil || !d.Allowed {
					break
				}
				rest++
			}
		}
		return used.Load()+rest >= limit
	})
	if used.Load() > limit || used.Load()+rest != limit {
		t.Errorf("%s: %d of %q used and %d left, want %d", name, used.Load(), id, rest, limit)
	}
}
