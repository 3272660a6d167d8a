package outbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
)

// server takes batches and fails as often as it is told.
type server struct {
	mu      sync.Mutex
	fail    int
	got     []string
	at      []time.Duration
	begin   time.Time
	entries int
}

func (s *server) send(_ context.Context, batch [][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = append(s.at, time.Since(s.begin))
	if s.fail > 0 {
		s.fail--
		return errors.New("server is away")
	}
	s.got = append(s.got, string(bytes.Join(batch, []byte(" "))))
	s.entries += len(batch)
	return nil
}

func (s *server) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.got, "|")
}

// start runs a queue in a bubble of its own time; stop ends it and waits.
func start(s Settings, srv *server) (q *Queue, log *bytes.Buffer, stop func()) {
	log = &bytes.Buffer{}
	srv.begin = time.Now()
	q = New(s, slog.New(slog.NewTextHandler(log, nil)))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); q.Run(ctx, srv.send) }()
	return q, log, func() { cancel(); <-done }
}

func add(q *Queue, entries ...string) {
	for _, e := range entries {
		q.Add(func(b []byte) []byte { return append(b, e...) })
	}
}

func small(change func(*Settings)) Settings {
	s := Settings{Entries: 100, Bytes: 1000, Batch: 1}
	if change != nil {
		change(&s)
	}
	return s
}

func TestEntriesAreSentInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := &server{}
		q, _, stop := start(small(nil), srv)
		add(q, "a", "b", "c")
		synctest.Wait()
		if got := srv.all(); got != "a|b|c" {
			t.Errorf("sent %q", got)
		}
		stop()
	})
}

func TestBatchesAreFullOrLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := &server{}
		q, _, stop := start(small(func(s *Settings) { s.Batch, s.Coalesce = 3, 2*time.Second }), srv)
		add(q, "a", "b", "c", "d")
		synctest.Wait()
		if got := srv.all(); got != "a b c" {
			t.Errorf("at once %q", got)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := srv.all(); got != "a b c|d" {
			t.Errorf("after the delay %q", got)
		}
		stop()
	})
}

func TestRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := &server{fail: 4}
		q, log, stop := start(small(func(s *Settings) {
			s.RetryFor, s.FirstDelay, s.MaxDelay = time.Minute, time.Second, 3*time.Second
		}), srv)
		add(q, "a")
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if got, at := srv.all(), fmt.Sprint(srv.at); got != "a" || at != "[0s 1s 3s 6s 9s]" || strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "server is away") {
			t.Errorf("sent %q with tries at %s, log %q", got, at, log)
		}
		stop()
	})
}

func TestWhatCannotBeSentIsLostAndTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := &server{fail: 6}
		q, log, stop := start(small(func(s *Settings) { s.RetryFor, s.FirstDelay, s.MaxDelay = 3*time.Second, time.Second, time.Minute }), srv)
		add(q, "a", "b", "c")
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := srv.all(); got != "c" {
			t.Errorf("sent %q after tries at %v", got, srv.at)
		}
		if lost, again := strings.Count(log.String(), "are lost"), strings.Count(log.String(), "sent again"); lost != 1 || again != 1 {
			t.Errorf("log tells %d losses and %d ends: %s", lost, again, log)
		}
		stop()
	})
}

func TestOneTryWithoutRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := &server{fail: 1}
		q, _, stop := start(small(nil), srv)
		add(q, "a", "b")
		synctest.Wait()
		if got := srv.all(); got != "b" || len(srv.at) != 2 {
			t.Errorf("sent %q after %d tries", got, len(srv.at))
		}
		stop()
	})
}

func TestBounds(t *testing.T) {
	t.Parallel()
	want := []string{"333 four five", "four five"}
	for i, s := range []Settings{{Entries: 3, Batch: 10}, {Entries: 1000, Bytes: 9, Batch: 10}} {
		log := &bytes.Buffer{}
		q := New(s, slog.New(slog.NewTextHandler(log, nil)))
		add(q, "one", "two", "333", "four", "five")
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		srv := &server{}
		q.Run(ctx, srv.send)
		if got := srv.all(); got != want[i] || !strings.Contains(log.String(), fmt.Sprintf("entries=%d", 2+i)) {
			t.Errorf("%+v: sent %q, log %s", s, got, log)
		}
		if q.bytes != 0 || q.len() != 0 {
			t.Errorf("%+v: %d bytes of %d entries are left", s, q.bytes, q.len())
		}
	}
}

// TestTheEnd has a queue end while its server is away: what is left is tried once more each.
func TestTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := &server{fail: 2}
		q, log, stop := start(small(func(s *Settings) { s.RetryFor, s.FirstDelay, s.MaxDelay = time.Hour, time.Minute, time.Hour }), srv)
		add(q, "a", "b", "c")
		synctest.Wait()
		stop()
		if got := srv.all(); got != "b|c" || !strings.Contains(log.String(), "are lost") {
			t.Errorf("sent %q, log %s", got, log)
		}
	})
}

// TestTheEndIsBounded has a server that never answers.
func TestTheEndIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := New(small(nil), slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		begin := time.Now()
		go func() {
			defer close(done)
			q.Run(ctx, func(ctx context.Context, _ [][]byte) error { <-ctx.Done(); return ctx.Err() })
		}()
		add(q, "a", "b")
		synctest.Wait()
		cancel()
		<-done
		if took := time.Since(begin); took != DrainFor {
			t.Errorf("the end took %v, want %v", took, DrainFor)
		}
	})
}

func TestWithoutALimitBatchesGoTogether(t *testing.T) {
	t.Parallel()
	const n = 8
	var all sync.WaitGroup
	all.Add(n)
	s, err := Read(&Limits{ConcurrencyLimit: proto.Int64(-1), MaxCoalescingDelay: proto.Float64(0)}, 1)
	if err != nil {
		t.Fatal(err)
	}
	q := New(s, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		q.Run(ctx, func(context.Context, [][]byte) error {
			all.Done()
			all.Wait() // each waits for all: one at a time would never end
			return nil
		})
	}()
	for range n {
		add(q, "x")
	}
	all.Wait()
	cancel()
	<-done
}

func TestRead(t *testing.T) {
	t.Parallel()
	s, err := Read(nil, 200)
	want := Settings{
		Entries: 10000, Batch: 200, Coalesce: time.Second, Senders: 1,
		RetryFor: time.Minute, FirstDelay: 10 * time.Millisecond, MaxDelay: time.Minute,
	}
	if err != nil || s != want {
		t.Errorf("Read(nil) = %+v, %v, want %+v", s, err, want)
	}
	for name, l := range map[string]*Limits{
		"max_batch_size":      {MaxBatchSize: proto.Int64(0)},
		"max_entries":         {MaxEntries: proto.Int64(0)},
		"max_bytes":           {MaxBytes: proto.Int64(-1)},
		"initial_retry_delay": {InitialRetryDelay: proto.Float64(0)},
		"max_retry_delay":     {MaxRetryDelay: proto.Float64(0)},
	} {
		if _, err := Read(l, 1); err == nil || !strings.Contains(err.Error(), "config.queue."+name+":") {
			t.Errorf("Read(%v) = %v, want the name of %s", l, err, name)
		}
	}
}

func TestManyAddAtOnce(t *testing.T) {
	t.Parallel()
	srv := &server{}
	q, _, stop := start(Settings{Entries: 100000, Bytes: 1 << 20, Batch: 7}, srv)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				add(q, "x")
			}
		})
	}
	wg.Wait()
	stop()
	if srv.entries != 4000 {
		t.Errorf("%d entries are sent, want 4000", srv.entries)
	}
}
