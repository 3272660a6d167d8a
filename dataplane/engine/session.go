package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/graph"
	"github.com/sekifuda/sekifuda/dataplane/router"
	"github.com/sekifuda/sekifuda/dataplane/upstream"
	"github.com/sekifuda/sekifuda/plugin"
)

// session is one connection that carries no HTTP: the gate knows its ends and, when it begins
// with a TLS handshake, the name in that.
type session struct {
	eng    *Engine
	client net.Conn
	hello  []byte // what was read of the client already
	secure bool   // it must begin with a handshake
	ex     exchange
	count  plugin.Session

	heardAt atomic.Int64 // Unix nanoseconds of the last byte, either way
}

// ServeStream accepts connections that carry no HTTP until Shutdown or an error; after
// Shutdown it returns nil. It closes l. Where secure is true they begin with a TLS handshake,
// which ends here or goes on to the upstream, as the route says.
func (e *Engine) ServeStream(l net.Listener, secure bool) error {
	return e.accept(l, func(c net.Conn, claim netip.AddrPort) {
		s := &session{eng: e, client: c, secure: secure}
		s.ex.claim = claim
		s.run()
	})
}

func (s *session) state() (phase, uint64) { return working, 1 }

// drain lets it go on: nobody can tell the ends of a session that it should end.
func (s *session) drain() {}

func (s *session) kill() { s.client.Close() }

func (s *session) look(time.Time) {}

func (s *session) run() {
	if !s.eng.add(s) {
		s.client.Close()
		return
	}
	e := &s.ex
	e.init(s.eng, mute{s.client})
	s.eng.enlist(e)
	defer func() {
		if p := recover(); p != nil {
			e.panicked("session panicked", p)
		}
		s.client.Close()
		e.release()
		s.eng.delist(e)
		s.eng.remove(s)
	}()
	e.begin(s.eng.opt.Now())
	x := &e.x
	x.Peer, x.Local, x.Session = addrPort(s.client.RemoteAddr()), s.eng.opt.door(s.client), &s.count
	e.locate()
	if b := s.eng.blocks.Load(); b != nil {
		if v := e.blockedClient(b); v.Done() {
			x.Reason, x.Response.Status = v.Reason(), sessionRefused
			e.end()
			return
		}
	}
	name, err := s.hear()
	if err != nil || !s.route(name) {
		return
	}
	x.Response.Status = s.serve(name)
	e.end()
}

// hear finds the name that the client asks for; "" on a plain listener.
func (s *session) hear() (name string, err error) {
	if !s.secure {
		return "", nil
	}
	if err = s.client.SetReadDeadline(s.eng.opt.Now().Add(s.eng.opt.HeaderTimeout)); err == nil {
		name, s.hello, err = hear(s.client)
	}
	return name, err
}

// route finds the endpoint.
func (s *session) route(name string) bool {
	e, x := &s.ex, &s.ex.x
	e.query = router.Request{
		SNI: name, TLS: s.secure, Port: x.Local.Port(),
		Source: netip.AddrPortFrom(x.Client, e.sourcePort), Destination: x.Local.Addr(),
	}
	e.query.AsStream()
	e.match = router.Match[*graph.Endpoint]{}
	if !e.view.Match(&e.query, &e.match) {
		return false
	}
	end := e.match.Value
	e.endpoint, x.Route, x.Service = end, end.Route, end.Service
	return true
}

// Statuses of sessions, as nginx logs them.
const (
	sessionDone    = 200
	sessionRefused = 403
	sessionFailed  = 502
	sessionNoPeer  = 503
	sessionBroken  = 400 // the client's handshake
	sessionNowhere = 500 // the route has no service
)

