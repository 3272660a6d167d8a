package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/store"
	"github.com/sekifuda/sekifuda/controlplane/store/postgres"
	"github.com/sekifuda/sekifuda/test/services"
)

func TestOutage(t *testing.T) {
	t.Parallel()
	server := services.NewPostgres(t)
	s := open(t, server.URL, postgres.Options{WriteTimeout: time.Second})
	commit(t, s, op(1))
	waited := make(chan error, 1)
	go func() {
		_, err := s.Wait(t.Context(), 1)
		waited <- err
	}()
	server.Kill(t)
	begin := time.Now()
	var all sync.WaitGroup
	for i := range 20 {
		all.Add(1)
		go func() {
			defer all.Done()
			if _, err := s.Commit(t.Context(), store.Commit{Ops: []store.Op{op(i)}}); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("Commit = %v, want ErrUnavailable", err)
			}
		}()
	}
	all.Wait()
	for name, f := range map[string]func() error{
		"Ping":    func() error { return s.Ping(t.Context()) },
		"Get":     func() error { _, err := s.Get(t.Context(), "services", "1"); return err },
		"Load":    func() error { _, _, err := s.Load(t.Context(), 0); return err },
		"Records": func() error { _, err := s.Records(t.Context(), "groups"); return err },
		"Write": func() error {
			return s.Write(t.Context(), []store.Record{{Kind: "groups", ID: "a", Body: []byte("x")}})
		},
		"Secret": func() error { _, err := s.Secret(t.Context(), "x", []byte("y")); return err },
		"Changes": func() error {
			for _, err := range s.Changes(t.Context(), 0, 0) {
				return err
			}
			return nil
		},
	} {
		if err := f(); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s = %v, want ErrUnavailable", name, err)
		}
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("errors took %v", took)
	}
	select {
	case err := <-waited:
		t.Fatalf("Wait ended in the outage: %v", err)
	default:
	}
	server.Start(t)
	// Without a new Open: the first commit afterwards is tried until the pool is well.
	if r := commit(t, s, op(2)); r.Rev != 2 {
		t.Errorf("revision after the outage = %d, want 2", r.Rev)
	}
	if err := <-waited; err != nil {
		t.Errorf("Wait through the outage = %v", err)
	}
	gapFree(t, s)
}

// TestCrashes crashes the server under eight writers. What was acknowledged must be there,
// once; what was not may be asked again with its request id.
func TestCrashes(t *testing.T) {
	t.Parallel()
	server := services.NewPostgres(t)
	s := open(t, server.URL, postgres.Options{})
	const writers = 8
	var stop atomic.Bool
	var acknowledged [writers]map[string]uint64
	var count atomic.Int64
	var all sync.WaitGroup
	for w := range writers {
		acknowledged[w] = map[string]uint64{}
		all.Add(1)
		go func() {
			defer all.Done()
			for i := 0; !stop.Load(); i++ {
				n := w*1_000_000 + i
				acknowledged[w][fmt.Sprint(n)] = insist(t, s, n)
				count.Add(1)
			}
		}()
	}
	for range 3 {
		reach(t, &count, count.Load()+200)
		server.Kill(t)
		server.Start(t)
	}
	reach(t, &count, count.Load()+200)
	stop.Store(true)
	all.Wait()
	head := gapFree(t, s)
	if head != uint64(count.Load()) {
		t.Errorf("head = %d after %d commits: some were lost or written twice", head, count.Load())
	}
	for _, of := range acknowledged {
		for id, rev := range of {
			if o, err := s.Get(t.Context(), "services", id); err != nil || o.Rev != rev {
				t.Fatalf("Get(%s) = %v, %v, want revision %d", id, o, err, rev)
			}
		}
	}
}

// insist commits object n until it is acknowledged.
func insist(t *testing.T, s store.Store, n int) uint64 {
	for {
		r, err := s.Commit(t.Context(), store.Commit{Ops: []store.Op{op(n)}, RequestID: fmt.Sprint(n)})
		if err == nil {
			return r.Rev
		}
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("Commit = %v, want success or ErrUnavailable", err)
			return 0
		}
	}
}

