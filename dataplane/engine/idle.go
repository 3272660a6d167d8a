package engine

import (
	"errors"
	"io"
	"time"

	"github.com/sekifuda/sekifuda/dataplane/socket"
)

// idle is how a connection waits that has waited for a while: most connections of a gate do,
// and they should cost next to nothing.
type idle struct {
	seen  uint64    // requests at the look before; the watch's
	since time.Time // when the connection began to wait
	first [1]byte   // what is read while there is no buffer
}

// equip gives the connection what it needs for a request.
func (c *conn) equip() {
	c.in, c.out = make([]byte, 0, inSize), make([]byte, 0, 4<<10)
	e := c.eng.spare.Get().(*exchange)
	e.init(c.eng, c)
	e.claim = c.claim
	c.eng.enlist(e)
	c.mu.Lock()
	c.ex = e
	c.mu.Unlock()
}

// strip gives it back.
func (c *conn) strip() {
	e := c.ex
	c.eng.delist(e)
	c.mu.Lock()
	c.ex = nil
	c.mu.Unlock()
	c.in, c.out, c.next = nil, nil, 0
	e.forget()
	c.eng.spare.Put(e)
}

// rest is the watch's: a connection that waits since the look before is woken, to be parked.
func (c *conn) rest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.handled.Load(); n != c.idle.seen {
		c.idle.seen = n
		return
	}
	if c.phase.CompareAndSwap(int32(waiting), int32(resting)) {
		c.net.SetReadDeadline(past)
	}
}

// become ends the wait for a request. The watch may just have woken the connection for a rest
// that it now does not take: then the deadline must be set anew.
func (c *conn) become(p phase) {
	if c.phase.CompareAndSwap(int32(waiting), int32(p)) {
		return
	}
	if phase(c.phase.Load()) == resting {
		c.woken()
	}
	c.phase.Store(int32(p))
}

// woken waits until the watch has done what made the connection rest.
func (c *conn) woken() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readBy.Forget()
}

var errParked = errors.New("connection is parked")

// park waits for a request without memory, and where the connection can do that, without a
// goroutine: then it returns errParked, and the connection is no longer the caller's.
func (c *conn) park() error {
	c.woken()
	c.idle.since = c.ex.now
	c.strip()
	if err := c.readBy.Arm(c.net.SetReadDeadline, c.idle.since, c.eng.opt.IdleTimeout); err != nil {
		return err
	}
	if c.closing.Load() { // armed over drain's
		return io.EOF
	}
	if p, ok := c.net.(socket.Parker); ok {
		p.Later(c.resume)
		return errParked
	}
	n, err := c.net.Read(c.idle.first[:])
	c.equip()
	c.ex.now = c.idle.since
	if n == 0 {
		return err
	}
	c.in = append(c.in, c.idle.first[0])
	return nil
}

// resume goes on after errParked.
func (c *conn) resume() {
	c.equip()
	c.ex.now = c.idle.since // what is left of the idle time stays
	c.live(c.handled.Load() == 0)
}
