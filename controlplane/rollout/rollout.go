// Package rollout says which revision every group of nodes must run.
//
// It is pure: groups and head in, targets out. It does not know where groups are stored, who
// moves them, or how nodes get there; every replica that is given the same groups and head
// computes the same targets. Enter at New.
package rollout

import (
	"fmt"
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
	}
	return nil
}

// Target is what a node must run. A pin above head is given as it is: this replica has not
// seen it yet, and something lower would pull nodes back. The node's id takes no part until
// a release moves a share of a group, which it will by a hash of (release, node).
func (p *Plan) Target(group, _ string) Target {
	g, ok := p.groups[group]
	if !ok {
		return Target{Generation: first, Staged: p.head, Live: p.head}
	}
	t := Target{Generation: g.Generation, Staged: p.head, Live: p.head}
	if g.Mode != Follow {
		t.Staged = g.Rev
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
		if g.Mode != Follow {
			revs = append(revs, g.Rev)
		}
	}
	slices.Sort(revs)
	return slices.Compact(revs)
}
