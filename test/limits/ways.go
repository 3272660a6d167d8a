package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sekifuda/sekifuda/plugin"
)

// The ways to limit that are held against leases on the same Redis. Each counts in windows of a
// second, as what they stand for does with Kong's defaults.
const (
	eachRequest = "INCR for each request" // Kong's sync_rate of -1
	delta       = "deltas every 100 ms"   // Kong's sync_rate of 0.1
)

// otherWay is a limiter of a way, and what runs it until ctx ends.
func otherWay(way, url string, limit int64) (l plugin.Limiter, run func(ctx context.Context) error, err error) {
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, nil, err
	}
	o.PoolSize = drivers
	c := redis.NewClient(o)
	wait := func(ctx context.Context) error { <-ctx.Done(); return c.Close() }
	switch way {
	case eachRequest:
		return &incr{client: c, limit: limit}, wait, nil
	case delta:
		d := &deltas{client: c, limit: limit, counts: map[string]*deltaCount{}}
		return d, d.run, nil
	}
	return nil, nil, fmt.Errorf("there is no way %q", way)
}

// incr asks Redis for each request.
type incr struct {
	plugin.Limiter // it does not reserve

	client *redis.Client
	limit  int64
}

// Take implements plugin.Limiter.
func (i *incr) Take(ctx func() context.Context, identifier string, n int64, d *plugin.Decision) error {
	now := time.Now()
	key := windowKey("incr", identifier, now)
	var used *redis.IntCmd
	_, err := i.client.Pipelined(ctx(), func(p redis.Pipeliner) error {
		used = p.IncrBy(ctx(), key, n)
		p.Expire(ctx(), key, 10*time.Second)
		return nil
	})
	*d = plugin.Decision{Allowed: err == nil && used.Val() <= i.limit, Counted: err == nil, Now: now}
	return err
}

func windowKey(way, identifier string, now time.Time) string {
	return fmt.Sprint(way, ":", identifier, ":", now.Unix())
}

// deltas counts here and tells Redis from time to time.
type deltas struct {
	plugin.Limiter // it does not reserve

	client *redis.Client
	limit  int64

	mu     sync.Mutex // guards counts
	counts map[string]*deltaCount
}

// deltaCount is a window's use: by all as Redis last said, and here since.
type deltaCount struct{ told, since int64 }

// Take implements plugin.Limiter.
func (s *deltas) Take(_ func() context.Context, identifier string, n int64, d *plugin.Decision) error {
	now := time.Now()
	key := windowKey("delta", identifier, now)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts[key]
	if c == nil {
		c = &deltaCount{}
		s.counts[key] = c
	}
	*d = plugin.Decision{Allowed: c.told+c.since+n <= s.limit, Counted: true, Now: now}
	if d.Allowed {
		c.since += n
	}
	return nil
}

func (s *deltas) run(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return s.client.Close()
		case <-tick.C:
			if err := s.sync(ctx); err != nil && !errors.Is(err, context.Canceled) {
				return err
			}
		}
	}
}

func (s *deltas) sync(ctx context.Context) error {
	s.mu.Lock()
	push := map[string]int64{}
	for key, c := range s.counts {
		push[key] = c.since
	}
	s.mu.Unlock()
	for key, n := range push {
		told, err := s.client.IncrBy(ctx, key, n).Result()
		if err != nil {
			return err
		}
		s.client.Expire(ctx, key, 10*time.Second)
		s.mu.Lock()
		c := s.counts[key]
		c.told, c.since = told, c.since-n
		if n == 0 && key < windowKey("delta", "", time.Now().Add(-3*time.Second)) {
			delete(s.counts, key)
		}
		s.mu.Unlock()
	}
	return nil
}
