package engine

import (
	"context"
	"sync"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/block"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
)

// watchEvery is how often connections are looked at whose answer is being made. A client that
// goes away is noticed after one to two of it; an answer that is faster pays nothing.
const watchEvery = 250 * time.Millisecond

var (
	past  = time.Unix(1, 0)
	never time.Time
)

// watch is how an exchange learns that its client has gone, while it waits for others. begin,
// attach, detach and stop are the exchange's; abandon and look come from elsewhere.
type watch struct {
	mu     sync.Mutex
	turn   uint64 // of the exchange; counts up
	seen   uint64 // the turn at the look before
	active bool
	gone   bool
	conn   *upstream.Conn
	ctx    context.Context
	cancel context.CancelFunc

	about   subject      // of whom the exchange is, once it is with the upstream
	cut     func()       // ends a tunnel; nil: it is none
	blocked *block.Entry // by which the gate gave it up
}

func (w *watch) begin() {
	w.mu.Lock()
	w.turn++
	w.active, w.gone = true, false
	w.about, w.cut, w.blocked = subject{}, nil, nil
	w.mu.Unlock()
}

func (w *watch) stop() {
	w.mu.Lock()
	cancel := w.cancel
	w.active, w.ctx, w.cancel, w.conn = false, nil, nil, nil
	w.about, w.cut, w.blocked = subject{}, nil, nil
	w.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// attach has the connection aborted when the client goes, or is blocked; false: it has gone.
func (w *watch) attach(c *upstream.Conn, about subject) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conn, w.about = c, about
	return !w.gone
}

// detach ends what attach began. After it nobody aborts the connection; false: somebody has.
func (w *watch) detach() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conn = nil
	return !w.gone
}

// lost reports whether the client has gone.
func (w *watch) lost() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gone
}

// context is made when it is first asked for.
func (w *watch) context() context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx == nil {
		w.ctx, w.cancel = context.WithCancel(context.Background())
		if w.gone || !w.active {
			w.cancel()
		}
	}
	return w.ctx
}

// abandon says that the client has gone.
func (w *watch) abandon() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.abandonLocked()
}

func (w *watch) abandonLocked() {
	if !w.active || w.gone {
		return
	}
	w.gone = true
	if w.conn != nil {
		w.conn.Abort()
	}
	if w.cancel != nil {
		w.cancel()
	}
}

// look asks gone for an exchange that was already under way at the look before.
func (w *watch) look(gone func() bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !w.active || w.gone:
	case w.seen != w.turn:
		w.seen = w.turn
	case gone():
		w.abandonLocked()
	}
}

// watch looks at every connection once.
func (e *Engine) watch() {
	now := e.opt.Now()
	e.mu.Lock()
	all := make([]tracked, 0, len(e.conns))
	for t := range e.conns {
		all = append(all, t)
	}
	e.mu.Unlock()
	for _, t := range all {
		t.look(now)
	}
}

func (c *conn) look(time.Time) {
	switch phase(c.phase.Load()) {
	case working:
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.ex != nil {
			c.ex.watch.look(c.gone)
		}
	case waiting:
		c.rest()
	}
}

func (c *conn) gone() bool { return c.tcp != nil && c.tcp.HungUp() }
