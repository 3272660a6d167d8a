package records_test

import (
	"context"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sekifuda/sekifuda/dataplane/records"
	"github.com/sekifuda/sekifuda/test/services"
)

// open runs a store until the test ends, or close is called.
func open(t *testing.T, o records.Options) (r records.Records, shut func()) {
	t.Helper()
	r, err := records.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	shut = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	t.Cleanup(shut)
	return r, shut
}

func stores(t *testing.T) map[string]records.Options {
	o, err := redis.ParseURL(services.Redis(t))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]records.Options{
		"memory": {}, "file": {Path: filepath.Join(t.TempDir(), "records.db")}, "redis": {Redis: redis.NewClient(o)},
	}
}

func TestRecords(t *testing.T) {
	t.Parallel()
	for name, o := range stores(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, _ := open(t, o)
			ctx := t.Context()
			want := func(kind, key, value string) {
				t.Helper()
				if got, err := r.Get(ctx, kind, key); err != nil || string(got) != value || (got == nil) != (value == "") {
					t.Errorf("Get(%q, %q) = %q, %v, want %q", kind, key, got, err, value)
				}
			}
			put := func(kind, key, value string, ttl time.Duration) {
				t.Helper()
				if err := r.Put(ctx, kind, key, []byte(value), ttl); err != nil {
					t.Fatal(err)
				}
			}
			want("session", "a", "")
			put("session", "a", "one", time.Hour)
			put("token", "a", "other", 0)
			want("session", "a", "one")
			want("token", "a", "other")
			put("session", "a", "two", 0)
			want("session", "a", "two")
			if got, err := r.Take(ctx, "session", "a"); err != nil || string(got) != "two" {
				t.Errorf("Take = %q, %v", got, err)
			}
			if got, err := r.Take(ctx, "session", "a"); err != nil || got != nil {
				t.Errorf("Take again = %q, %v", got, err)
			}
			want("session", "a", "")
			want("token", "a", "other")
		})
	}
}

// TestTakeIsOnce has many take one record.
func TestTakeIsOnce(t *testing.T) {
	t.Parallel()
	for name, o := range stores(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, _ := open(t, o)
			if err := r.Put(t.Context(), "code", "x", []byte("v"), time.Hour); err != nil {
				t.Fatal(err)
			}
			var got atomic.Int64
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					v, err := r.Take(t.Context(), "code", "x")
					if err != nil {
						t.Errorf("Take: %v", err)
					}
					if v != nil {
						got.Add(1)
					}
				})
			}
			wg.Wait()
			if got.Load() != 1 {
				t.Errorf("%d got the record, want 1", got.Load())
			}
		})
	}
}

func TestFileOutlivesItsGate(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	now.Store(1_700_000_000)
	o := records.Options{
		Path: filepath.Join(t.TempDir(), "records.db"), Now: func() time.Time { return time.Unix(now.Load(), 0) },
	}
	r, shut := open(t, o)
	if err := r.Put(t.Context(), "session", "a", []byte("one"), time.Minute); err != nil {
		t.Fatal(err)
	}
	shut()
	r, _ = open(t, o)
	if got, err := r.Get(t.Context(), "session", "a"); err != nil || string(got) != "one" {
		t.Errorf("Get after a restart = %q, %v", got, err)
	}
	now.Add(60)
	if got, err := r.Get(t.Context(), "session", "a"); err != nil || got != nil {
		t.Errorf("Get of an expired record = %q, %v", got, err)
	}
	if got, err := r.Take(t.Context(), "session", "a"); err != nil || got != nil {
		t.Errorf("Take of an expired record = %q, %v", got, err)
	}
}
