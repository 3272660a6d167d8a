// Package xds streams configuration to nodes: it is the cache behind go-control-plane's delta
// discovery server, for one type of resource, in which the whole state of a node is one
// position.
//
// It knows snapshots and positions, and what each node runs, was offered and refused. It
// does not know entities, the store, or why a group has the target that it has: a Plan says
// so. One change is encoded once for all nodes; a slow node never delays another, nor Apply.
// Enter at New, Apply and NewServer.
package xds

import (
	"context"
	"sync"
	"time"

	"github.com/sekifuda/sekifuda/controlplane/snapshot"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// Target is which revisions a node must run, under which assignment.
type Target struct {
	Generation uint64
	Staged     uint64
	Live       uint64
}

// Plan gives every node's target. It is called for each waiting node under the cache's lock:
// it must be quick, pure and safe for concurrent use.
type Plan func(group, node string) Target

// Update is what Apply takes over at once.
type Update struct {
	// Snapshots are further revisions, ascending. One of another epoch, or not above the
	// head, begins a history of its own: whatever was known before is dropped.
	Snapshots []*snapshot.Snapshot
	// Plan replaces the plan; nil keeps it.
	Plan Plan
	// Keep are the revisions below head that the plan may name. They outlive the bounds of
	// the history. Only read with a Plan.
	Keep []uint64
}

// Options are what a Cache is built with.
type Options struct {
	// Observer hears what nodes do; nil: nobody does.
	Observer Observer
	// Now tells the time; nil: time.Now.
	Now func() time.Time
	// Canary is how long one node of a group has a revision before the others: until it
	// acknowledges, at most so long. What it refuses nobody else of the group gets. 0: all get it
	// at once.
	Canary time.Duration
	// Limits bound what is kept; zero fields have defaults.
	Limits Limits
}

// Limits bound what a Cache keeps.
type Limits struct {
	Revisions int // that a node can be moved from and to by a difference; default 10,000
	Bytes     int // that those revisions may hold; default 256 MiB
	Chunk     int // bytes after which a response is cut; default 1 MiB
	Large     int // chunks of large moves under way at once; default 16
}

func (l *Limits) fill() {
	set := func(n *int, value int) {
		if *n <= 0 {
			*n = value
		}
	}
	set(&l.Revisions, 10_000)
	set(&l.Bytes, 256<<20)
	set(&l.Chunk, 1<<20)
	// Each is a chunk in the transport's buffers, so this bounds memory in a storm of fresh
	// nodes; differences are small and not counted.
	set(&l.Large, 16)
}

// Cache answers every node with what leads it from where it stands to its target. All
// methods may be called concurrently. Run must be running.
type Cache struct {
	observer Observer
	now      func() time.Time
	limits   Limits

	building sync.Mutex // held while a whole set is encoded, so that this happens once

	mu       sync.Mutex
	history  history
	plan     Plan
	watches  map[*watch]struct{}
	moves    moves
	slots    slots
	refusals refusals
	canaries canaries
}

// New returns a cache without a revision: nodes that connect wait for the first Apply.
func New(o Options) *Cache {
	o.Limits.fill()
	c := &Cache{observer: o.Observer, now: o.Now, limits: o.Limits, watches: make(map[*watch]struct{})}
	if c.observer == nil {
		c.observer = nobody{}
	}
	if c.now == nil {
		c.now = time.Now
	}
	c.history.limits = &c.limits
	c.moves.chunk = c.limits.Chunk
	c.slots.max = c.limits.Large
	c.canaries.patience = o.Canary
	return c
}

// Apply takes over new revisions and a new plan, and sends every node that waits what leads
// it to its target. It costs the changes and the waiting nodes, and waits for no node.
func (c *Cache) Apply(u Update) {
	c.mu.Lock()
	if u.Plan != nil {
		c.plan = u.Plan
		c.history.keep(u.Keep) // before the bounds are applied to what is pushed
	}
	for _, s := range u.Snapshots {
		if c.history.follows(s) {
			c.history.push(s)
			continue
		}
		c.history.reset(s)
		c.moves.reset()
	}
	c.mu.Unlock()
	c.wake()
}

// Head returns the epoch and number of the newest revision, or "" and 0.
func (c *Cache) Head() (epoch string, rev uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.history.head(); h != nil {
		return h.Epoch(), h.Rev()
	}
	return "", 0
}

// Has reports whether nodes can be sent to a revision.
func (c *Cache) Has(rev uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.history.at(rev) != nil
}

// wake sends to every waiting node that has somewhere to go.
func (c *Cache) wake() {
	for {
		c.mu.Lock()
		view, build := c.wakeLocked()
		c.mu.Unlock()
		if !build {
			return
		}
		c.build(view)
	}
}

// wakeLocked reports the view that somebody needs whole when it is not encoded yet.
func (c *Cache) wakeLocked() (view snapshot.View, build bool) {
	var passed []*watch
	for w := range c.watches {
		d := c.decide(w)
		switch d.verb {
		case wait:
			w.parked = time.Time{}
		case park:
			if w.parked.IsZero() {
				w.parked = c.now()
			}
		case encode:
			view, build = d.view, true
		case send:
			if !c.offer(w, d.move, false) {
				passed = append(passed, w)
			}
		}
	}
	for _, w := range passed {
		if d := c.decide(w); d.verb == send {
			c.offer(w, d.move, true)
		}
	}
	return view, build
}

// offer sends a waiting node its move, unless another of its group tries it first.
func (c *Cache) offer(w *watch, mv *move, last bool) bool {
	if !c.canaries.may(w.req.GetNode(), w.from, mv.to, c.now(), last) {
		return false
	}
	delete(c.watches, w)
	c.send(w, mv, 0)
	return true
}

// build encodes a view whole, outside of the lock: it is the one long work here.
func (c *Cache) build(view snapshot.View) {
	c.building.Lock()
	defer c.building.Unlock()
	c.mu.Lock()
	near := c.moves.near(view)
	c.mu.Unlock()
	if near {
		return // by whoever held building before
	}
	f := newFull(view, c.limits.Chunk)
	c.mu.Lock()
	defer c.mu.Unlock()
	f.used = c.now()
	c.moves.add(f)
}

// sweepEvery is how often Run looks after deadlines.
const sweepEvery = 100 * time.Millisecond

// Run looks after deadlines until ctx ends.
func (c *Cache) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			c.sweep(c.now())
		}
	}
}

// refuse remembers what a node refused, before its watch is opened anew.
func (c *Cache) refuse(n Node, at feedv1.Pos) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refusals.add(n, at)
	c.canaries.turnDown(n, at)
}

// left notes that a node's stream ended.
func (c *Cache) left(n Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.canaries.left(n, c.now())
}
