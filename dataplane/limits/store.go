package limits

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// errMoved says that the store's clock is in another window than the one asked for.
var errMoved = errors.New("the store's clock is in another window")

// errAnswered says that the store answered, with an error: it is there, and asking it again
// costs no more than a round trip.
var errAnswered = errors.New("the store answered with an error")

// complainEvery is how often errors are logged that every request may meet.
const complainEvery = 10 * time.Second

// charge is one question to a backend: n of all windows, or of none.
type charge struct {
	key     string // of the rule and identifier; windows of one key live together
	n       int64
	windows []span

	// The answer.
	granted bool
	used    [periods]int64 // of each window, without n
	now     time.Time      // by the store's clock
}

// span is one window of a charge, in the store's time.
type span struct {
	name       string
	limit      int64
	start, end time.Time
}

// backend is where counts are shared. All methods may be called concurrently.
type backend interface {
	// Charge fills in the answer, or returns errMoved with the store's time in c.now when
	// that is outside of a window. An error that the store itself answered is errAnswered.
	Charge(ctx context.Context, c *charge) error
	Ping(ctx context.Context) error
	Close() error
}

// store is a backend with what this gate knows of it: its clock, whether it answers, and
// who has nothing left there.
type store struct {
	name    string
	backend backend
	clock   func() time.Time
	log     *slog.Logger
	ahead   atomic.Int64 // the store's clock minus ours, in nanoseconds
	breaker breaker
	spent   *spent
	quiet   atomic.Int64 // until when nothing is logged of answered errors, Unix nanoseconds
}

func newStore(name string, b backend, clock func() time.Time, log *slog.Logger) *store {
	return &store{name: name, backend: b, clock: clock, log: log, spent: newSpent()}
}

// now is the store's time as far as this gate knows.
func (s *store) now() time.Time { return s.clock().Add(time.Duration(s.ahead.Load())) }

// charge asks the backend and keeps what the answer says of its clock and health.
func (s *store) charge(ctx context.Context, c *charge) error {
	if !s.breaker.allow(s.clock()) {
		return fmt.Errorf("store %s does not answer", s.name)
	}
	sent := s.clock()
	err := s.backend.Charge(ctx, c)
	received := s.clock()
	if err != nil && !errors.Is(err, errMoved) {
		s.blame(err)
		return fmt.Errorf("ask store %s: %w", s.name, err)
	}
	if s.breaker.succeeded() {
		s.log.Info("store answers again", "store", s.name)
	}
	s.ahead.Store(int64(c.now.Sub(sent.Add(received.Sub(sent) / 2))))
	return err
}

// blame notes an error of a call.
func (s *store) blame(err error) {
	now := s.clock()
	if errors.Is(err, context.Canceled) {
		return // a client that went away says nothing of the store
	}
	if errors.Is(err, errAnswered) {
		quiet := s.quiet.Load()
		if now.UnixNano() >= quiet && s.quiet.CompareAndSwap(quiet, now.Add(complainEvery).UnixNano()) {
			s.log.Warn("store refuses to count", "store", s.name, "error", err)
		}
		return
	}
	if s.breaker.failed(now) {
		s.log.Warn("store does not answer; it is not asked until it does", "store", s.name, "error", err)
	}
}

// probe tries a store that is away, so that no request has to.
func (s *store) probe(ctx context.Context) {
	if !s.breaker.isOpen() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, probeEvery)
	defer cancel()
	if err := s.backend.Ping(ctx); err != nil {
		s.breaker.failed(s.clock())
		return
	}
	if s.breaker.succeeded() {
		s.log.Info("store answers again", "store", s.name)
	}
}

func (s *store) sweep() { s.spent.sweep(s.now()) }