func reach(t *testing.T, count *atomic.Int64, want int64) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for count.Load() < want {
		if time.Now().After(deadline) {
			t.Fatalf("only %d commits, want %d", count.Load(), want)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestAnswerLost loses the answer to a commit that the database has done: the commit is
// found, not repeated, and needs no request id for it.
func TestAnswerLost(t *testing.T) {
	t.Parallel()
	server := services.Postgres(t)
	direct := open(t, server, postgres.Options{})
	p := newProxy(t, server)
	s := open(t, p.url, postgres.Options{})
	commit(t, s, op(1))
	p.arm([]byte("marker-done"), func() { // let the server finish, then cut
		if _, err := direct.Wait(t.Context(), 1); err != nil {
			t.Errorf("Wait = %v", err)
		}
	}, true)
	marked := op(2)
	marked.Body = []byte("marker-done")
	if r := commit(t, s, marked); r.Rev != 2 {
		t.Errorf("revision = %d, want 2", r.Rev)
	}
	if !p.fired() {
		t.Error("the proxy never cut a connection")
	}
	if head := gapFree(t, direct); head != 2 {
		t.Errorf("head = %d, want 2: the commit was repeated", head)
	}
}

// TestRequestLost loses the commit on its way: it is sent again and written once.
func TestRequestLost(t *testing.T) {
	t.Parallel()
	server := services.Postgres(t)
	p := newProxy(t, server)
	s := open(t, p.url, postgres.Options{})
	commit(t, s, op(1))
	p.arm([]byte("marker-lost"), func() {}, false)
	marked := op(2)
	marked.Body = []byte("marker-lost")
	if r := commit(t, s, marked); r.Rev != 2 {
		t.Errorf("revision = %d, want 2", r.Rev)
	}
	if !p.fired() {
		t.Error("the proxy never cut a connection")
	}
	gapFree(t, s)
}

// TestOutcomeUnknown loses the answer and then the whole network: the caller is told, the
// commit is not sent again by itself, and the request id finds it later.
func TestOutcomeUnknown(t *testing.T) {
	t.Parallel()
	server := services.Postgres(t)
	direct := open(t, server, postgres.Options{})
	p := newProxy(t, server)
	s := open(t, p.url, postgres.Options{WriteTimeout: 700 * time.Millisecond})
	commit(t, s, op(1))
	p.arm([]byte("marker-gone"), func() {
		if _, err := direct.Wait(t.Context(), 1); err != nil {
			t.Errorf("Wait = %v", err)
		}
		p.refuse.Store(true)
	}, true)
	c := store.Commit{Ops: []store.Op{op(2)}, RequestID: "r"}
	c.Ops[0].Body = []byte("marker-gone")
	if _, err := s.Commit(t.Context(), c); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "not known") {
		t.Errorf("Commit = %v, want ErrUnavailable that says the outcome is not known", err)
	}
	p.refuse.Store(false)
	if r, err := s.Commit(t.Context(), c); err != nil || r.Rev != 2 {
		t.Errorf("Commit again = %v, %v, want revision 2", r, err)
	}
	if head := gapFree(t, direct); head != 2 {
		t.Errorf("head = %d, want 2", head)
	}
}

// TestSilence has a network that swallows everything.
func TestSilence(t *testing.T) {
	t.Parallel()
	p := newProxy(t, services.Postgres(t))
	s := open(t, p.url, postgres.Options{WriteTimeout: time.Second})
	commit(t, s, op(1))
	p.silent.Store(true)
	begin := time.Now()
	if _, err := s.Commit(t.Context(), store.Commit{Ops: []store.Op{op(2)}}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Commit = %v, want ErrUnavailable", err)
	}
	if _, err := s.Get(t.Context(), "services", "1"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Get = %v, want ErrUnavailable", err)
	}
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("errors took %v", took)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := s.Get(short, "services", "1"); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Get with the caller's deadline = %v, want that deadline", err)
	}
	p.silent.Store(false)
	p.cutAll()
	commit(t, s, op(3))
	gapFree(t, s)
}

// TestSessionsCut ends all sessions of the database, the listening one too.
func TestSessionsCut(t *testing.T) {
	t.Parallel()
	server := services.Postgres(t)
	a, b := open(t, server, postgres.Options{}), open(t, server, postgres.Options{})
	conn := connect(t, server)
	for n := range uint64(5) {
		woken := make(chan error, 1)
		go func() {
			_, err := a.Wait(t.Context(), n)
			woken <- err
		}()
		if _, err := conn.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid()`); err != nil {
			t.Fatal(err)
		}
		commit(t, b, op(int(n)))
		if err := <-woken; err != nil {
			t.Errorf("Wait = %v", err)
		}
	}
	gapFree(t, b)
}

// proxy stands between a store and its server, and loses what it is told to lose.
type proxy struct {
	url    string
	server string
	silent atomic.Bool // bytes are swallowed
	refuse atomic.Bool // new connections are closed at once

	mu      sync.Mutex
	marker  []byte
	onCut   func()
	forward bool
	hit     bool
	conns   []net.Conn
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{server: u.Host}
	u.Host = l.Addr().String()
	p.url = u.String()
	t.Cleanup(func() { l.Close(); p.cutAll() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

// arm cuts the connection whose client sends marker: after the bytes were forwarded, when
// forward, and after onCut.
func (p *proxy) arm(marker []byte, onCut func(), forward bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.marker, p.onCut, p.forward = marker, onCut, forward
}

func (p *proxy) fired() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hit
}

func (p *proxy) cutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	if p.refuse.Load() {
		return
	}
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	p.conns = append(p.conns, client, server)
	p.mu.Unlock()
	var muted atomic.Bool // answers are lost
	go func() {
		defer client.Close()
		p.pass(client, server, func([]byte) bool { return muted.Load() })
	}()
	p.pass(server, client, func(b []byte) bool {
		p.mu.Lock()
		hit := p.marker != nil && bytes.Contains(b, p.marker)
		onCut, forward := p.onCut, p.forward
		if hit {
			p.marker, p.hit = nil, true
		}
		p.mu.Unlock()
		if !hit {
			return false
		}
		muted.Store(true)
		if forward {
			if _, err := server.Write(b); err != nil {
				return true
			}
		}
		onCut()
		client.Close()
		server.Close()
		return true
	})
}

// pass copies until an end is closed; what lose takes does not arrive.
func (p *proxy) pass(to io.Writer, from io.Reader, lose func([]byte) bool) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if n > 0 && !p.silent.Load() && !lose(b[:n]) {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
