// Package fleet keeps what is known of nodes: who they are, whether they are connected, what
// they run, were sent and refused, and who waits for them to enforce a revision.
//
// It knows positions and reports. It does not know configuration, streams, or what a node's
// target should be; it is told. What it keeps is in memory and bounded: a node that is back
// tells it all again. Enter at New.
package fleet

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	controlv1 "github.com/sekifuda/sekifuda/proto/sekifuda/control/v1"
	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// maxNodes bounds what is remembered, ten times the fleet that a replica is made for. Past
// it the node that was gone the longest is forgotten.
const maxNodes = 10_000

// Node is one node as last seen.
type Node struct {
	ID       string
	Group    string
	Hostname string
	IP       string
	Version  string
	Labels   map[string]string

	Connected bool
	LastSeen  time.Time
	Running   feedv1.Pos // zero: nothing, or it has not said yet
	Target    feedv1.Pos // last sent
	Refusal   *feedv1.Refusal
	Reason    string // of Refusal, in the node's words

	// Of its last report.
	SnapshotOnDisk bool
	Skew           time.Duration // its clock minus ours, not counting the way
	Window         uint64
	Stats          []*feedv1.RevisionStats
}

// Proto is the node as the operator's API and other replicas see it.
func (n *Node) Proto() *controlv1.Node {
	return &controlv1.Node{
		Id: n.ID, Group: n.Group, Hostname: n.Hostname, Ip: n.IP, Version: n.Version, Labels: n.Labels,
		Connected: n.Connected, LastSeen: timestamppb.New(n.LastSeen),
		Running: n.Running.Proto(), Target: n.Target.Proto(), Refusal: n.Refusal,
		OnDisk: n.SnapshotOnDisk, ClockSkew: durationpb.New(n.Skew),
	}
}

// member is a node and which of its streams speaks for it.
type member struct {
	Node
	stream int64
	held   bool
}

// Fleet is all nodes seen by this replica, and how many of the other replicas' stand where. All methods may be called concurrently, and none
// waits but those that say so.
type Fleet struct {
	now func() time.Time

	mu      sync.Mutex
	nodes   map[string]*member
	streams map[int64]string // stream to node id
	epoch   string           // "": any
	held    func(group, id string) bool
	waiters map[*waiter]struct{}
	watches map[*Watch]struct{}
	served  map[under]Served

	near      map[Standing]int // how many of this replica's nodes stand where
	far       map[string]*far  // by the replica's id
	followers map[*Follower]struct{}

	reporters map[*reporter]struct{}
	askings   map[uint64]*asking
	asked     uint64 // questions so far

	blocks   func() *feedv1.Blocks // nil: nodes are told of none
	blocking map[string]uint64     // digest of the blocks that a node enforces
}

// New returns an empty fleet; now nil means time.Now.
func New(now func() time.Time) *Fleet {
	if now == nil {
		now = time.Now
	}
	return &Fleet{
		now: now, nodes: make(map[string]*member), streams: make(map[int64]string),
		waiters: make(map[*waiter]struct{}), watches: make(map[*Watch]struct{}),
		served: make(map[under]Served),
		near:   make(map[Standing]int), far: make(map[string]*far), followers: make(map[*Follower]struct{}),
		reporters: make(map[*reporter]struct{}), askings: make(map[uint64]*asking),
		blocking: make(map[string]uint64),
	}
}

// Connected notes a node's new stream, which speaks for it from now on.
func (f *Fleet) Connected(stream int64, n Node) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.streams[stream] = n.ID
	f.room(n.ID)
	f.change(n.ID, func(m *member) {
		m.stream, m.Connected = stream, true
		m.ID, m.Group, m.Hostname, m.IP = n.ID, n.Group, n.Hostname, n.IP
		m.Version, m.Labels = n.Version, maps.Clone(n.Labels)
		m.Running = feedv1.Pos{} // until it says so: it may have lost its disk
		m.held = f.held != nil && f.held(n.Group, n.ID)
	})
}

// Disconnected notes the end of a stream. A node that came back by another one stays.
func (f *Fleet) Disconnected(stream int64) {
	f.by(stream, func(m *member) { m.Connected = false })
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.streams, stream)
	for _, a := range f.askings {
		f.settle(a)
	}
}

// Offered notes that a node is being sent a move.
func (f *Fleet) Offered(stream int64, to feedv1.Pos) {
	f.by(stream, func(m *member) { m.Target = to })
}

