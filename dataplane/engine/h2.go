//lint:file-ignore SA1019 net/http owns its listeners; this server takes a connection that is already accepted

package engine

//lint:file-ignore SA1019 net/http has no way yet to serve or dial one connection of ours

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"

	"github.com/sekifuda/sekifuda/dataplane/engine/h1"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
	"github.com/sekifuda/sekifuda/plugin"
)

// h2server serves HTTP/2 connections; x/net/http2 does the protocol, the exchange is the same
// as everywhere.
type h2server struct {
	eng     *Engine
	server  *http2.Server
	base    *http.Server
	streams sync.Pool // *stream
}

func newH2Server(e *Engine) *h2server {
	s := &h2server{eng: e, server: &http2.Server{
		IdleTimeout:          e.opt.IdleTimeout,
		MaxConcurrentStreams: 128, // nginx's default
	}}
	// What the library says of a connection is about a client that broke a rule.
	s.base = &http.Server{MaxHeaderBytes: e.opt.MaxHeaderBytes, ErrorLog: slog.NewLogLogger(e.opt.Logger.Handler(), slog.LevelInfo)}
	s.streams.New = func() any { return &stream{} }
	if err := http2.ConfigureServer(s.base, s.server); err != nil {
		panic(err) // a base without TLS cannot be wrong
	}
	return s
}

// h2conn is one HTTP/2 connection.
type h2conn struct {
	server  *h2server
	net     net.Conn
	claim   netip.AddrPort
	tls     *tls.ConnectionState
	active  atomic.Int64
	handled atomic.Uint64
}

func (c *h2conn) state() (phase, uint64) {
	if c.active.Load() > 0 {
		return working, c.handled.Load()
	}
	return waiting, c.handled.Load()
}

func (c *h2conn) kill() { c.net.Close() }

// drain does nothing: the server tells all connections at once.
func (c *h2conn) drain() {}

// drain has all connections say GOAWAY and end after their streams.
func (s *h2server) drain() { go s.base.Shutdown(context.Background()) }

// look does nothing: the library notices and ends the streams' contexts.
func (c *h2conn) look(time.Time) {}

func (s *h2server) serve(c net.Conn, claim netip.AddrPort, state *tls.ConnectionState) {
	hc := &h2conn{server: s, net: c, claim: claim, tls: state}
	if !s.eng.add(hc) {
		return
	}
	defer s.eng.remove(hc)
	s.server.ServeConn(c, &http2.ServeConnOpts{
		BaseConfig: s.base,
		Handler:    http.HandlerFunc(hc.handle),
	})
}

// stream is the client of an exchange that came over HTTP/2.
type stream struct {
	conn    *h2conn
	w       http.ResponseWriter
	r       *http.Request
	control *http.ResponseController
	ex      exchange
	out     []byte
	readBy  upstream.Deadline
	writeBy upstream.Deadline
	stopped atomic.Bool
	aborted bool
}

var _ client = (*stream)(nil)

func (c *h2conn) handle(w http.ResponseWriter, r *http.Request) {
	c.active.Add(1)
	c.handled.Add(1)
	defer c.active.Add(-1)
	s := c.server.streams.Get().(*stream)
	s.conn, s.w, s.r, s.control = c, w, r, http.NewResponseController(w)
	s.aborted = false
	s.stopped.Store(false)
	s.readBy.Forget()
	s.writeBy.Forget()
	eng := c.server.eng
	e := &s.ex
	e.init(eng, s)
	eng.enlist(e)
	defer eng.delist(e)
	defer e.release()
	s.guarded(eng)
	if s.aborted {
		panic(http.ErrAbortHandler) // the library's way to reset a stream
	}
	// Only what ended in order is used again: after a panic nobody knows who still holds it.
	s.w, s.r, s.control, s.conn = nil, nil, nil, nil
	c.server.streams.Put(s)
}

// guarded serves; a panic ends the stream, and nothing else of its connection.
func (s *stream) guarded(eng *Engine) {
	defer func() {
		if p := recover(); p != nil {
			s.ex.panicked("exchange panicked", p)
			panic(http.ErrAbortHandler) // the library's way to reset a stream
		}
	}()
	s.serve(eng)
}

