// Package rollout says which revision every group of nodes must run.
//
// It is pure: groups and head in, targets out. It does not know where groups are stored, who
// moves them, or how nodes get there; every replica that is given the same groups and head
// computes the same targets. Enter at New.
package rollout

import (
	"fmt"
	"hash/fnv"
	"slices"
)

// Mode is what a group's staged track follows. Its live track always follows head: a revoked
// key never waits for a release.
type Mode int

// The modes.
const (
	// Follow moves the group with head.
	Follow Mode = iota
	// Pinned holds the group at a revision until a release, or somebody, moves it.
	Pinned
	// Frozen holds the group at a revision, and releases may not move it.
	Frozen
)

func (m Mode) String() string {
	switch m {
	case Follow:
		return "follow"
	case Pinned:
		return "pinned"
	case Frozen:
		return "frozen"
	}
	return fmt.Sprintf("mode %d", int(m))
}

// Group is the nodes that follow one target.
type Group struct {
	Name string
	Mode Mode
	// Rev is where the staged track is held; not read in mode Follow.
	Rev uint64
	// Generation grows with every assignment: only a higher one may move a node to a lower
	// revision, so that a replica that has not seen the assignment cannot undo it.
	Generation uint64
	// Move is what a release does to a part of the group; zero: nothing.
	Move Move
}

// Pin is the revision at which the group is held, 0 when it follows head.
func (g Group) Pin() uint64 {
	if g.Mode == Follow {
		return 0
	}
	return g.Rev
}

// Move takes a share of a pinned group's nodes to another revision.
type Move struct {
	Release string  // seeds the choice of nodes
	Rev     uint64  // where the chosen nodes stand
	Share   float64 // of the nodes, 0 to 1
}

// Chosen reports whether a node is of the share. A node that is chosen stays so while the
// share grows.
func (m Move) Chosen(node string) bool {
	if m.Share >= 1 {
		return true
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(m.Release)) // a hash's Write has no error
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(node))
	// FNV's high bits barely depend on the last bytes, which is where node names differ.
	x := h.Sum64()
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	x ^= x >> 32
	return float64(x>>11)/(1<<53) < m.Share
}

// Target is which revisions a node must run, under which assignment.
type Target struct {
	Generation uint64
	Staged     uint64
	Live       uint64
}

// first is the generation of a group that was never assigned: it follows head.
const first = 1

// Plan is the targets of all groups at one head. It is immutable and safe for concurrent use.
type Plan struct {
	head   uint64
	groups map[string]Group
}

// New returns the plan of groups at head. A group that is not named follows head under the
// first generation; one that was ever assigned must stay named, or its nodes would take the
// plan for that of a replica that lags.
func New(groups []Group, head uint64) (*Plan, error) {
	p := &Plan{head: head, groups: make(map[string]Group, len(groups))}
	for _, g := range groups {
		if err := g.check(); err != nil {
			return nil, err
		}
		if _, twice := p.groups[g.Name]; twice {
			return nil, fmt.Errorf("group %q is named twice", g.Name)
		}
		p.groups[g.Name] = g
	}
	return p, nil
}

func (g Group) check() error {
	switch {
	case g.Name == "":
		return fmt.Errorf("a group has no name")
	case g.Mode != Follow && g.Mode != Pinned && g.Mode != Frozen:
		return fmt.Errorf("group %q: %v is not known", g.Name, g.Mode)
	case g.Generation == 0:
		return fmt.Errorf("group %q has no generation", g.Name)
	case g.Mode != Follow && g.Rev == 0:
		return fmt.Errorf("group %q is %v at no revision", g.Name, g.Mode)
	case g.Move != (Move{}) && (g.Mode != Pinned || g.Move.Rev == 0 || g.Move.Release == "" || !(g.Move.Share >= 0 && g.Move.Share <= 1)):
		return fmt.Errorf("group %q: the move of release %q to revision %d makes no sense", g.Name, g.Move.Release, g.Move.Rev)
	}
	return nil
}

// Target is what a node must run. A pin above head is given as it is: this replica has not
// seen it yet, and something lower would pull nodes back.
func (p *Plan) Target(group, node string) Target {
	g, ok := p.groups[group]
	if !ok {
		return Target{Generation: first, Staged: p.head, Live: p.head}
	}
	t := Target{Generation: g.Generation, Staged: p.head, Live: p.head}
	if g.Mode != Follow {
		t.Staged = g.Rev
	}
	if g.Move.Rev != 0 && g.Move.Chosen(node) {
		t.Staged = g.Move.Rev
	}
	return t
}

// Held reports whether a node's staged track does not follow head: it will not enforce a
// staged change however long one waits.
func (p *Plan) Held(group, _ string) bool {
	g, ok := p.groups[group]
	return ok && g.Mode != Follow
}

// Keep returns the revisions other than head that targets name, ascending.
func (p *Plan) Keep() []uint64 {
	var revs []uint64
	for _, g := range p.groups {
		for _, rev := range []uint64{g.Pin(), g.Move.Rev} {
			if rev != 0 {
				revs = append(revs, rev)
			}
		}
	}
	slices.Sort(revs)
	return slices.Compact(revs)
}