// serve leads the session to its end and returns its status.
func (s *session) serve(name string) int {
	e := &s.ex
	var v plugin.Verdict
	if b := s.eng.blocks.Load(); b != nil {
		v = e.blockedWay(b)
	}
	if !v.Done() {
		v = e.request(e.endpoint.Chain)
	}
	if v.Done() {
		e.x.Reason = v.Reason()
		return sessionRefused
	}
	if e.endpoint.Service == nil {
		e.x.Reason = "no-service"
		return sessionNowhere
	}
	var client net.Conn = s.client
	if len(s.hello) > 0 {
		client = &replayed{s.client, s.hello}
	}
	if s.secure && e.endpoint.Protocols&graph.Passthrough == 0 {
		t := tls.Server(client, s.eng.tlsConfig())
		ctx, cancel := context.WithTimeout(context.Background(), s.eng.opt.HeaderTimeout)
		err := t.HandshakeContext(ctx)
		cancel()
		if err != nil {
			return sessionBroken
		}
		state := t.ConnectionState()
		e.x.Request.TLS, client = &state, t
	}
	peer, up, status := s.connect(name)
	if up == nil {
		return status
	}
	defer up.Close()
	e.watch.carries(e.subject(), func() { s.client.Close(); up.Net().Close() })
	if !e.cutOff() {
		s.relay(client, up.Net())
	}
	peer.End(&e.pick, upstream.Answered, 0, e.lastTry().Duration)
	return sessionDone
}

// connect finds a peer that takes the connection. The caller ends what peer.Begin counted.
func (s *session) connect(name string) (*upstream.Peer, *upstream.Conn, int) {
	e := &s.ex
	u, now := e.endpoint.Upstream, s.eng.opt.Now
	e.pick.Key = e.hashKey()
	e.x.Times.Proxied = now()
	for try := 0; ; try++ {
		start := now()
		peer, err := u.Next(e.contextOf, s.eng.opt.Network, &e.pick, start)
		if err != nil {
			e.x.Reason = "name-resolution-failed"
			if errors.Is(err, upstream.ErrNoPeer) {
				e.x.Reason = "no-healthy-target"
			}
			return nil, nil, sessionNoPeer
		}
		sni := peer.Host
		if e.endpoint.PreserveHost && name != "" {
			sni = name
		}
		e.x.Upstream.Tries = append(e.x.Upstream.Tries, plugin.Try{Addr: peer.Addr, Start: start})
		peer.Begin()
		c, err := u.Connect(e.contextOf, s.eng.opt.Network, &peer, sni, true, false, start)
		t := e.lastTry()
		t.Duration = now().Sub(start)
		if err == nil {
			return &peer, c, 0
		}
		t.State = "failed"
		outcome, reason := upstream.Refused, "upstream-failed"
		if upstream.IsTimeout(err) {
			outcome, reason = upstream.TimedOut, "upstream-timeout"
		}
		peer.End(&e.pick, outcome, 0, t.Duration)
		if try == u.Spec.Retries {
			e.x.Reason = reason
			return nil, nil, sessionFailed
		}
		t.State = "next"
	}
}

// CloseWrite tells the other end that nothing more comes.
func (r *replayed) CloseWrite() error {
	half, ok := r.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// relay carries bytes both ways until both ends have closed, one breaks, or neither has sent
// anything for the service's read timeout.
func (s *session) relay(client, up net.Conn) {
	s.heardAt.Store(s.eng.opt.Now().UnixNano())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.carry(client, up, &s.count.UpstreamReceived, &s.count.Sent)
	}()
	s.carry(up, client, &s.count.Received, &s.count.UpstreamSent)
	<-done
}

// carry copies one way. At the end of from, to is told; whatever else ends it ends both ways.
func (s *session) carry(to, from net.Conn, received, sent *int64) {
	b := replyBuffers.Get().(*[]byte)
	defer replyBuffers.Put(b)
	var readBy, writeBy upstream.Deadline
	idle := s.ex.endpoint.Upstream.Spec.ReadTimeout
	for {
		if readBy.Arm(from.SetReadDeadline, s.eng.opt.Now(), idle) != nil {
			break
		}
		n, err := from.Read(*b)
		if n > 0 {
			now := s.eng.opt.Now()
			s.heardAt.Store(now.UnixNano())
			*received += int64(n)
			if writeBy.Arm(to.SetWriteDeadline, now, idle) != nil {
				break
			}
			m, err := to.Write((*b)[:n])
			*sent += int64(m)
			if err != nil {
				break
			}
		}
		if err == nil || upstream.IsTimeout(err) && s.eng.opt.Now().UnixNano()-s.heardAt.Load() < int64(idle) {
			if err != nil {
				readBy.Forget() // the other way is busy
			}
			continue
		}
		if half, ok := to.(interface{ CloseWrite() error }); ok && errors.Is(err, io.EOF) && half.CloseWrite() == nil {
			return
		}
		break
	}
	to.Close()
	from.Close()
}
