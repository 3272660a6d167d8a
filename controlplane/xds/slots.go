package xds

import (
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// parkFor is how long a node that is ahead waits for this replica to catch up.
	parkFor = 5 * time.Second
	// holdFor is how long a node may take over one chunk before another gets its slot: a
	// stalled node must not keep fresh ones out.
	holdFor = 10 * time.Second
	// holdLast is how long it may take over the last one: by then it compiles, and the
	// transport has long let go of the chunk.
	holdLast = time.Second
)

// slots bounds how many chunks of large moves are under way. Nodes take turns, a chunk each.
type slots struct {
	max   int
	held  map[*watch]time.Time
	queue []*watch
}

// take gives w a slot, or queues it.
func (s *slots) take(w *watch, now time.Time) bool {
	if len(s.held) >= s.max {
		s.queue = append(s.queue, w)
		return false
	}
	s.hold(w, now)
	return true
}

func (s *slots) hold(w *watch, now time.Time) {
	if s.held == nil {
		s.held = make(map[*watch]time.Time)
	}
	s.held[w] = now
}

// release takes w out and sends to whoever is next.
func (c *Cache) release(w *watch) {
	if w.move == nil {
		return
	}
	s := &c.slots
	if _, ok := s.held[w]; !ok {
		s.queue = slices.DeleteFunc(s.queue, func(o *watch) bool { return o == w })
		return
	}
	delete(s.held, w)
	c.advance()
}

func (c *Cache) advance() {
	s := &c.slots
	for len(s.queue) > 0 && len(s.held) < s.max {
		next := s.queue[0]
		s.queue = slices.Delete(s.queue, 0, 1)
		s.hold(next, c.now())
		c.moves.begin(next.move, c.now())
		c.deliver(next, next.move, next.chunk)
	}
}

func (w *watch) holdFor() time.Duration {
	if w.chunk == len(w.move.chunks)-1 {
		return holdLast
	}
	return holdFor
}

// sweep enforces the deadlines as of now.
func (c *Cache) sweep(now time.Time) {
	if c.sweepLocked(now) {
		c.wake()
	}
}

// sweepLocked reports whether nodes may have what they could not have before.
func (c *Cache) sweepLocked(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for w, since := range c.slots.held {
		if now.Sub(since) >= w.holdFor() {
			delete(c.slots.held, w)
		}
	}
	c.advance()
	for w := range c.watches {
		if w.parked.IsZero() || now.Sub(w.parked) < parkFor {
			continue
		}
		delete(c.watches, w)
		w.deliver(&response{req: w.req, err: status.Errorf(codes.Unavailable,
			"node stands at %d.%d.%d, ahead of this replica", w.from.Generation, w.from.Staged, w.from.Live)})
	}
	c.moves.sweep(now)
	return c.canaries.expire(now)
}
