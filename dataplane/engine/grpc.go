package engine

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/engine/h1"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
	"github.com/sekifuda/sekifuda/plugin"
)

// proxyH2 passes the request on over HTTP/2, as gRPC services want it, and relays the answer
// with its trailers.
func (e *exchange) proxyH2() {
	u := e.endpoint.Upstream
	e.watch.carries(e.subject(), nil)
	if e.cutOff() {
		e.clientFault(errClient)
		return
	}
	e.pick.Key = e.hashKey()
	for try := 0; ; try++ {
		now := e.look()
		peer, err := u.Next(e.contextOf, e.eng.opt.Network, &e.pick, now)
		if err != nil {
			e.noPeer(err)
			return
		}
		if try == 0 {
			e.x.Times.Proxied = now
		}
		e.reply.h2, e.proxied = true, true
		e.x.Upstream.Tries = append(e.x.Upstream.Tries, plugin.Try{Addr: peer.Addr, Start: now})
		trip := e.newTrip()
		resp, err := trip.send(&peer)
		now = e.look()
		e.lastTry().Duration = now.Sub(e.lastTry().Start)
		if err == nil {
			e.lastTry().Code = resp.StatusCode
			e.x.Times.FirstByte = now
			e.noteStatus(resp.StatusCode)
			peer.End(&e.pick, upstream.Answered, resp.StatusCode, now.Sub(e.lastTry().Start))
			e.relayH2(trip, resp)
			return
		}
		trip.end()
		e.noteFailure(&peer, err)
		var dial *upstream.DialError
		if !errors.As(err, &dial) || try >= u.Spec.Retries || e.watch.lost() {
			e.failed(err)
			return
		}
		e.lastTry().State = "next"
	}
}

func (e *exchange) noteFailure(peer *upstream.Peer, err error) {
	e.lastTry().State = "failed"
	switch {
	case e.watch.lost():
		peer.Cancel()
	case upstream.IsTimeout(err):
		e.noteStatus(504)
		peer.End(&e.pick, upstream.TimedOut, 0, 0)
	default:
		e.noteStatus(502)
		peer.End(&e.pick, upstream.Refused, 0, 0)
	}
}

// trip is one request over HTTP/2 and its answer.
type trip struct {
	e      *exchange
	ctx    context.Context
	cancel context.CancelCauseFunc
	idle   *time.Timer // ends the trip when the upstream is silent for too long
	body   source
}

var errSilent error = silent{}

type silent struct{}

func (silent) Error() string { return "upstream is silent" }
func (silent) Timeout() bool { return true }

func (e *exchange) newTrip() *trip {
	t := &trip{e: e}
	t.ctx, t.cancel = context.WithCancelCause(e.Context())
	t.body.e, t.body.held = e, e.body.data
	return t
}

func (t *trip) send(peer *upstream.Peer) (*http.Response, error) {
	peer.Begin()
	e := t.e
	host := e.hostFor(peer)
	name, _ := splitHost(host)
	u, err := url.ParseRequestURI(string(e.appendURI(nil)))
	if err != nil {
		return nil, &h1.Error{Status: 400}
	}
	u.Scheme, u.Host = "http", peer.Addr.String()
	if e.endpoint.Upstream.Secure() {
		u.Scheme = "https"
	}
	q := (&http.Request{Method: e.method(), URL: u, Host: host, Header: e.headerH2(), ContentLength: -1, Body: &t.body}).WithContext(t.ctx)
	switch {
	case e.body.complete && len(e.body.data) == 0:
		q.Body, q.ContentLength = http.NoBody, 0
	case e.body.complete:
		q.ContentLength = int64(len(e.body.data))
	case e.head.Length > 0:
		q.ContentLength = e.head.Length
	}
	t.idle = time.AfterFunc(e.endpoint.Upstream.Spec.ReadTimeout, func() { t.cancel(errSilent) })
	resp, err := e.endpoint.Upstream.RoundTrip(e.eng.opt.Network, peer, name, q)
	return resp, t.cause(err)
}

// cause is why a trip ended, when that was the gate's own doing.
func (t *trip) cause(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	if c := context.Cause(t.ctx); c != nil {
		return c
	}
	return err
}

// end lets nobody use the exchange any more on the trip's behalf.
func (t *trip) end() {
	if t.idle != nil {
		t.idle.Stop()
	}
	t.cancel(context.Canceled)
	t.body.stop()
}

// headerH2 is the header for the upstream. It reuses the writer of HTTP/1.1: one place says what
// the gate tells an upstream.
func (e *exchange) headerH2() http.Header {
	h := make(http.Header, e.x.Request.Header.Len()+8)
	for _, f := range e.x.Request.Header.Fields() {
		if !setByGate(f.Name) && h1.ValidName(f.Name) {
			h.Add(f.Name, string(h1.AppendValue(nil, f.Value)))
		}
	}
	var lines plugin.Header
	b := append(e.appendForwarded(nil), "\r\n"...)
	if h1.ParseLines(b, &lines) == nil {
		for _, f := range lines.Fields() {
			h.Add(f.Name, f.Value)
		}
	}
	if e.eng.opt.Identity.RequestIDUpstream {
		h.Set("X-Kong-Request-Id", e.x.ID)
	}
	if e.head.Trailers || h1.HasToken(e.x.Request.Header.Get("Te"), "trailers") { // a client's, or a filter's
		h.Set("Te", "trailers")
	}
	return h
}

