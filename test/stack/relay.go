package stack

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// Relay is a TCP proxy before one of several servers, and the network's faults: it can be slow,
// stop forwarding without a word, cut what is open and refuse what is new. Its methods may be
// called concurrently.
type Relay struct {
	// Addr is where it listens.
	Addr string

	mu     sync.Mutex
	moved  *sync.Cond
	to     []string
	links  map[*link]struct{}
	deaf   bool // new links are held too
	refuse bool
	delay  time.Duration
	reply  func(to io.Writer, from io.Reader)
}

// link is one connection through a relay.
type link struct {
	in, out net.Conn
	held    bool
	cut     bool
}

// NewRelay returns a relay to the first of the addresses (or URLs) that takes a connection. It
// ends with t.
func NewRelay(t testing.TB, to ...string) *Relay {
	t.Helper()
	l, err := listenLoopback()
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{Addr: l.Addr().String(), to: hosts(to), links: map[*link]struct{}{}}
	r.moved = sync.NewCond(&r.mu)
	t.Cleanup(func() { l.Close(); r.Refuse(true); r.Cut() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go r.join(in)
		}
	}()
	return r
}

func hosts(addrs []string) []string {
	all := make([]string, len(addrs))
	for i, addr := range addrs {
		all[i] = addr
		if u, err := url.Parse(addr); err == nil && u.Host != "" {
			all[i] = u.Host
		}
	}
	return all
}

// URL returns u with the relay's address in the place of its own.
func (r *Relay) URL(t testing.TB, u string) string {
	t.Helper()
	parsed, err := url.Parse(u)
	if err != nil {
		t.Fatal(err)
	}
	parsed.Host = r.Addr
	return parsed.String()
}

// To changes where new connections go.
func (r *Relay) To(addrs ...string) { r.set(func() { r.to = hosts(addrs) }) }

// Refuse closes new connections at once, or no longer.
func (r *Relay) Refuse(yes bool) { r.set(func() { r.refuse = yes }) }

// Delay holds every answer up for so long.
func (r *Relay) Delay(d time.Duration) { r.set(func() { r.delay = d }) }

// Reply puts a copier of what servers answer in the place of io.Copy, for new connections.
func (r *Relay) Reply(f func(to io.Writer, from io.Reader)) { r.set(func() { r.reply = f }) }

// Hold stops forwarding on the connections that are open; neither end is told. New ones pass.
func (r *Relay) Hold() { r.hold(true, false) }

// HoldAll is Hold, for new connections too.
func (r *Relay) HoldAll() { r.hold(true, true) }

// Release forwards again, what was held up first.
func (r *Relay) Release() { r.hold(false, false) }

// Cut closes every connection.
func (r *Relay) Cut() {
	r.set(func() {
		for l := range r.links {
			l.cut = true
			l.in.Close()
			l.out.Close()
		}
	})
}

func (r *Relay) hold(open, fresh bool) {
	r.set(func() {
		r.deaf = fresh
		for l := range r.links {
			l.held = open
		}
	})
}

func (r *Relay) set(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	r.moved.Broadcast()
}

func (r *Relay) join(in net.Conn) {
	defer in.Close()
	out := r.dial()
	if out == nil {
		return
	}
	defer out.Close()
	l := &link{in: in, out: out}
	var reply func(io.Writer, io.Reader)
	r.set(func() {
		l.held, reply = r.deaf, r.reply
		r.links[l] = struct{}{}
	})
	defer r.set(func() { delete(r.links, l) })
	var wg sync.WaitGroup
	wg.Go(func() {
		r.pass(l, out, in, 0)
		out.Close()
	})
	if reply != nil {
		reply(in, out)
	} else {
		r.pass(l, in, out, 1)
	}
	in.Close()
	wg.Wait()
}

func (r *Relay) dial() net.Conn {
	r.mu.Lock()
	to, refuse := r.to, r.refuse
	r.mu.Unlock()
	for _, addr := range to {
		if refuse {
			break
		}
		if out, err := net.Dial("tcp", addr); err == nil {
			return out
		}
	}
	return nil
}

// pass copies until an end is closed; delays is how many delays each piece waits for.
func (r *Relay) pass(l *link, to io.Writer, from io.Reader, delays time.Duration) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		time.Sleep(delays * r.wait(l))
		if _, failed := to.Write(buf[:n]); failed != nil || err != nil {
			return
		}
	}
}

// wait returns when the link is not held, with the delay of the time.
func (r *Relay) wait(l *link) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	for l.held && !l.cut {
		r.moved.Wait()
	}
	return r.delay
}