func (s *stream) serve(eng *Engine) {
	e, r := &s.ex, s.r
	e.begin(eng.opt.Now())
	stop := context.AfterFunc(r.Context(), e.watch.abandon)
	defer stop()
	x := &e.x
	e.claim = s.conn.claim
	x.Peer, x.Local = addrPort(s.conn.net.RemoteAddr()), eng.opt.door(s.conn.net)
	x.Request.TLS = s.conn.tls
	x.Request.Major, x.Request.Minor = 2, 0
	for name, values := range r.Header {
		for _, v := range values {
			x.Request.Header.Append(name, v)
			x.Request.Size += int64(len(name) + len(v))
		}
	}
	if err := e.headOfStream(r); err != nil {
		e.refuseHead(err.Status)
		return
	}
	e.run()
}

// headOfStream is the head as HTTP/1.1 would have had it, and as strictly checked.
func (e *exchange) headOfStream(r *http.Request) *h1.Error {
	e.head = h1.Head{
		Minor: 1, Method: r.Method, Target: r.RequestURI, Host: r.Host,
		Path: r.RequestURI, Length: r.ContentLength, Chunked: r.ContentLength < 0,
		Trailers: h1.HasToken(r.Header.Get("Te"), "trailers"),
	}
	if r.ContentLength == 0 && r.Header.Get("Content-Length") == "" {
		e.head.Length = -1
	}
	return e.head.CheckTarget()
}

func (s *stream) whole() ([]byte, bool) { return nil, s.r.Body == nil || s.r.ContentLength == 0 }

func (s *stream) readBody(p []byte) (int, error) {
	o := &s.conn.server.eng.opt
	if err := s.readBy.Arm(s.control.SetReadDeadline, o.Now(), o.BodyTimeout); err != nil {
		return 0, fmt.Errorf("%w: %w", errClient, err)
	}
	if s.stopped.Load() {
		return 0, errClient
	}
	n, err := s.r.Body.Read(p)
	switch {
	case n > 0:
		return n, nil
	case errors.Is(err, io.EOF):
		return 0, io.EOF
	}
	return 0, fmt.Errorf("%w: %w", errClient, err)
}

func (s *stream) stopBody() {
	s.stopped.Store(true)
	s.control.SetReadDeadline(past)
}

// invite is not needed: the library sends 100 Continue at the first read.
func (s *stream) invite() {}

func (s *stream) outBuffer() []byte { return s.out[:0] }

func (s *stream) keepOut(b []byte) {
	if cap(b) <= maxOut {
		s.out = b[:0]
	}
}

func (s *stream) start(e *exchange, first []byte, last bool) error {
	r := &e.x.Response
	s.copyHeader(&r.Header)
	out := s.w.Header()
	out.Set("Date", e.eng.date(e.now))
	if r.Length >= 0 && r.Status != 204 && r.Status >= 200 {
		out.Set("Content-Length", strconv.FormatInt(r.Length, 10))
	}
	s.w.WriteHeader(r.Status)
	if e.bodyless {
		return nil
	}
	return s.write(e, first, !last)
}

// copyHeader passes the lines that HTTP/2 has.
func (s *stream) copyHeader(h *plugin.Header) {
	out := s.w.Header()
	for _, f := range h.Fields() {
		if !framedByGate(f.Name) && h1.ValidName(f.Name) && !plugin.EqualName(f.Name, "upgrade") &&
			!plugin.EqualName(f.Name, "proxy-connection") {
			out.Add(f.Name, string(h1.AppendValue(nil, f.Value)))
		}
	}
}

func (s *stream) write(e *exchange, b []byte, flush bool) error {
	o := &e.eng.opt
	if err := s.writeBy.Arm(s.control.SetWriteDeadline, o.Now(), o.BodyTimeout); err != nil {
		return err
	}
	if len(b) > 0 {
		n, err := s.w.Write(b)
		e.x.Response.Size += int64(n)
		if err != nil {
			return err
		}
	}
	if flush {
		return s.control.Flush()
	}
	return nil
}

func (s *stream) send(e *exchange, b []byte, lo, hi int) error { return s.write(e, b[lo:hi], true) }

func (s *stream) finish(_ *exchange, trailer *plugin.Header) error {
	for _, f := range trailer.Fields() {
		if h1.ValidName(f.Name) {
			s.w.Header().Add(http.TrailerPrefix+f.Name, string(h1.AppendValue(nil, f.Value)))
		}
	}
	return nil
}

func (s *stream) cut() { s.aborted = true }

func (s *stream) interim(_ *exchange, status int, _ string, h *plugin.Header) error {
	s.copyHeader(h)
	s.w.WriteHeader(status)
	clear(s.w.Header())
	return nil
}

// tunnel is for what HTTP/1.1 can switch to; an exchange over HTTP/2 never asks for it.
func (s *stream) tunnel() (net.Conn, []byte) { return nil, nil }

func (s *stream) gone() bool { return s.r.Context().Err() != nil }
