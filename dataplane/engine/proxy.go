package engine

import (
	"errors"
	"strconv"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/engine/h1"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
	"github.com/sekifuda/sekifuda/plugin"
)

// proxy passes the request on and relays the answer.
func (e *exchange) proxy() {
	if s := e.endpoint.Upstream.Spec.Protocol; s == "grpc" || s == "grpcs" {
		e.proxyH2() // a stream of messages is never held
		return
	}
	if err := e.prepareBody(); err != nil {
		e.clientFault(err)
		return
	}
	e.pick.Key = e.hashKey()
	for try := 0; ; try++ {
		now := e.after()
		peer, err := e.endpoint.Upstream.Next(e.contextOf, e.eng.opt.Network, &e.pick, now)
		if err != nil {
			e.noPeer(err)
			return
		}
		if try == 0 {
			e.x.Times.Proxied = now
		}
		r := e.attempt(&peer)
		switch {
		case r.err == nil:
			e.relay()
			return
		case r.again && try < e.endpoint.Upstream.Spec.Retries && !e.watch.lost():
			e.lastTry().State = "next"
		default:
			e.failed(r.err)
			return
		}
	}
}

// prepareBody holds the body, or the beginning of it, where the route buffers requests.
func (e *exchange) prepareBody() error {
	if e.endpoint.RequestBuffering {
		return e.hold(holdSize)
	}
	if data, ok := e.client.whole(); ok && e.body.data == nil && !e.body.complete {
		e.body.data, e.body.complete, e.body.seen = data, true, int64(len(data))
	}
	return nil
}

// result is how one try ended.
type result struct {
	err   error
	again bool // another peer may be tried
}

// attempt sends the request to one peer and reads the head of its answer. A kept connection
// that the peer has closed meanwhile is no failure of the peer: then a new one is made.
func (e *exchange) attempt(peer *upstream.Peer) result {
	start := e.after()
	e.x.Upstream.Tries = append(e.x.Upstream.Tries, plugin.Try{Addr: peer.Addr, Start: start})
	e.proxied = true
	peer.Begin()
	r := e.connectAndAsk(peer, false, start)
	if r.err != nil && e.reply.stale(r.err) && e.repeatable() && !e.watch.lost() {
		r = e.connectAndAsk(peer, true, start)
	}
	t := e.lastTry()
	now := e.now // that of the last read, where there is an answer
	if r.err != nil {
		now = e.look()
	}
	outcome, status := upstream.Answered, 0
	switch {
	case r.err == nil:
		status = e.reply.head.Status
		t.Code = status
		e.noteStatus(status)
		e.x.Times.FirstByte = now
	case upstream.IsTimeout(r.err):
		outcome = upstream.TimedOut
		e.noteStatus(504)
	default:
		outcome = upstream.Refused
		e.noteStatus(502)
	}
	if r.err != nil {
		t.State = "failed"
	}
	if r.err == nil || !e.watch.lost() {
		peer.End(&e.pick, outcome, status, now.Sub(start))
	} else {
		peer.Cancel()
	}
	return r
}

func (e *exchange) lastTry() *plugin.Try {
	return &e.x.Upstream.Tries[len(e.x.Upstream.Tries)-1]
}

// repeatable reports whether the request may be sent twice: its method allows that, and its
// body is still there.
func (e *exchange) repeatable() bool {
	switch e.method() {
	case "POST", "PATCH", "LOCK": // nginx's list
		return false
	}
	return e.body.complete
}

// noticed reports whether what was noticed of kept connections is fresh: the client's request was
// itself waited for, and has not been on its way for longer than a look at them would be worth.
func (e *exchange) noticed(now time.Time) bool {
	return e.woken && now.Sub(e.x.Times.Start) < noticedFor
}

const noticedFor = time.Millisecond

// stale reports whether a failure is that of a connection which was kept for too long.
func (r *reply) stale(err error) bool {
	return r.reused && !r.heard && !upstream.IsTimeout(err)
}

