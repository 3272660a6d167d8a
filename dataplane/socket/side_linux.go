//go:build linux && !386 && !s390x

package socket

import (
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// side is one direction of a connection: whether a call may do something, and who waits until
// it may. One goroutine waits at a time.
type side struct {
	ready   atomic.Bool // a call may find something
	late    atomic.Bool // the deadline has passed
	waiting atomic.Bool
	wake    chan struct{} // one value for each waiting that somebody else ended
	later   atomic.Pointer[func()]
	waited  bool // the last wait was one; the caller's

	mu    sync.Mutex
	due   time.Time
	timer *time.Timer // made by the first deadline
}

func (s *side) init() {
	s.wake = make(chan struct{}, 1)
	s.ready.Store(true) // nobody has looked yet
}

// wait returns when a call may do something, or with the reason why none will.
func (s *side) wait(c *polled) error {
	s.waited = false
	for {
		switch {
		case c.closed():
			return net.ErrClosed
		case s.late.Load():
			return os.ErrDeadlineExceeded
		case s.ready.Load():
			return nil
		}
		s.waiting.Store(true)
		// Whoever changed one of the three before it saw waiting is seen here.
		if (c.closed() || s.late.Load() || s.ready.Load()) && s.waiting.CompareAndSwap(true, false) {
			continue
		}
		<-s.wake
		s.waited = true
	}
}

// notify ends a wait under way.
func (s *side) notify() {
	if !s.waiting.CompareAndSwap(true, false) {
		return
	}
	if f := s.later.Swap(nil); f != nil {
		go (*f)()
		return
	}
	s.wake <- struct{}{}
}

// call has f called, in a goroutine of its own, when wait would return.
func (s *side) call(c *polled, f func()) {
	s.later.Store(&f)
	s.waiting.Store(true)
	if c.closed() || s.late.Load() || s.ready.Load() {
		s.notify()
	}
}

func (s *side) wakeReady() {
	s.ready.Store(true)
	s.notify()
}

func (s *side) deadline(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.due = t
	if s.timer != nil {
		s.timer.Stop()
	}
	left := time.Until(t)
	s.late.Store(!t.IsZero() && left <= 0)
	switch {
	case t.IsZero():
	case left <= 0:
		s.notify()
	case s.timer == nil:
		s.timer = time.AfterFunc(left, s.expire)
	default:
		s.timer.Reset(left)
	}
}

// expire is the timer's. A deadline that was moved meanwhile is left to its own timer.
func (s *side) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.due.IsZero() && !time.Now().Before(s.due) {
		s.late.Store(true)
		s.notify()
	}
}

// stop ends waits of a connection that was closed.
func (s *side) stop() {
	s.deadline(time.Time{})
	s.notify()
}
