package engine

import (
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/block"
	"github.com/sekifuda/sekifuda/plugin"
)

// blocked is the reason of what is refused ahead of configuration.
const blocked = "blocked"

// Block refuses what s holds from now on, whatever the graph says, and cuts what is under way;
// nil refuses nothing.
func (e *Engine) Block(s *block.Set) {
	e.blocks.Store(s)
	if s == nil {
		return
	}
	now := e.opt.Now()
	e.mu.Lock()
	all := make([]*exchange, 0, len(e.exchanges))
	for x := range e.exchanges {
		all = append(all, x)
	}
	e.mu.Unlock()
	for _, x := range all {
		x.watch.block(s, now)
	}
}

// subject is of whom, and to what, an exchange is.
type subject struct {
	client     netip.Addr
	route      *plugin.Route
	service    *plugin.Service
	consumer   *plugin.Consumer
	credential *plugin.Credential
}

func (e *exchange) subject() subject {
	x := &e.x
	return subject{x.Client, x.Route, x.Service, x.Consumer, x.Credential}
}

// blockedBy is the block that a subject meets, or nil.
func (u *subject) blockedBy(s *block.Set, now time.Time) *block.Entry {
	if u.client.IsValid() {
		if b := s.Client(u.client, now); b != nil {
			return b
		}
	}
	if b := s.Way(u.route, u.service, now); b != nil {
		return b
	}
	return s.Who(u.consumer, u.credential, now)
}

// carries says of whom an exchange is that no connection was attached for. cut ends a tunnel.
func (w *watch) carries(about subject, cut func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.about, w.cut = about, cut
}

// block gives the exchange up if it is blocked.
func (w *watch) block(s *block.Set, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.active || w.gone {
		return
	}
	b := w.about.blockedBy(s, now)
	if b == nil {
		return
	}
	w.blocked = b
	if w.cut != nil {
		w.cut()
	}
	w.abandonLocked()
}

// cutOff looks again once it is known to Block of whom the exchange is: one that came between
// the checks and that would be missed by both.
func (e *exchange) cutOff() bool {
	s := e.eng.blocks.Load()
	return s != nil && e.cutOffBy(s)
}

func (e *exchange) cutOffBy(s *block.Set) bool {
	e.watch.block(s, e.now)
	return e.watch.lost()
}

// noteBlocked gives the reason of an exchange that was cut.
func (e *exchange) noteBlocked() {
	e.watch.mu.Lock()
	b := e.watch.blocked
	e.watch.mu.Unlock()
	if b != nil {
		e.x.Reason, e.x.Decided = blocked, plugin.Decided{Detail: b.Detail}
	}
}

// The three looks below are taken where there is a set at all.

func (e *exchange) blockedClient(s *block.Set) plugin.Verdict {
	return e.refusedBy(s.Client(e.x.Client, e.now), http.StatusForbidden, "You are blocked for now")
}

func (e *exchange) blockedWho(s *block.Set) plugin.Verdict {
	return e.refusedBy(s.Who(e.x.Consumer, e.x.Credential, e.now), http.StatusForbidden, "You are blocked for now")
}

// blockedWay tells clients when to come back; those who are blocked themselves need not know.
func (e *exchange) blockedWay(s *block.Set) plugin.Verdict {
	b := s.Way(e.x.Route, e.x.Service, e.now)
	if b != nil {
		left := int64((b.Until.Sub(e.now) + time.Second - 1) / time.Second)
		e.x.Early.Set("Retry-After", strconv.FormatInt(left, 10))
	}
	return e.refusedBy(b, http.StatusServiceUnavailable, "This is switched off for now")
}

// refuseClient and refuseWay answer what the first and the second look refuse. They are not inlined:
// every goroutine of a connection keeps the stack that serve once needed.

//go:noinline
func (e *exchange) refuseClient(s *block.Set) bool {
	v := e.blockedClient(s)
	if v.Done() {
		e.collect(e.view.Global())
		e.verdict(v)
	}
	return v.Done()
}

//go:noinline
func (e *exchange) refuseWay(s *block.Set) bool {
	v := e.blockedWay(s)
	if v.Done() {
		e.collect(e.endpoint.Chain)
		e.verdict(v)
	}
	return v.Done()
}

func (e *exchange) refusedBy(b *block.Entry, status int, message string) plugin.Verdict {
	if b == nil {
		return plugin.Next
	}
	e.x.Decided = plugin.Decided{Detail: b.Detail}
	return plugin.Deny(status, message).Because(blocked)
}