func (e *exchange) connectAndAsk(peer *upstream.Peer, fresh bool, start time.Time) result {
	u := e.endpoint.Upstream
	host, name := e.hostFor(peer), ""
	if u.Secure() {
		name, _ = splitHost(host)
	}
	e.reply.reused, e.reply.heard = false, false
	c, err := u.Connect(e.contextOf, e.eng.opt.Network, peer, name, fresh, e.noticed(start), start)
	if err != nil {
		return result{err, true}
	}
	t := e.lastTry()
	t.Duration, t.Keepalive = e.after().Sub(start), c.Reused
	e.reply.begin(c)
	e.reply.reused = c.Reused
	if !e.watch.attach(c, e.subject()) || e.cutOff() {
		e.reply.settle(e, false)
		return result{errClient, false}
	}
	if err := e.ask(c, host); err != nil {
		e.stopPump()
		e.reply.settle(e, false)
		if e.watch.lost() {
			err = errClient
		}
		again := e.repeatable() && !errors.Is(err, errInvalid) && !errors.Is(err, errClient)
		return result{err, again}
	}
	return result{}
}

// ask sends the request and reads the head of the answer.
func (e *exchange) ask(c *upstream.Conn, host string) error {
	spec := e.endpoint.Upstream.Spec
	out := e.appendRequest(e.client.outBuffer(), host)
	b := &e.body
	if b.complete {
		out = append(out, b.data...)
	}
	n, err := c.Write(out, e.now, spec.WriteTimeout)
	e.client.keepOut(out)
	if len(out) > quickWrite {
		e.look()
	}
	if err != nil && n == 0 {
		return err
	}
	// A peer that answers and closes before it read everything makes the write fail: its
	// answer is there all the same.
	if err == nil && !b.complete {
		e.client.invite()
		e.startPump(c)
	}
	for {
		if err := e.reply.readHead(e, spec.ReadTimeout); err != nil {
			if fault := e.pumpFault(); fault != nil {
				return fault
			}
			return err
		}
		h := &e.reply.head
		if h.Status >= 200 || h.Status == 101 && e.upgrades() {
			return nil
		}
		if h.Status == 101 {
			return errInvalid
		}
		if h.Status == 100 { // the gate has invited the body itself
			continue
		}
		if err := e.client.interim(e, h.Status, h.Reason, &e.x.Response.Header); err != nil {
			return err
		}
	}
}

// quickWrite is what an idle connection takes without waiting: the least that Linux buffers.
const quickWrite = 4 << 10

// noteStatus keeps the status of each try, for logs.
func (e *exchange) noteStatus(status int) {
	r := &e.x.Response
	from := len(e.scratch)
	if r.UpstreamStatus != "" {
		e.scratch = append(append(e.scratch, r.UpstreamStatus...), ", "...)
	}
	e.scratch = strconv.AppendInt(e.scratch, int64(status), 10)
	r.UpstreamStatus = e.since(from)
}

// noPeer answers when nobody is there to be asked.
func (e *exchange) noPeer(err error) {
	var resolve *upstream.ResolveError
	switch {
	case e.watch.lost():
		e.client.cut()
		e.x.Response.Status = 499
	case errors.Is(err, upstream.ErrNoPeer), errors.Is(err, upstream.ErrNoName):
		e.proxied = false
		e.x.Reason = "no-healthy-target"
		e.deny(503, err.Error())
	case errors.As(err, &resolve):
		e.proxied, e.x.Reason = false, "name-resolution-failed"
		e.deny(500, err.Error())
	default:
		e.failed(err)
	}
}

// failed answers when the last try has failed.
func (e *exchange) failed(err error) {
	var fault *h1.Error
	e.x.Response.Header.Reset()
	switch {
	case errors.As(err, &fault), errors.Is(err, errClient), e.watch.lost():
		e.clientFault(err)
	case upstream.IsTimeout(err):
		e.x.Reason = "upstream-timeout"
		e.page(504)
	default:
		e.x.Reason = "upstream-failed"
		e.page(502)
	}
}

// clientFault ends an exchange by what the client did: a bad body is answered, a client that
// left is not. 499 is nginx's number for it, seen in logs.
func (e *exchange) clientFault(err error) {
	var fault *h1.Error
	if errors.As(err, &fault) && !e.watch.lost() {
		e.x.Reason = "malformed-body"
		e.page(fault.Status)
		return
	}
	if upstream.IsTimeout(err) && !e.watch.lost() {
		e.x.Reason = "client-too-slow"
		e.page(408)
		return
	}
	e.x.Response.Status, e.x.Reason = 499, "client-gone"
	e.client.cut()
}