// Enforced notes what a node runs.
func (f *Fleet) Enforced(stream int64, at feedv1.Pos) {
	f.by(stream, func(m *member) {
		m.Running = at
		if m.Target == (feedv1.Pos{}) { // it came back with it, and nothing else was sent yet
			m.Target = at
		}
		if at == m.Target {
			m.Refusal, m.Reason = nil, ""
		}
	})
}

// Refused notes that a node goes on with what it runs.
func (f *Fleet) Refused(stream int64, r *feedv1.Refusal, reason string) {
	running, err := feedv1.PosOf(r.GetRunning())
	f.by(stream, func(m *member) {
		m.Refusal, m.Reason = r, reason
		if err == nil {
			m.Running = running
		}
	})
}

// Follow says which history revisions are counted in, and which nodes' staged track does not
// follow head, now and when they connect. Nodes of another history enforce nothing of it.
func (f *Fleet) Follow(epoch string, held func(group, id string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held = held
	if f.epoch != epoch {
		f.epoch = epoch
		for w := range f.waiters {
			w.recount(f)
		}
	}
	for id, m := range f.nodes {
		if h := held(m.Group, id); h != m.held {
			f.change(id, func(m *member) { m.held = h })
		}
	}
}

// Nodes returns all nodes, ascending by id.
func (f *Fleet) Nodes() []Node {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]Node, 0, len(f.nodes))
	for _, m := range f.nodes {
		all = append(all, m.Node)
	}
	slices.SortFunc(all, func(a, b Node) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// Highest is the highest revision of a history that a node connected here runs; 0 for none.
func (f *Fleet) Highest(epoch string) (rev uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.nodes {
		if m.Connected && m.Running.Epoch == epoch {
			rev = max(rev, m.Running.Staged, m.Running.Live)
		}
	}
	return rev
}

// Runs reports whether some node, of whichever replica, enforces a revision of a history.
func (f *Fleet) Runs(epoch string, rev uint64) bool {
	for s := range f.Standings() {
		if s.Epoch == epoch && s.Enforced >= rev {
			return true
		}
	}
	return f.Highest(epoch) >= rev
}

// Node returns one node.
func (f *Fleet) Node(id string) (Node, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.nodes[id]; m != nil {
		return m.Node, true
	}
	return Node{}, false
}

// forgetAfter is how long a node that is gone is still shown.
const forgetAfter = 24 * time.Hour

// Run forgets nodes that are long gone, until ctx ends.
func (f *Fleet) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			f.Forget(f.now().Add(-forgetAfter))
		}
	}
}

// Forget drops nodes that were last seen before t and are not connected.
func (f *Fleet) Forget(t time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, m := range f.nodes {
		if !m.Connected && m.LastSeen.Before(t) {
			delete(f.nodes, id)
			delete(f.blocking, id)
		}
	}
}

// by changes the node that a stream speaks for, if it still does.
func (f *Fleet) by(stream int64, do func(*member)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, ok := f.streams[stream]
	if !ok {
		return
	}
	if m := f.nodes[id]; m != nil && m.stream == stream {
		f.change(id, do)
	}
}

// change is the one place where a node changes: whoever waits or watches is told.
func (f *Fleet) change(id string, do func(*member)) {
	m := f.nodes[id]
	if m == nil {
		m = &member{Node: Node{ID: id}}
		f.nodes[id] = m
	}
	before := f.stands(m)
	do(m)
	m.LastSeen = f.now()
	f.stood(before, f.stands(m))
	for w := range f.watches {
		w.note(id)
	}
}

// stands is where a node stands; nil while it is not connected.
func (f *Fleet) stands(m *member) *Standing {
	if m == nil || !m.Connected {
		return nil
	}
	s := f.standing(m)
	return &s
}

// room makes place for one more node.
func (f *Fleet) room(id string) {
	if f.nodes[id] != nil || len(f.nodes) < maxNodes {
		return
	}
	var oldest *member
	for _, m := range f.nodes {
		if !m.Connected && (oldest == nil || m.LastSeen.Before(oldest.LastSeen)) {
			oldest = m
		}
	}
	if oldest != nil { // all connected: streams are bounded elsewhere
		delete(f.nodes, oldest.ID)
		delete(f.blocking, oldest.ID)
	}
}
