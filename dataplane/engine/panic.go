package engine

import (
	"runtime/debug"
	"strings"
)

// panicked ends an exchange in which something panicked with p, as far as that is safe: the log
// filters that have not seen it do now, for what they hold (a slot, a reservation) would be gone
// until a restart. Nobody knows who else still holds the exchange: the caller lets go of it and
// of its connection.
func (e *exchange) panicked(message string, p any) {
	e.eng.opt.Logger.Error(message, "panic", p, "request_id", strings.Clone(e.x.ID), "stack", string(debug.Stack()))
	if e.view == nil { // nothing had begun
		return
	}
	x := &e.x
	x.Times.End = e.look()
	if x.Response.Status == 0 {
		x.Response.Status = 500
	}
	if x.Reason == "" {
		x.Reason = "panicked"
	}
	if !e.noted {
		e.view.served.note(&x.Response, e.endpoint != nil)
	}
	for e.logGuarded() {
	}
}

// logGuarded has log filters see the exchange until one panics, and reports whether one did.
func (e *exchange) logGuarded() (again bool) {
	defer func() {
		if p := recover(); p != nil {
			e.eng.opt.Logger.Error("log filter panicked after a panic", "panic", p, "stack", string(debug.Stack()))
			again = true
		}
	}()
	e.log()
	return false
}
