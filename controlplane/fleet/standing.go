package fleet

import (
	"cmp"
	"context"
	"maps"
	"slices"

	feedv1 "github.com/sekifuda/sekifuda/proto/sekifuda/feed/v1"
)

// Standing is where a connected node stands, as far as it matters to who waits. Of a thousand
// nodes most stand alike: how many do is all that replicas tell each other of their nodes.
type Standing struct {
	Epoch      string
	Group      string
	Generation uint64
	Enforced   uint64 // every revision up to it is enforced
	Current    bool   // it runs what it was last sent

	RefusedEpoch string
	Refused      uint64 // it turned this revision down, or one before it

	Blocks   uint64 // digest of the blocks that it enforces
	Blocking bool   // it has said so
}

func (f *Fleet) standing(m *member) Standing {
	s := Standing{
		Epoch: m.Running.Epoch, Group: m.Group, Generation: m.Running.Generation,
		Enforced: m.Running.Live, Current: m.Running == m.Target,
	}
	if !m.held {
		s.Enforced = min(m.Running.Live, m.Running.Staged)
	}
	if at, err := feedv1.PosOf(m.Refusal.GetRefused()); m.Refusal != nil && err == nil {
		s.RefusedEpoch, s.Refused = at.Epoch, max(at.Staged, at.Live)
	}
	if digest, known := f.blocking[m.ID]; known {
		s.Blocks, s.Blocking = digest, true
	}
	return s
}

// far is another replica and what it tells of its nodes.
type far struct {
	name  string // for people
	heard bool
	nodes map[Standing]int
}

// Hear notes what another replica tells of its connected nodes; it replaces what it told before.
func (f *Fleet) Hear(replica, name string, nodes map[Standing]int) {
	f.setFar(replica, &far{name: name, heard: true, nodes: nodes})
}

// Miss notes that another replica does not answer: its nodes are not counted until it does.
func (f *Fleet) Miss(replica, name string) { f.setFar(replica, &far{name: name}) }

// Leave notes that a replica is no more.
func (f *Fleet) Leave(replica string) { f.setFar(replica, nil) }

func (f *Fleet) setFar(replica string, is *far) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if is == nil {
		delete(f.far, replica)
	} else {
		f.far[replica] = is
	}
	for w := range f.waiters {
		w.recountFar(f)
		w.settle()
	}
}

// Unheard names the replicas that do not answer, whose nodes nobody here knows of.
func (f *Fleet) Unheard() (names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.far {
		if !r.heard {
			names = append(names, r.name)
		}
	}
	slices.Sort(names)
	return names
}

// Replica is another replica: how many nodes are connected to it, and whether it answers.
type Replica struct {
	Name  string
	Heard bool
	Nodes int
}

// Replicas are the other replicas, by name.
func (f *Fleet) Replicas() []Replica {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]Replica, 0, len(f.far))
	for _, r := range f.far {
		is := Replica{Name: r.name, Heard: r.heard}
		for _, n := range r.nodes {
			is.Nodes += n
		}
		all = append(all, is)
	}
	slices.SortFunc(all, func(a, b Replica) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Standings tells how the connected nodes of all replicas stand.
func (f *Fleet) Standings() map[Standing]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := maps.Clone(f.near)
	for _, r := range f.far {
		for s, n := range r.nodes {
			all[s] += n
		}
	}
	return all
}

// Follower follows how the nodes of this replica stand.
type Follower struct {
	fleet *Fleet
	ready chan struct{} // holds a token while there is something new
}

// FollowNear returns a follower that begins with how they stand now. Close it.
func (f *Fleet) FollowNear() *Follower {
	w := &Follower{fleet: f, ready: make(chan struct{}, 1)}
	w.ready <- struct{}{}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.followers[w] = struct{}{}
	return w
}

// Close ends it.
func (w *Follower) Close() {
	w.fleet.mu.Lock()
	defer w.fleet.mu.Unlock()
	delete(w.fleet.followers, w)
}

// Next waits for a change since it last returned, and tells how the nodes stand then.
func (w *Follower) Next(ctx context.Context) (map[Standing]int, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-w.ready:
	}
	w.fleet.mu.Lock()
	defer w.fleet.mu.Unlock()
	return maps.Clone(w.fleet.near), nil
}

// stood is what a node's change means to how many stand where: nil for one that is not connected.
func (f *Fleet) stood(before, after *Standing) {
	if before != nil && after != nil && *before == *after {
		return
	}
	if before != nil {
		if f.near[*before]--; f.near[*before] == 0 {
			delete(f.near, *before)
		}
	}
	if after != nil {
		f.near[*after]++
	}
	for w := range f.waiters {
		w.near.add(w.of(before), -1)
		w.near.add(w.of(after), 1)
		w.settle()
	}
	for w := range f.followers {
		select {
		case w.ready <- struct{}{}:
		default:
		}
	}
}
