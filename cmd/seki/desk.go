package main

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/sekifuda/sekifuda/controlplane"
)

// desk is the control plane of a process. It can be closed for another process, and opened again
// when that one does not take over. Its methods but reachable and ServeHTTP are one goroutine's at a time.
type desk struct {
	open func() (cp *controlplane.ControlPlane, closeStore func(), err error)

	cp         atomic.Pointer[controlplane.ControlPlane]
	closeStore func() // nil: closed
	cancel     context.CancelFunc
	ended      chan error // nil: not started
}

// prepare opens the store and the listeners, and serves nothing yet.
func (d *desk) prepare() error {
	cp, closeStore, err := d.open()
	if err != nil {
		return err
	}
	d.cp.Store(cp)
	d.closeStore = closeStore
	return nil
}

// start serves until close; fail hears of an end before that.
func (d *desk) start(fail context.CancelCauseFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	cp, ended := d.cp.Load(), make(chan error, 1)
	d.cancel, d.ended = cancel, ended
	go func() {
		err := cp.Run(ctx)
		if ctx.Err() == nil {
			fail(err)
		}
		ended <- err
	}()
}

// close finishes the calls under way and closes the store.
func (d *desk) close() (err error) {
	if d.closeStore == nil {
		return nil
	}
	if d.ended != nil {
		d.cancel()
		err = <-d.ended
		d.ended = nil
	}
	d.closeStore()
	d.closeStore = nil
	return err
}

// reachable reports whether the store answers.
func (d *desk) reachable() bool {
	cp := d.cp.Load()
	return cp != nil && cp.Reachable()
}

// ServeHTTP answers GET /status as the Admin API does.
func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.cp.Load().Status().ServeHTTP(w, r)
}

// metrics answers a scrape of a control plane without a node beside it.
func (d *desk) metrics(w http.ResponseWriter, r *http.Request) {
	cp := d.cp.Load()
	if cp == nil {
		answerReady(w, errors.New("the control plane is being opened"))
		return
	}
	cp.WriteMetrics(w, r)
}
