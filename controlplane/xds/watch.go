package xds

import (
	"context"
	"errors"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"

	"github.com/sekifuda/sekifuda/controlplane/snapshot"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

var _ cache.Cache = (*Cache)(nil)

// watch is one node's open question. It is answered once: the node's next question opens
// another, so at most one answer per stream is under way, and revisions that pass meanwhile
// coalesce into the next one.
type watch struct {
	req    *discovery.DeltaDiscoveryRequest
	ch     chan cache.DeltaResponse
	from   feedv1.Pos // what the node runs; zero: nothing
	whole  bool       // the node lost its footing and needs everything
	parked time.Time  // since when the node is ahead of this replica

	// Set while the watch waits for, or holds, a slot.
	move  *move
	chunk int
}

// CreateDeltaWatch answers req, or keeps it until there is an answer. The delta server calls
// it, after the callbacks of this package have checked req.
func (c *Cache) CreateDeltaWatch(req *discovery.DeltaDiscoveryRequest, sub cache.Subscription, ch chan cache.DeltaResponse) (func(), error) {
	w := &watch{req: req, ch: ch}
	known := sub.ReturnedResources()
	w.from = footing(req, known)
	w.whole = lost(req)
	id, chunk, under := underWay(known)
	under = under && req.GetErrorDetail() == nil
	for {
		view, build := c.open(w, id, chunk, under)
		if !build {
			break
		}
		c.build(view)
	}
	if !under && c.passed(w) {
		c.wake() // the others, who waited for this node
	}
	return func() { c.cancel(w) }, nil
}

// passed notes where a node stands that asks for more.
func (c *Cache) passed(w *watch) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.canaries.passed(w.req.GetNode(), w.from)
}

// footing is where the node stands. The delta server counts what it sent as known, so a
// node that refuses says itself what it runs.
func footing(req *discovery.DeltaDiscoveryRequest, known map[string]string) feedv1.Pos {
	if req.GetErrorDetail() != nil {
		all := refusalsOf(req.GetErrorDetail())
		if len(all) == 0 {
			return feedv1.Pos{}
		}
		at, err := feedv1.PosOf(all[0].GetRunning())
		if err != nil {
			return feedv1.Pos{} // what cannot be read cannot be built upon
		}
		return at
	}
	at, err := feedv1.ParsePos(known[feedv1.PosResource])
	if err != nil {
		return feedv1.Pos{}
	}
	return at
}

// open sends the node its next chunk or move, or lets it wait. It reports the view that has
// to be encoded whole before it can do either.
func (c *Cache) open(w *watch, id uint64, chunk int, under bool) (snapshot.View, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if under {
		if mv := c.moves.open[id]; mv != nil && chunk < len(mv.chunks) {
			c.send(w, mv, chunk)
			return snapshot.View{}, false
		}
	}
	d := c.decide(w)
	switch d.verb {
	case send:
		c.watches[w] = struct{}{}
		c.offer(w, d.move, true)
	case encode:
		return d.view, true
	case park:
		w.parked = c.now()
		c.watches[w] = struct{}{}
	case wait:
		c.watches[w] = struct{}{}
	}
	return snapshot.View{}, false
}

// cancel ends a watch. The delta server calls it before the node's next request is looked
// at, and when the stream ends; afterwards nothing may be sent to the watch's channel, which
// is why every send happens under the lock.
func (c *Cache) cancel(w *watch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.watches, w)
	c.release(w)
}

// send answers w with a chunk of a move, when there is a slot for it.
func (c *Cache) send(w *watch, mv *move, chunk int) {
	if mv.large() {
		c.moves.begin(mv, c.now())
		w.move, w.chunk = mv, chunk
		if !c.slots.take(w, c.now()) {
			return
		}
	}
	c.deliver(w, mv, chunk)
}

func (c *Cache) deliver(w *watch, mv *move, chunk int) {
	w.deliver(&response{
		req: w.req, version: mv.versions[chunk], body: mv.chunks[chunk], next: mv.next(chunk, w.from),
	})
}

func (w *watch) deliver(r *response) {
	select {
	case w.ch <- r:
	default:
		// The channel has room for twenty and a stream has one answer under way: a full one
		// is a stream that no longer reads its channel and is about to be cancelled.
	}
}

// CreateWatch refuses: only the delta protocol is spoken.
func (c *Cache) CreateWatch(*discovery.DiscoveryRequest, cache.Subscription, chan cache.Response) (func(), error) {
	return nil, errors.New("only delta discovery is served")
}

// Fetch refuses: only the delta protocol is spoken.
func (c *Cache) Fetch(context.Context, *discovery.DiscoveryRequest) (cache.Response, error) {
	return nil, errors.New("only delta discovery is served")
}