// source is a request's body as the transport reads it, in a goroutine of its own.
type source struct {
	e    *exchange
	held []byte

	mu    sync.Mutex // held while reading
	over  bool
	ended bool
}

func (s *source) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over:
		return 0, errClient
	case len(s.held) > 0:
		n := copy(p, s.held)
		s.held = s.held[n:]
		return n, nil
	case s.e.body.complete:
		s.ended = true
		return 0, io.EOF
	}
	n, err := s.e.readBody(p)
	s.ended = err != nil
	return n, err
}

// Close does nothing: the client's body is the exchange's.
func (s *source) Close() error { return nil }

// stop waits until no read is under way and lets no further one begin.
func (s *source) stop() {
	if !s.mu.TryLock() {
		s.e.client.stopBody()
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	if !s.ended && !s.e.body.complete && !s.over {
		s.e.body.pumping = true // the rest of the body is unread: the connection ends
	}
	s.over = true
}

// relayH2 passes the answer on, piece by piece.
func (e *exchange) relayH2(t *trip, resp *http.Response) {
	defer t.end()
	defer resp.Body.Close()
	x := &e.x
	h := &x.Response.Header
	for name, values := range resp.Header {
		for _, v := range values {
			h.Append(name, v)
		}
	}
	x.Response.Status, x.Response.Source, x.Response.Length = resp.StatusCode, plugin.FromUpstream, resp.ContentLength
	e.reason = reasonPhrase(resp.StatusCode)
	e.reply.head = h1.Head{Length: resp.ContentLength}
	e.bodyless = h1.Bodyless(e.method(), resp.StatusCode)
	e.cleanHead()
	e.respond()
	if len(x.Response.Rewrites()) > 0 && !e.bodyless {
		e.rewriteH2(t, resp)
		return
	}
	stream := e.streamH2
	if len(x.Response.Edits()) > 0 && !e.bodyless {
		stream = e.streamEditedH2
	}
	if err := stream(t, resp); err != nil {
		e.client.cut()
	}
}

// streamEditedH2 passes the body through the filters that edit it piece by piece.
func (e *exchange) streamEditedH2(t *trip, resp *http.Response) error {
	e.x.Response.Length = -1
	e.x.Response.Header.Del("Content-Length")
	if err := e.client.start(e, nil, false); err != nil {
		return err
	}
	buf := pumpBuffers.Get().(*[]byte)
	defer pumpBuffers.Put(buf)
	for {
		t.idle.Reset(e.endpoint.Upstream.Spec.ReadTimeout)
		n, err := resp.Body.Read(*buf)
		e.look()
		over := errors.Is(err, io.EOF)
		if err != nil && !over {
			return err
		}
		if err := e.sendEdited((*buf)[:n], over); err != nil {
			return err
		}
		if over {
			break
		}
	}
	trailer := trailerOf(resp)
	return e.finishEdited(&trailer)
}

func (e *exchange) streamH2(t *trip, resp *http.Response) error {
	// The head goes at once: a caller of a stream may wait for it before it sends.
	empty := e.bodyless || resp.ContentLength == 0
	if err := e.client.start(e, nil, empty && len(resp.Trailer) == 0); err != nil {
		return err
	}
	buf := pumpBuffers.Get().(*[]byte)
	defer pumpBuffers.Put(buf)
	b := *buf
	for !empty {
		t.idle.Reset(e.endpoint.Upstream.Spec.ReadTimeout)
		n, err := resp.Body.Read(b[h1.SizeRoom : len(b)-h1.EndRoom])
		e.look()
		if n > 0 {
			if err := e.client.send(e, b, h1.SizeRoom, h1.SizeRoom+n); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if empty && len(resp.Trailer) == 0 {
		return nil
	}
	trailer := trailerOf(resp)
	return e.client.finish(e, &trailer)
}

func trailerOf(resp *http.Response) plugin.Header {
	var h plugin.Header
	for name, values := range resp.Trailer {
		for _, v := range values {
			h.Append(name, v)
		}
	}
	return h
}

func (e *exchange) rewriteH2(t *trip, resp *http.Response) {
	t.idle.Reset(e.endpoint.Upstream.Spec.ReadTimeout)
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRewrite+1))
	e.look()
	if err != nil || len(body) > maxRewrite {
		e.client.cut()
		return
	}
	for _, edit := range e.x.Response.Rewrites() {
		body = edit(body)
	}
	e.x.Response.Length = int64(len(body))
	if e.client.start(e, body, len(resp.Trailer) == 0) == nil && len(resp.Trailer) > 0 {
		trailer := trailerOf(resp)
		_ = e.client.finish(e, &trailer) // the stream tells its own end
	}
}
