package controlplane

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// readTimeout bounds how long a client may take to send a request: 10 MB over 35 KB/s.
	readTimeout = 5 * time.Minute
	// silentTime is how long a connection may have said nothing when the server ends; a request
	// that was sent has come by then.
	silentTime = time.Second
	lookEvery  = 5 * time.Millisecond
)

func (c *ControlPlane) serveHTTP(ctx context.Context, g *errgroup.Group, what string, h http.Handler, l net.Listener) {
	calls := &calls{state: map[net.Conn]call{}}
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: readTimeout, IdleTimeout: 75 * time.Second,
		ErrorLog:  log.New(serverLog{c.Log}, "", 0),
		ConnState: calls.note,
	}
	serve := s.Serve
	if c.AdminTLS != nil {
		s.TLSConfig = c.AdminTLS("h2", "http/1.1")
		serve = func(l net.Listener) error { return s.ServeTLS(l, "", "") }
	}
	accepted := make(chan struct{}) // closed when the last connection is known to the server
	g.Go(func() error {
		defer close(accepted)
		if err := serve(l); ctx.Err() == nil {
			return fmt.Errorf("serve %s: %w", what, err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		_ = l.Close()
		<-accepted
		sctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
		defer cancel()
		// Shutdown drops a request that is read after it began, so all calls end before it.
		s.SetKeepAlivesEnabled(false)
		calls.wait(sctx)
		if err := s.Shutdown(sctx); err != nil {
			return s.Close()
		}
		return nil
	})
}

// serverLog takes what net/http says: of a panic, which is ours, or of a client that broke a rule.
type serverLog struct{ log *slog.Logger }

func (s serverLog) Write(line []byte) (int, error) {
	level := slog.LevelDebug
	if bytes.Contains(line, []byte("panic serving")) {
		level = slog.LevelError
	}
	s.log.Log(context.Background(), level, string(bytes.TrimSpace(line)))
	return len(line), nil
}

// calls knows the connections of a server on which an answer is due, or may be.
type calls struct {
	mu    sync.Mutex
	state map[net.Conn]call
}

type call struct {
	state http.ConnState
	since time.Time
}

// note implements http.Server's ConnState.
func (c *calls) note(conn net.Conn, s http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch s {
	case http.StateNew, http.StateActive:
		c.state[conn] = call{s, time.Now()}
	default:
		delete(c.state, conn)
	}
}

// wait returns when no answer is due any more, or ctx ends.
func (c *calls) wait(ctx context.Context) {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for c.due() {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

func (c *calls) due() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range c.state {
		if one.state == http.StateActive || time.Since(one.since) < silentTime {
			return true
		}
	}
	return false
}
